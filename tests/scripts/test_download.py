import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
ARCHIVE = os.urandom(50_000)
LISTS = ("vox1_meta.csv", "vox2_meta.csv", "veri_test2.txt", "list_test_all2.txt")


class Server(ThreadingHTTPServer):
    """Gives what `files` holds by path, from where it is asked to; notes each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        content = self.server.files.get(self.path)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if content is None or (asked and start >= len(content)):
            self.send_error(404 if content is None else 416)
            return
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:])

    def log_message(self, *arguments: object) -> None:
        """Requests are noted, not printed."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A copy of the scripts that expects our archive as dev-clean."""
    folder = tmp_path / "project" / "scripts"
    shutil.copytree(PROJECT / "scripts" / "download", folder / "download")
    (folder / "data").mkdir()
    shutil.copy(PROJECT / "scripts" / "data" / "environment.sh", folder / "data")
    sums = folder / "download" / "librispeech.md5"
    others = [line for line in sums.read_text().splitlines() if "dev-clean" not in line]
    ours = f"{hashlib.md5(ARCHIVE).hexdigest()}  dev-clean.tar.gz"
    sums.write_text("\n".join([ours, *others]) + "\n")
    return folder / "download"


def run(
    script: Path, data_folder: Path, *arguments: str, url: str = "http://127.0.0.1:9"
) -> tuple[int, str]:
    finished = subprocess.run(
        [script, *arguments],
        env={
            **os.environ,
            "DATA_FOLDER": str(data_folder),
            "LIBRISPEECH_URL": url,
            "VOXCELEB_META_URL": url,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    errors = [line for line in finished.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == (finished.returncode != 0)
    return finished.returncode, "".join(errors)


def librispeech(scripts: Path, folder: Path, *subsets: str, **options: str) -> tuple[int, str]:
    return run(scripts / "download_librispeech.sh", folder, *(subsets or ["dev-clean"]), **options)


def test_an_archive_is_downloaded_and_not_asked_for_again(
    scripts: Path, server: Server, tmp_path: Path
) -> None:
    server.files["/dev-clean.tar.gz"] = ARCHIVE
    assert librispeech(scripts, tmp_path, url=server.url) == (0, "")
    archive = tmp_path / "librispeech" / "dev-clean.tar.gz"
    assert archive.read_bytes() == ARCHIVE
    assert [path.name for path in archive.parent.iterdir()] == ["dev-clean.tar.gz"]
    assert librispeech(scripts, tmp_path, url=server.url) == (0, "")
    assert server.requests == [("/dev-clean.tar.gz", None)]


@pytest.mark.parametrize("num_bytes", [1, 20_000, len(ARCHIVE)])
def test_a_stopped_download_goes_on(
    scripts: Path, server: Server, tmp_path: Path, num_bytes: int
) -> None:
    server.files["/dev-clean.tar.gz"] = ARCHIVE
    (tmp_path / "librispeech").mkdir()
    (tmp_path / "librispeech" / "dev-clean.tar.gz.part").write_bytes(ARCHIVE[:num_bytes])
    assert librispeech(scripts, tmp_path, url=server.url) == (0, "")
    assert (tmp_path / "librispeech" / "dev-clean.tar.gz").read_bytes() == ARCHIVE
    assert server.requests[0] == ("/dev-clean.tar.gz", f"bytes={num_bytes}-")


def test_an_archive_brought_by_hand_needs_no_network(scripts: Path, tmp_path: Path) -> None:
    (tmp_path / "librispeech").mkdir()
    (tmp_path / "librispeech" / "dev-clean.tar.gz").write_bytes(ARCHIVE)
    assert librispeech(scripts, tmp_path) == (0, "")


def test_another_file_is_left_as_it_is_and_told(
    scripts: Path, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "librispeech").mkdir()
    archive = tmp_path / "librispeech" / "dev-clean.tar.gz"
    archive.write_bytes(b"something else")
    code, error = librispeech(scripts, tmp_path)
    assert (code, archive.read_bytes()) == (1, b"something else")
    assert "has the md5 sum" in error
    archive.unlink()
    server.files["/dev-clean.tar.gz"] = b"changed on the way"
    assert librispeech(scripts, tmp_path, url=server.url)[0] == 1
    assert not archive.exists()


def test_what_cannot_be_had_is_one_sentence(scripts: Path, server: Server, tmp_path: Path) -> None:
    assert "cannot be had; get" in librispeech(scripts, tmp_path, url=server.url)[1]
    assert "cannot be had (curl says 7)" in librispeech(scripts, tmp_path)[1]
    code, error = librispeech(scripts, tmp_path, "dev-dirty")
    assert (code, error) == (
        1,
        "Error: 'dev-dirty' is no subset of LibriSpeech; --help names them.",
    )


def test_the_sums_are_those_of_all_seven_archives() -> None:
    sums = (PROJECT / "scripts" / "download" / "librispeech.md5").read_text().splitlines()
    assert len(sums) == len({line.split()[0] for line in sums}) == 7
    assert all(len(line.split()[0]) == 32 for line in sums)


def test_meta_files_are_downloaded_and_those_brought_by_hand_kept(
    scripts: Path, server: Server, tmp_path: Path
) -> None:
    server.files |= {f"/{name}": f"content of {name}".encode() for name in LISTS}
    (tmp_path / "voxceleb_meta").mkdir()
    (tmp_path / "voxceleb_meta" / "list_test_hard2.txt").write_text("by hand")
    script = scripts / "download_voxceleb_meta.sh"
    assert run(script, tmp_path, url=server.url) == (0, "")
    for name in LISTS:
        assert (tmp_path / "voxceleb_meta" / name).read_text() == f"content of {name}"
    assert (tmp_path / "voxceleb_meta" / "list_test_hard2.txt").read_text() == "by hand"
    assert len(server.requests) == 4


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><p>moved", b"<html><p>Sorry", b""])
def test_a_web_page_is_not_taken_for_a_list(
    scripts: Path, server: Server, tmp_path: Path, content: bytes
) -> None:
    server.files["/vox1_meta.csv"] = content
    code, error = run(scripts / "download_voxceleb_meta.sh", tmp_path, url=server.url)
    assert code == 1
    assert "vox1_meta.csv is no list; get it by hand" in error
    assert not list((tmp_path / "voxceleb_meta").iterdir())
