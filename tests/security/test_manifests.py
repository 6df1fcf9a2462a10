"""A manifest of somebody else: it runs nothing, and names no file outside of its root."""

import gzip
import json
import os
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.manifests import FORMS, lhotse_cut
from tests.security.conftest import Traps
from w2v2_mt.app.commands import main
from w2v2_mt.manifests.manifest import read_manifest

Watched = Callable[[], AbstractContextManager[None]]
Refusal = Callable[..., str]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "a.wav").touch()
    return folder


def write_csv(folder: Path, path: object) -> Path:
    manifest = folder / "mine.csv"
    manifest.write_text(f'path,text\n"{path}",x\n')
    return manifest


def test_a_path_outside_the_root_is_not_read(refusal: Refusal, corpus: Path, traps: Traps) -> None:
    for path in (traps.victim, f"../{traps.folder.name}/thesis.txt", "a.wav/../../x", "/dev/zero"):
        assert "is outside of" in refusal("doctor", write_csv(corpus, path))


@pytest.mark.parametrize("link", ["file.wav", "folder/thesis.txt", "chain.wav"])
def test_a_link_out_of_the_root_is_not_followed(
    refusal: Refusal, corpus: Path, traps: Traps, link: str
) -> None:
    (corpus / "file.wav").symlink_to(traps.victim)
    (corpus / "folder").symlink_to(traps.folder)
    (corpus / "chain.wav").symlink_to(corpus / "file.wav")
    sentence = refusal("doctor", write_csv(corpus, link))
    assert "is or goes through a link that leads out of" in sentence


def test_a_link_inside_the_root_is_followed(corpus: Path, watched: Watched) -> None:
    (corpus / "b.wav").symlink_to("a.wav")
    (corpus / "folder").symlink_to(".")
    for link in ("b.wav", "folder/a.wav", "folder/b.wav"):
        with watched():
            assert main(["doctor", str(write_csv(corpus, link)), "--root", str(corpus)]) == 1


def test_pipes_devices_and_folders_are_not_opened(refusal: Refusal, corpus: Path) -> None:
    os.mkfifo(corpus / "pipe.wav")
    (corpus / "folder.wav").mkdir()
    for name in ("pipe.wav", "folder.wav"):
        assert "is a folder, pipe or device" in refusal("doctor", write_csv(corpus, name))
    assert "is not a plain file. Name a manifest." in refusal("doctor", corpus / "pipe.wav")


def test_commands_of_kaldi_and_lhotse_do_not_run(
    refusal: Refusal, corpus: Path, traps: Traps
) -> None:
    (corpus / "text").write_text("u1 x\n")
    for command in (f"{traps.command} |", f"| {traps.command}"):
        (corpus / "wav.scp").write_text(f"u1 {command}\n")
        assert "is a command, which is not run. Run it yourself" in refusal("doctor", corpus)
    cut = lhotse_cut(corpus, {"path": "a.wav", "text": "x", "speaker": "s"})
    cut["recording"]["sources"][0] |= {"type": "command", "source": traps.command}
    path = corpus / "cuts.jsonl"
    path.write_text(json.dumps(cut) + "\n")
    assert "must be one file; commands, addresses" in refusal("doctor", path)


def test_files_of_a_folder_that_are_links_out_of_it_are_not_read(
    refusal: Refusal, corpus: Path, traps: Traps, tmp_path: Path
) -> None:
    (corpus / "wav.scp").write_text("u1 a.wav\n")
    (corpus / "text").symlink_to(traps.victim)
    assert "/text is or goes through a link that leads out of" in refusal("doctor", corpus)
    (corpus / "wav.scp").unlink()
    (corpus / "metadata.csv").symlink_to(traps.victim)
    assert "/metadata.csv is or goes through a link" in refusal("doctor", corpus)
    (corpus / "metadata.csv").unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "wav.scp").write_text("u1 a.wav\n")
    (corpus / "train").symlink_to(tmp_path / "elsewhere")
    assert "/train/wav.scp is or goes through a link" in refusal("doctor", corpus)


def test_escape_sequences_are_shown_and_not_obeyed(
    corpus: Path, capfd: pytest.CaptureFixture[str], watched: Watched
) -> None:
    escape = "\x1b]0;owned\x07\u202e"
    name = f"mine{escape}.csv"
    (corpus / f"b{escape}.wav").touch()
    columns = f"path,text,speaker,age{escape}\n"
    lines = (f"a.wav,x{escape},s,1\n", f"b{escape}.wav,y,s,1\n", f"c{escape}.wav,y,s,1\n")
    (corpus / name).write_text(columns + "".join(lines) + f"a.wav,y,s{escape},1\n")
    with watched():
        main(["doctor", str(corpus / name)])
    (corpus / name).write_text(f"path,text,split\na.wav,x,{escape}\n")
    with watched():
        main(["doctor", str(corpus / name)])
    printed = "".join(capfd.readouterr())
    assert "\\x1b" in printed
    assert not set("\x1b\x07\u202e") & set(printed)


