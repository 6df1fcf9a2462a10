"""What the download commands fetch, take up again, accept and refuse."""

import hashlib
import os
import random
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.programs("bash", "dirname", "mktemp")

PROJECT = Path(__file__).resolve().parents[2]
ARCHIVE = random.Random(0).randbytes(50_000)
LISTS = "vox1_meta.csv vox2_meta.csv veri_test2.txt list_test_all2.txt list_test_hard2.txt".split()
NO_HOST = "http://127.0.0.1:9"


class Server(ThreadingHTTPServer):
    """Gives what `files` holds by path, from where it is asked to; notes each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.knows_ranges = True
        self.breaks_off_after = len(ARCHIVE)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        content = self.server.files.get(self.path)
        if not self.server.knows_ranges:
            asked = None
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if content is None or (asked and start >= len(content)):
            self.send_error(404 if content is None else 416)
            return
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : self.server.breaks_off_after])

    def log_message(self, *arguments: object) -> None:
        """Requests are noted, not printed."""


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def scripts(tmp_path):
    """A copy of the scripts that expects our archive as dev-clean."""
    folder = tmp_path / "project" / "scripts"
    shutil.copytree(PROJECT / "scripts" / "download", folder / "download")
    (folder / "data").mkdir()
    shutil.copy(PROJECT / "scripts" / "data" / "environment.sh", folder / "data")
    sums = folder / "download" / "librispeech.md5"
    others = [line for line in sums.read_text().splitlines() if " dev-clean.tar.gz" not in line]
    ours = f"{hashlib.md5(ARCHIVE).hexdigest()}  dev-clean.tar.gz"
    sums.write_text("\n".join([ours, *others]) + "\n")
    return folder / "download"


@pytest.fixture
def archive(tmp_path):
    """Where the archive belongs; the folder is there, the archive is not."""
    (tmp_path / "librispeech").mkdir()
    return tmp_path / "librispeech" / "dev-clean.tar.gz"


def run(
    script: Path, data_folder: Path, *arguments: str, url: str = NO_HOST, **environment: str
) -> tuple[int, str]:
    """The exit status and all that is on stderr: nothing, or one sentence and status 1."""
    finished = subprocess.run(
        [script, *arguments],
        env={
            **os.environ,
            "NO_PROXY": "*",
            "DATA_FOLDER": str(data_folder),
            "LIBRISPEECH_URL": url,
            "VOXCELEB_META_URL": url,
            "SPEECH_COMMANDS_URL": url,
            **environment,
        },
        capture_output=True,
        text=True,
    )
    assert finished.returncode in (0, 1), finished.stderr
    assert len(finished.stderr.splitlines()) == finished.returncode, finished.stderr
    return finished.returncode, finished.stderr.strip()


def expect_ours(sums: Path) -> list[str]:
    """Let a file of sums expect our archive under each of its names, which are returned."""
    names = [line.split()[1] for line in sums.read_text().splitlines()]
    ours = hashlib.new(sums.suffix.removeprefix("."), ARCHIVE).hexdigest()
    sums.write_text("".join(f"{ours}  {name}\n" for name in names))
    return names


def librispeech(scripts: Path, folder: Path, *arguments: str, **options: str) -> tuple[int, str]:
    script = scripts / "download_librispeech.sh"
    return run(script, folder, *(arguments or ["dev-clean"]), **options)


def part_of(archive: Path) -> Path:
    return archive.with_name(archive.name + ".part")


def test_an_archive_is_downloaded_and_not_asked_for_again(scripts, server, tmp_path):
    server.files["/dev-clean.tar.gz"] = ARCHIVE
    assert librispeech(scripts, tmp_path, url=f"{server.url}/") == (0, "")
    archive = tmp_path / "librispeech" / "dev-clean.tar.gz"
    assert archive.read_bytes() == ARCHIVE
    assert [path.name for path in archive.parent.iterdir()] == ["dev-clean.tar.gz"]
    assert librispeech(scripts, tmp_path, url=server.url) == (0, "")
    assert server.requests == [("/dev-clean.tar.gz", None)]


@pytest.mark.parametrize("num_bytes", [1, 20_000, len(ARCHIVE)])
def test_a_stopped_download_resumes(scripts, server, archive, tmp_path, num_bytes):
    server.files["/dev-clean.tar.gz"] = ARCHIVE
    part_of(archive).write_bytes(ARCHIVE[:num_bytes])
    assert librispeech(scripts, tmp_path, url=server.url) == (0, "")
    assert archive.read_bytes() == ARCHIVE
    assert server.requests == [("/dev-clean.tar.gz", f"bytes={num_bytes}-")]


def test_a_connection_that_broke_off_leaves_a_part(scripts, server, archive, tmp_path):
    server.files["/dev-clean.tar.gz"] = ARCHIVE
    server.breaks_off_after = 30_000
    code, error = librispeech(scripts, tmp_path, url=server.url)
    assert (code, archive.exists()) == (1, False)
    assert "cannot be downloaded (curl exit code 18). The same command resumes" in error
    server.breaks_off_after = len(ARCHIVE)
    assert librispeech(scripts, tmp_path, url=server.url) == (0, "")
    assert archive.read_bytes() == ARCHIVE
    assert server.requests[-1] == ("/dev-clean.tar.gz", "bytes=30000-")


def test_a_server_without_ranges_is_asked_for_the_whole(scripts, server, archive, tmp_path):
    server.files["/dev-clean.tar.gz"] = ARCHIVE
    server.knows_ranges = False
    part_of(archive).write_bytes(ARCHIVE[:20_000])
    assert librispeech(scripts, tmp_path, url=server.url) == (0, "")
    assert archive.read_bytes() == ARCHIVE
    assert [asked for _, asked in server.requests] == ["bytes=20000-", None]


def test_another_file_is_left_as_it_is_unless_it_is_wanted(scripts, archive, tmp_path):
    archive.write_bytes(b"something else")
    found, published = (hashlib.md5(it).hexdigest() for it in (b"something else", ARCHIVE))
    assert librispeech(scripts, tmp_path) == (
        1,
        f"Error: {archive} has the md5 sum {found}, the published dev-clean.tar.gz {published}; "
        "move it away and run this again, or pass --accept_unknown_md5 to keep it.",
    )
    assert librispeech(scripts, tmp_path, "dev-clean", "--accept_unknown_md5") == (0, "")
    assert archive.read_bytes() == b"something else"


def test_a_download_with_a_wrong_sum_is_never_accepted(scripts, server, archive, tmp_path):
    server.files["/dev-clean.tar.gz"] = b"changed on the way"
    arguments = ("dev-clean", "--accept_unknown_md5")
    error = librispeech(scripts, tmp_path, *arguments, url=server.url)[1]
    assert not archive.exists()
    assert error.startswith(f"Error: {part_of(archive)} has the md5 sum")
    assert error.endswith("; remove it and run this again.")


def test_an_archive_that_the_server_has_not_leaves_the_part(scripts, server, archive, tmp_path):
    for num_bytes in (0, 20_000):
        part_of(archive).write_bytes(ARCHIVE[:num_bytes])
        code, error = librispeech(scripts, tmp_path, url=server.url)
        assert (code, part_of(archive).stat().st_size) == (1, num_bytes)
        assert f"{server.url}/dev-clean.tar.gz cannot be downloaded (HTTP status 404)" in error


def commands(folder: Path, *, without: str) -> str:
    """A PATH with what the scripts call, less one command."""
    (folder / "commands").mkdir()
    for name in {*"bash dirname basename mkdir awk curl md5sum".split()} - {without}:
        command = shutil.which(name)
        assert command is not None, name
        (folder / "commands" / name).symlink_to(command)
    return str(folder / "commands")


def test_what_is_in_the_way_is_one_sentence(scripts, server, archive, tmp_path):
    assert librispeech(scripts, tmp_path) == (
        1,
        f"Error: {NO_HOST}/dev-clean.tar.gz cannot be reached (curl exit code 7). Check the "
        "network or name a mirror (--help).",
    )
    server.files["/dev-clean.tar.gz"] = ARCHIVE
    part_of(archive).symlink_to("/dev/full")
    error = librispeech(scripts, tmp_path, url=server.url)[1]
    assert "dev-clean.tar.gz.part cannot be written. Is the disk full?" in error
    error = librispeech(scripts, part_of(archive))[1]
    assert "cannot be created. Set DATA_FOLDER" in error


def test_an_archive_brought_by_hand_needs_neither_network_nor_curl(scripts, archive, tmp_path):
    archive.write_bytes(ARCHIVE)
    assert librispeech(scripts, tmp_path, PATH=commands(tmp_path, without="curl")) == (0, "")


@pytest.mark.parametrize("command", ["curl", "md5sum"])
def test_a_missing_command_is_one_sentence(scripts, tmp_path, command):
    error = librispeech(scripts, tmp_path, PATH=commands(tmp_path, without=command))[1]
    assert error.startswith(f"Error: {command} is not installed; install it")


@pytest.mark.parametrize("name", ["dev-dirty", "dev.clean", "dev-clean.tar.gz", "--subsets", ""])
def test_an_unknown_subset_stops_before_anything_is_downloaded(scripts, server, tmp_path, name):
    server.files["/dev-clean.tar.gz"] = ARCHIVE
    error = f"Error: '{name}' is not a subset of LibriSpeech. --help lists them."
    assert librispeech(scripts, tmp_path, "dev-clean", name, url=server.url) == (1, error)
    assert server.requests == []


def test_without_a_name_all_seven_archives_are_wanted(scripts, server, tmp_path):
    names = expect_ours(scripts / "librispeech.md5")
    server.files = {f"/{name}": ARCHIVE for name in names}
    assert run(scripts / "download_librispeech.sh", tmp_path, url=server.url) == (0, "")
    wanted = {name for name in names if name not in ("dev-clean-2.tar.gz", "train-clean-5.tar.gz")}
    assert {path.name for path in (tmp_path / "librispeech").iterdir()} == wanted
    assert len(wanted) == len(server.requests) == 7


def test_mini_librispeech_is_in_its_own_folder_of_a_server(scripts, server, tmp_path):
    expect_ours(scripts / "librispeech.md5")
    paths = [
        f"/resources/{path}.tar.gz"
        for path in ("31/train-clean-5", "31/dev-clean-2", "12/dev-clean")
    ]
    server.files = dict.fromkeys(paths, ARCHIVE)
    subsets = ("train-clean-5", "dev-clean-2", "dev-clean")
    url = f"{server.url}/resources/12/"
    assert librispeech(scripts, tmp_path, *subsets, url=url) == (0, "")
    assert [path for path, _ in server.requests] == paths


@pytest.mark.parametrize(
    ("arguments", "name"),
    [([], "speech_commands_v0.02.tar.gz"), (["--mini"], "mini_speech_commands.zip")],
)
def test_speech_commands_is_downloaded_checked_and_resumed(
    scripts, server, tmp_path, arguments, name
):
    script, archive = scripts / "download_speech_commands.sh", tmp_path / "speech_commands" / name
    expect_ours(scripts / "speech_commands.sha256")
    server.files[f"/{name}"] = ARCHIVE
    server.breaks_off_after = 30_000
    assert "The same command resumes" in run(script, tmp_path, *arguments, url=server.url)[1]
    server.breaks_off_after = len(ARCHIVE)
    assert run(script, tmp_path, *arguments, url=server.url) == (0, "")
    assert archive.read_bytes() == ARCHIVE
    assert run(script, tmp_path, *arguments, url=server.url) == (0, "")
    assert server.requests == [(f"/{name}", None), (f"/{name}", "bytes=30000-")]
    archive.write_bytes(b"a part of it")
    code, error = run(script, tmp_path, *arguments, url=server.url)
    assert code == 1
    assert f"has the sha256 sum {hashlib.sha256(b'a part of it').hexdigest()}, the pub" in error
    assert error.endswith("run this again, or pass --accept_unknown_sha256 to keep it.")
    arguments = [*arguments, "--accept_unknown_sha256"]
    assert run(script, tmp_path, *arguments, url=server.url) == (0, "")
    assert archive.read_bytes() == b"a part of it"


def test_meta_files_are_downloaded_and_those_brought_by_hand_kept(scripts, server, tmp_path):
    server.files |= {f"/{name}": f"content of {name}".encode() for name in LISTS}
    by_hand = tmp_path / "voxceleb_meta" / "list_test_hard2.txt"
    by_hand.parent.mkdir()
    by_hand.write_text("by hand")
    assert run(scripts / "download_voxceleb_meta.sh", tmp_path, url=server.url) == (0, "")
    for name in LISTS[:4]:
        assert (by_hand.parent / name).read_text() == f"content of {name}"
    assert by_hand.read_text() == "by hand"
    assert len(server.requests) == 4


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><p>moved", b"\n <HTML><p>Sorry", b""])
def test_a_web_page_is_not_taken_for_a_list(scripts, server, tmp_path, content):
    server.files["/vox1_meta.csv"] = content
    script, folder = scripts / "download_voxceleb_meta.sh", tmp_path / "voxceleb_meta"
    error = run(script, tmp_path, url=server.url)[1]
    assert "something other than the list vox1_meta.csv. Download it by hand" in error
    assert not list(folder.iterdir())
    (folder / "vox1_meta.csv").write_bytes(content)
    error = run(script, tmp_path)[1]
    assert error == (
        f"Error: {folder}/vox1_meta.csv is empty or a web page, not a list. Move it away and "
        "run this again."
    )
    assert (folder / "vox1_meta.csv").read_bytes() == content
