"""Measure time and memory of reading manifests of a million lines in each form.

Each line is a file of its own below a temporary folder. The files are links to one empty file,
which cost little; each form has a process of its own.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from own_process import peak_memory_mib, run_in_own_process

from w2v2_mt.manifests.manifest import read_manifest

FILES_PER_FOLDER = 1000
WORDS = "the quick brown fox jumps over the lazy dog and runs away into the dark wood".split()
HEADINGS = "path,text,speaker,session,age\n"
LINES: Mapping[str, Mapping[str, str]] = {
    "csv": {"mine.csv": "{path},{text},{speaker},{session},31\n"},
    "nemo": {
        "mine.json": '{{"audio_filepath": "{path}", "duration": 3.21, "text": "{text}", '
        '"speaker": "{speaker}", "session": "{session}", "age": 31}}\n'
    },
    "kaldi": {
        "wav.scp": "{id} {path}\n",
        "text": "{id} {text}\n",
        "utt2spk": "{id} {speaker}\n",
        "utt2session": "{id} {session}\n",
    },
}
"""The files of each form, with the line of a recording in each."""


def entries(num_lines: int) -> Iterator[tuple[str, str, str, str]]:
    """Path, text, speaker and session of each recording."""
    for number in range(num_lines):
        folder = f"spk{number // FILES_PER_FOLDER:05d}"
        words = " ".join(WORDS[(number + place) % len(WORDS)] for place in range(12))
        yield f"{folder}/utt-{number:08d}.wav", words, folder, f"s{number % 7}"


def make_files(folder: Path, num_lines: int) -> None:
    """Make a file for each recording: links to one file in each folder."""
    for path, _, speaker, _ in entries(num_lines):
        first = folder / speaker / "first"
        if not first.exists():
            first.parent.mkdir()
            first.touch()
        os.link(first, folder / path)


def write(folder: Path, form: str, num_lines: int) -> Path:
    """Write a manifest, and return what is to be read."""
    lines = LINES[form]
    target = folder / form
    target.mkdir()
    with ExitStack() as stack:
        files = {name: stack.enter_context((target / name).open("w")) for name in lines}
        files.get("mine.csv", stack.enter_context(open(os.devnull, "w"))).write(HEADINGS)
        for path, text, speaker, session in entries(num_lines):
            values = {"path": path, "text": text, "speaker": speaker, "session": session}
            for name, line in lines.items():
                files[name].write(line.format(id=path[:-4], **values))
    return target if form == "kaldi" else target / next(iter(lines))


def measure(path: Path, root: Path, num_lines: int) -> str:
    """Read a manifest, in a process of its own."""
    before_mib = peak_memory_mib()
    start, start_of_cpu = time.perf_counter(), time.process_time()
    manifest = read_manifest(path, root=root)
    duration_sec = time.perf_counter() - start
    cpu_sec = time.process_time() - start_of_cpu
    assert len(manifest.recordings) == num_lines
    assert not manifest.rejections
    return (
        f"{manifest.form}, {num_lines} lines: {duration_sec:.1f} s, "
        f"{duration_sec / num_lines * 1e5:.1f} s per 100,000 lines "
        f"({cpu_sec / num_lines * 1e5:.1f} s of CPU), "
        f"peak memory {peak_memory_mib():.0f} MiB ({before_mib:.0f} before)"
    )


def main() -> None:
    num_lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder, num_lines)
        for form in LINES:
            path = write(folder, form, num_lines)
            print(run_in_own_process(measure, path, folder, num_lines), flush=True)


if __name__ == "__main__":
    main()
