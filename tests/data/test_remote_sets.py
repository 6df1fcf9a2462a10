"""Shards of an HTTP server on this machine give the batches of the folder that it serves."""

import errno
import os
import pickle
import shlex
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.http_server import Server, serve
from w2v2_mt.core import remote_files
from w2v2_mt.data.remote_sets import RemoteAccess, ShardStore
from w2v2_mt.data.shards import read_shard, shard_size
from w2v2_mt.data.speaker import SpeakerData
from w2v2_mt.data.speech import SpeechData

TRAIN = "librispeech_shards/train_clean_100"


@pytest.fixture(autouse=True)
def own_mirrors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "_mirrors", {})
    monkeypatch.setattr(remote_files, "_PAUSES_SEC", (0.0, 0.0))


@pytest.fixture
def server(data_folder: Path) -> Iterator[Server]:
    with serve(data_folder) as server:
        yield server


@pytest.fixture
def access(tmp_path: Path) -> RemoteAccess:
    return RemoteAccess(cache_folder=str(tmp_path / "cache"), allow_pipe=False)


def _keys(shards: list[Path]) -> list[str]:
    return [sample.key for shard in shards for sample in read_shard(shard)]


def _local(data_folder: Path, folder: str = TRAIN) -> list[Path]:
    return sorted((data_folder / folder).glob("*.tar"))


def _contents(batch: Any) -> tuple[list[str], bytes]:
    return list(batch.keys), batch.waveforms.numpy().tobytes()


def test_speech_batches_of_a_server_are_those_of_its_folder(
    librispeech: Callable[..., SpeechData], server: Server, access: RemoteAccess
) -> None:
    def batches(**changes: Any) -> list[Any]:
        data = librispeech(**changes)
        loaders = [data.train_dataloader(), *data.val_dataloader()]
        return [_contents(batch) for loader in loaders for batch in islice(loader, 6)]

    expected = batches()
    remote = {"shards_folder": f"{server.url}/librispeech_shards", "remote": access}
    assert batches(**remote) == expected
    num_downloads = len(server.downloads())
    assert num_downloads == len(set(server.downloads())) > 4
    server.asked.clear()
    assert batches(**remote, num_workers=2) == batches(num_workers=2)
    assert server.asked == [], "the cache has everything"


def test_speaker_batches_and_trials_of_a_server_are_those_of_its_folder(
    voxceleb: Callable[..., SpeakerData], server: Server, access: RemoteAccess
) -> None:
    ours, theirs = voxceleb(), voxceleb(shards_folder=server.url, remote=access)
    assert theirs.num_speakers == ours.num_speakers
    assert theirs.test_trial_lists == ours.test_trial_lists
    for mine, other in zip(ours.test_dataloader(), theirs.test_dataloader(), strict=True):
        assert [_contents(batch) for batch in other] == [_contents(batch) for batch in mine]
    pairs = zip(ours.train_dataloader(), islice(theirs.train_dataloader(), 8), strict=False)
    for mine, other in pairs:
        assert _contents(other) == _contents(mine)


def test_workers_share_the_downloads(
    librispeech: Callable[..., SpeechData], server: Server, access: RemoteAccess
) -> None:
    data = librispeech(
        shards_folder=f"{server.url}/librispeech_shards", remote=access, num_workers=2
    )
    for loader in data.val_dataloader():
        list(loader)
    assert len(server.downloads()) == len(set(server.downloads())) == 4


@pytest.mark.parametrize(
    "name",
    [
        "{url}/" + TRAIN,
        "{url}/" + TRAIN + "/",
        "{url}/" + TRAIN + "/train_clean_100-shard_{{000000..000001}}.tar",
        "{url}/" + TRAIN + "/train_clean_100-shard_00000{{0,1}}.tar?download=true",
    ],
)
def test_a_set_is_a_folder_or_shards_in_braces(
    data_folder: Path, server: Server, access: RemoteAccess, name: str
) -> None:
    store = ShardStore(root=str(data_folder), access=access)
    shards = store.shards(name.format(url=server.url), producer="x")
    local = _local(data_folder)
    assert [shard.name for shard in shards] == [shard.name for shard in local]
    assert server.downloads() == []
    assert [shard_size(shard) for shard in shards] == [shard_size(shard) for shard in local]
    assert server.downloads() == [], "the server has stated their sizes"
    assert _keys(shards) == _keys(local)
    assert shards[0].parent.is_relative_to(access.cache_folder)
    assert store.file_of_set(name.format(url=server.url), "meta.json").is_file()