def test_a_line_that_unfolds_to_gigabytes_is_refused(refusal: Refusal, corpus: Path) -> None:
    path = corpus / "cuts.jsonl.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(256):
            file.write(bytes(1 << 20))
    assert "more than 4 MiB in one line" in refusal("doctor", path)


@pytest.mark.parametrize(
    "line",
    [
        "[" * (1 << 20),
        '{"path": ' * 50_000,
        '{"path": "a.wav", "start": ' + "9" * (1 << 20) + "}",
        '{"path": "a.wav", "text": [' + "[]," * (1 << 20) + "[]]}",
        '{"supervisions": ' + "[" * (1 << 20),
        '{"supervisions": [{}], "recording": {"sources": [[]]}}',
        '{"path": "\\ud800.wav", "text": "x"}',
        '{"path": "\\u0000", "text": "x"}',
    ],
)
def test_json_that_exhausts_a_parser_is_refused(refusal: Refusal, corpus: Path, line: str) -> None:
    path = corpus / "mine.jsonl"
    path.write_text(line + "\n")
    refusal("doctor", path)


def test_nothing_is_read_of_a_manifest_that_is_a_device(refusal: Refusal) -> None:
    for path in ("/dev/zero", "/dev/stdin"):
        assert "is not a plain file" in refusal("doctor", path)


@pytest.mark.parametrize("form", FORMS)
def test_any_change_of_bytes_is_answered_with_recordings_or_one_sentence(
    corpus: Path, form: str
) -> None:
    entries = [
        {"path": f"{name}.wav", "text": 'x, "y"', "speaker": name, "start": 1, "end": 2}
        for name in "ab"
    ]
    path = FORMS[form](corpus, entries)
    files = [path] if path.is_file() else sorted(path.iterdir())
    files = [each for each in files if each.stat().st_size > 0]
    rng = random.Random(form)
    sentences = []
    inserted = [b'"', b",", b"\n", b"\0", b"\xff", b"\r", b"\t", b"{", b"[", b"9", b"|", b"null"]
    for _ in range(100):
        file = rng.choice(files)
        content = file.read_bytes()
        plain = bytearray(gzip.decompress(content) if file.suffix == ".gz" else content)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(plain))
            plain[place : place + rng.randint(0, 2)] = rng.choice(inserted)
        file.write_bytes(gzip.compress(plain) if file.suffix == ".gz" else bytes(plain))
        try:
            read_manifest(path)
        except ValueError as error:
            sentences.append(str(error))
        file.write_bytes(content)
    assert sentences
    assert not [each for each in sentences if "\n" in each]


def test_preparation_reads_nothing_outside_and_writes_no_escape_sequence(
    corpus: Path, traps: Traps, watched: Watched, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    escape = "\x1b]0;owned\x07"
    rows = [f"b{escape}.wav,x\n", f"{traps.victim},x\n", "link.wav,x\n"]
    for number in range(9):
        soundfile.write(corpus / f"{number}.wav", rng.uniform(-0.5, 0.5, 16_000), 16_000)
        rows.append(f"{number}.wav,good day\n")
    (corpus / f"b{escape}.wav").write_bytes(b"RIFF" + bytes(99))
    (corpus / "link.wav").symlink_to(traps.victim)
    manifest = corpus / "mine.csv"
    manifest.write_text("path,text\n" + "".join(rows))
    arguments = ["--name", "mine", "--data_folder", str(tmp_path / "data"), "--num_workers", "0"]
    with watched():
        code = main(["prepare", "manifest", str(manifest), *arguments, "--max_rejected", "0.5"])
    assert code == 0
    shards = tmp_path / "data" / "mine_shards"
    rejected = (shards / "rejected.tsv").read_text()
    assert len(rejected.splitlines()) == 4
    assert "is outside of" in rejected
    assert "link that leads out of" in rejected
    assert not set("\x1b\x07") & set(rejected + "".join(capfd.readouterr()))
    written = b"".join(path.read_bytes() for path in shards.rglob("*") if path.is_file())
    assert traps.victim.read_bytes() not in written
