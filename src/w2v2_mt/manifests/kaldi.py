"""Data folders of Kaldi: `wav.scp`, and maps from the names of utterances to their labels.

Source: https://kaldi-asr.org/doc/data_prep.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from w2v2_mt.core.terminal import visible
from w2v2_mt.core.text_files import split_fields
from w2v2_mt.manifests.audio_root import AudioRoot
from w2v2_mt.manifests.labels import split_name
from w2v2_mt.manifests.lines import read_lines
from w2v2_mt.manifests.rejections import Rejection
from w2v2_mt.manifests.rows import Row, Rows, shared_metadata

AUDIO_LIST = "wav.scp"
_LABELS = {"text": "text", "utt2spk": "speaker", "utt2session": "session"}
"""The label of each utterance in a file; Kaldi itself has no `utt2session`."""

_SEXES = "spk2gender"
_SEGMENTS = "segments"


def find_kaldi_folders(folder: Path) -> list[Path]:
    """Return the folder if it is one of Kaldi's, otherwise those of its sub-folders that are."""
    if (folder / AUDIO_LIST).exists():
        return [folder]
    return sorted(path.parent for path in folder.glob(f"*/{AUDIO_LIST}"))


def read_kaldi(folder: Path, *, columns: dict[str, str | None]) -> Rows:
    """Yield the utterances of a data folder, or of its sub-folders, each of which is a split.

    The names of utterances join the files, and are not kept.

    Args:
        folder: A folder with `wav.scp`, or one of folders such as `train`, `dev` and `test`.
        columns: Receives the files of labels that exist.

    Raises:
        ValueError: A name has two lines in one file, a file is a link out of the folder, or a
            sub-folder has not the name of a split.
    """
    for data in find_kaldi_folders(folder):
        split = ""
        if data != folder:
            split = split_name(data.name, line=str(data)) or ""
        yield from _DataFolder(data, folder, split, columns).rows()


@dataclass(frozen=True)
class _DataFolder:
    """A folder with `wav.scp`."""

    folder: Path
    parent: Path
    split: str
    columns: dict[str, str | None]

    def rows(self) -> Rows:
        labels = {label: self._read_map(file, label) for file, label in _LABELS.items()}
        sexes = self._read_map(_SEXES, "sex")
        for line, utterance, place in self._places():
            if isinstance(place, str):
                for each in labels.values():
                    each.pop(utterance, None)
                yield Rejection(line, place)
                continue
            found = {label: each.pop(utterance, "") for label, each in labels.items()}
            found["sex"] = sexes.get(found["speaker"], "")
            labels_of_one = {**place, **found, "split": self.split}
            yield Row(line=line, labels=labels_of_one, metadata=shared_metadata(()))
        for file, label in _LABELS.items():
            for utterance in labels[label]:
                reason = f"the utterance {utterance!r} has a {label}, and no audio."
                yield Rejection(self._describe(file), reason)

    def _places(self) -> Iterator[tuple[str, str, Mapping[str, str] | str]]:
        """Yield line, name and audio of each utterance, or why its audio cannot be used."""
        has_segments = (self.folder / _SEGMENTS).exists()
        files: dict[str, str] = {}
        for line, recording, path in self._read(AUDIO_LIST, "path"):
            if has_segments:
                files[recording] = path
            else:
                yield line, recording, _place(path)
        if not has_segments:
            return
        for line, utterance, rest in self._read(_SEGMENTS, "start"):
            fields = split_fields(rest)
            if len(fields) != 3:
                yield line, utterance, "it must be `<utterance> <recording> <start> <end>`."
            elif fields[0] not in files:
                reason = f"{AUDIO_LIST} has no line for the recording {fields[0]!r}."
                yield line, utterance, reason
            else:
                place = _place(files[fields[0]])
                if not isinstance(place, str):
                    end = "" if fields[2] == "-1" else fields[2]  # -1: the end of the recording
                    place = {**place, "start": fields[1], "end": end}
                yield line, utterance, place

    def _read_map(self, file: str, label: str) -> dict[str, str]:
        if not (self.folder / file).exists():
            return {}
        return {name: value for _, name, value in self._read(file, label)}

    def _read(self, file: str, label: str) -> Iterator[tuple[str, str, str]]:
        """Yield the line, the name in its first field, and the rest of the line."""
        path = self.folder / file
        if not AudioRoot(self.parent).contains(path):
            raise ValueError(
                f"{path} is or goes through a link that leads out of {self.parent}. Replace the "
                "link by a copy."
            )
        self.columns[file] = label
        names = set()
        shown = self._describe(file)
        for number, text in read_lines(path):
            name, *rest = text.replace("\t", " ").strip(" ").split(" ", 1)
            if not name:
                continue
            line = f"{shown}, line {number}"
            if name in names:
                raise ValueError(f"{line}: {name!r} has an earlier line. Remove one of them.")
            names.add(name)
            yield line, name, "".join(rest).strip(" ")

    def _describe(self, file: str) -> str:
        return visible((self.folder / file).relative_to(self.parent), keep="")


def _place(path: str) -> Mapping[str, str] | str:
    if path.endswith("|") or path.startswith("|"):
        return (
            f"{path[:60]!r} is a command, which is not run. Run it yourself, and name the file "
            "that it writes."
        )
    return {"path": path}