def test_a_list_of_shards_is_used_where_a_server_lists_no_folders(
    tmp_path: Path, data_folder: Path, access: RemoteAccess
) -> None:
    folder = tmp_path / "served" / "set"
    folder.mkdir(parents=True)
    for shard in _local(data_folder):
        (folder / shard.name).symlink_to(shard)
    (folder / "index.html").write_text("Nothing to see.")
    with serve(tmp_path / "served") as server:
        store = ShardStore(root=server.url, access=access)
        with pytest.raises(
            ValueError, match=r"/set must list shards .* lists none\. Name them, as"
        ):
            store.shards("set", producer="x")
        names = [shard.name for shard in _local(data_folder)]
        (folder / "shards.txt").write_text("\n".join([*names, "../evil.tar", ""]))
        shards = store.shards("set", producer="x")
    assert [shard.name for shard in shards] == names


def test_without_the_network_the_cache_is_enough(data_folder: Path, access: RemoteAccess) -> None:
    with serve(data_folder) as server:
        root = server.url
        expected = _keys(ShardStore(root=root, access=access).shards(TRAIN, producer="x"))
    store = ShardStore(root=root, access=access)
    assert _keys(store.shards(TRAIN, producer="x")) == expected


def test_without_the_network_and_the_cache_the_address_is_named(
    data_folder: Path, access: RemoteAccess
) -> None:
    with serve(data_folder) as server:
        root = server.url
    with pytest.raises(ValueError, match=rf"^{root}/{TRAIN}.* cannot be read \(.*Check the addr"):
        ShardStore(root=root, access=access).shards(TRAIN, producer="x")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (404, "must exist, but is not found. Correct the address."),
        (403, "the server answers with status 403"),
        (500, "the server answers with status 500"),
        ("cut", "cannot be read ("),
        ("short", "bytes came, not "),
    ],
)
def test_a_shard_that_does_not_come_whole_is_named_and_not_kept(
    server: Server, access: RemoteAccess, fault: Any, reason: str
) -> None:
    first, *_ = ShardStore(root=server.url, access=access).shards(TRAIN, producer="x")
    server.faults[first.name] = fault
    with pytest.raises(ValueError, match="http://127") as error:
        list(read_shard(first))
    assert f"{server.url}/{TRAIN}/{first.name} " in str(error.value)
    assert reason in str(error.value)
    assert not list(first.parent.glob("*.tar")) + list(first.parent.glob(".*.part"))
    server.faults.clear()
    assert len(list(read_shard(first))) == 6


@pytest.mark.parametrize("fault", ["cut", "short", 503])
def test_a_download_is_tried_again(
    data_folder: Path, server: Server, access: RemoteAccess, fault: Any
) -> None:
    shards = ShardStore(root=server.url, access=access).shards(TRAIN, producer="x")
    server.faults[".tar"], server.num_faults = fault, 2
    assert _keys(shards) == _keys(_local(data_folder))
    assert server.num_faults <= 0


def test_a_shard_that_is_corrupt_there_is_refused_as_here(
    tmp_path: Path, access: RemoteAccess
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.tar").write_bytes(b"\1" * 5000)
    with serve(tmp_path) as server:
        shards = ShardStore(root=server.url, access=access).shards("set", producer="x")
        with pytest.raises(ValueError, match=r"a\.tar is truncated or corrupt"):
            _keys(shards)


def test_a_full_disk_names_the_cache_folder(
    server: Server, access: RemoteAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = ShardStore(root=server.url, access=access).shards(TRAIN, producer="x")

    def write(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", write)
    with pytest.raises(ValueError, match=r"the disk of the cache folder is full: .* set cache_fol"):
        list(read_shard(first))
    assert not list(first.parent.glob(".*.part"))


def test_a_cache_folder_that_cannot_be_made_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    access = RemoteAccess(cache_folder=str(tmp_path / "file" / "cache"), allow_pipe=False)
    with pytest.raises(ValueError, match=r"cannot be written \(Not a directory\)\. Set cache_fo"):
        ShardStore(root=server.url, access=access).shards(TRAIN, producer="x")


def test_a_login_comes_from_the_environment_and_is_not_shown(
    data_folder: Path, access: RemoteAccess, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.login = "me:open sesame".replace(" ", "-")
    url = server.url.replace("http://", "http://$SHARDS_LOGIN@")
    store = ShardStore(root=url, access=access)
    with pytest.raises(ValueError, match=r"variable SHARDS_LOGIN of the address .* must be set"):
        store.shards(TRAIN, producer="x")
    monkeypatch.setenv("SHARDS_LOGIN", "me:wrong-word")
    with pytest.raises(ValueError, match="status 401") as error:
        store.shards(TRAIN, producer="x")
    assert "wrong" not in "".join(map(str, [error.value, error.value.__cause__]))
    assert error.value.__suppress_context__
    monkeypatch.setenv("SHARDS_LOGIN", server.login)
    shards = store.shards(TRAIN, producer="x")
    assert _keys(shards) == _keys(_local(data_folder))
    files = [path for path in Path(access.cache_folder).rglob("*") if path.is_file()]
    assert not [path for path in files if b"sesame" in path.read_bytes()]
    assert not [path for path in files if "sesame" in str(path)]


@pytest.mark.parametrize(
    "url",
    [
        "https://me:secret@host/shards",
        "https://secret@host/shards",
        "https://host/a-{0..9}.tar?token=secret",
        "https://host/a.tar?X-Amz-Signature=secret&download=1",
        "s3://key:secret@bucket/shards",
    ],
)
def test_credentials_in_clear_are_refused_without_repeating_them(
    access: RemoteAccess, url: str
) -> None:
    with pytest.raises(ValueError, match=r"must not have a login or a query, since") as error:
        ShardStore(root=url, access=access).shards("", producer="x")
    assert "secret" not in str(error.value)


def test_a_pipe_is_refused_unless_it_is_allowed(
    data_folder: Path, access: RemoteAccess, tmp_path: Path
) -> None:
    local = _local(data_folder)
    names = f"{local[0].parent}/train_clean_100-shard_{{000000..000001}}.tar"
    script = "import shutil, sys; shutil.copyfileobj(open(sys.argv[1], 'rb'), sys.stdout.buffer)"
    address = f'pipe:true > {tmp_path}/run; {shlex.quote(sys.executable)} -c "{script}" {names}'
    with pytest.raises(ValueError, match=r"must not be run, .* set remote\.allow_pipe=true\."):
        ShardStore(root=str(data_folder), access=access).shards(address, producer="x")
    allowed = RemoteAccess(cache_folder=access.cache_folder, allow_pipe=True)
    shards = ShardStore(root=str(data_folder), access=allowed).shards(address, producer="x")
    assert not (tmp_path / "run").exists()
    assert _keys(shards) == _keys(local)
    (tmp_path / "run").unlink()
    assert _keys(shards) == _keys(local)
    assert not (tmp_path / "run").exists(), "the cache has its output"


def test_a_pipe_that_fails_is_named_with_its_last_words(
    data_folder: Path, access: RemoteAccess
) -> None:
    allowed = RemoteAccess(cache_folder=access.cache_folder, allow_pipe=True)
    store = ShardStore(root=str(data_folder), access=allowed)
    (shard,) = store.shards("pipe:echo no such bucket >&2; exit 3", producer="x")
    with pytest.raises(ValueError, match=r"ended with code 3 \(no such bucket\)\. Run it in a sh"):
        list(read_shard(shard))


def test_a_protocol_without_its_package_says_what_to_install(access: RemoteAccess) -> None:
    try:
        import s3fs  # noqa: F401
    except ImportError:
        message = r"^s3://bucket/set needs the package s3fs, which .* `pip install s3fs`\.$"
        with pytest.raises(ValueError, match=message):
            ShardStore(root="s3://bucket", access=access).shards("set", producer="x")


def test_shards_of_several_folders_are_several_sets(access: RemoteAccess) -> None:
    store = ShardStore(root="/", access=access)
    with pytest.raises(ValueError, match="must name shards of one folder, not of 2"):
        store.shards("https://host/{a,b}/x.tar", producer="x")


def test_addresses_without_a_cache_folder_are_refused() -> None:
    with pytest.raises(ValueError, match="since no cache folder is set"):
        ShardStore(root="https://host", access=None).shards("set", producer="x")


def test_a_process_that_is_not_forked_receives_the_mirrors(
    server: Server, access: RemoteAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = ShardStore(root=server.url, access=access).shards(TRAIN, producer="x")
    sent = pickle.dumps(remote_files.mirrors())
    monkeypatch.setattr(remote_files, "_mirrors", {})
    remote_files.fetch(first)
    assert not first.exists()
    remote_files.share_mirrors(pickle.loads(sent))
    remote_files.fetch(first)
    assert os.path.getsize(first) == shard_size(first) > 0
