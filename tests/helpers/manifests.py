"""A small corpus of own recordings, and its manifest in each form that is read."""

import csv
import gzip
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Entry = Mapping[str, Any]
"""A recording by the names of columns; values that it has not are left out."""

DURATION_SEC = 10.0

WHOLE_FILES: Sequence[Entry] = [
    {"path": "train/anna/1.wav", "text": "guten Morgen, Welt", "speaker": "anna", "sex": "f"},
    {"path": "train/anna/2.flac", "text": 'sie sagte "ja"', "speaker": "anna", "sex": "f"},
    {"path": "train/my talk.mp3", "text": "早上 好", "speaker": "bo", "sex": "m"},
    {"path": "val/c.wav", "text": "eins zwei", "speaker": "cem", "sex": "m"},
    {"path": "test/d.wav", "text": "drei", "speaker": "dora", "sex": "f"},
]
SEGMENTS: Sequence[Entry] = [
    {"path": "call.wav", "start": 0.5, "end": 1.25, "text": "hello", "speaker": "anna"},
    {"path": "call.wav", "start": 1.25, "end": 3.1, "text": "who is it", "speaker": "bo"},
    {"path": "sub/b.wav", "start": 0.1, "end": 0.3, "text": "bye", "speaker": "anna"},
]


def split_of(entry: Entry) -> str | None:
    """The split of an entry, which is the first folder of its path if that is one."""
    first = str(entry["path"]).partition("/")[0]
    return first if first in ("train", "val", "test") else None


def touch_files(folder: Path, entries: Iterable[Entry]) -> None:
    """Make an empty file for each path; manifests do not look into files."""
    for entry in entries:
        path = folder / entry["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def with_splits(entries: Iterable[Entry]) -> list[Entry]:
    return [{**each, "split": split_of(each)} if split_of(each) else each for each in entries]


def write_table(path: Path, entries: Sequence[Entry], *, delimiter: str = ",") -> Path:
    names = dict.fromkeys(name for each in entries for name in each)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*names], delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        writer.writerows(entries)
    return path


def write_json_lines(path: Path, entries: Iterable[Entry]) -> Path:
    text = "".join(f"{json.dumps(each, ensure_ascii=False)}\n" for each in entries)
    path.write_text(text, encoding="utf-8")
    return path


def write_csv(folder: Path, entries: Sequence[Entry]) -> Path:
    return write_table(folder / "mine.csv", with_splits(entries))


def write_tsv(folder: Path, entries: Sequence[Entry]) -> Path:
    return write_table(folder / "mine.tsv", with_splits(entries), delimiter="\t")


def write_jsonl(folder: Path, entries: Sequence[Entry]) -> Path:
    return write_json_lines(folder / "mine.jsonl", with_splits(entries))


def write_nemo(folder: Path, entries: Sequence[Entry]) -> Path:
    lines = []
    for each in with_splits(entries):
        line = {"audio_filepath": str(folder / each["path"]), "duration": DURATION_SEC}
        line |= {
            name: each[name] for name in ("text", "speaker", "session", "split") if name in each
        }
        if "sex" in each:
            line["gender"] = each["sex"]
        if "start" in each:
            line |= {"offset": each["start"], "duration": each["end"] - each["start"]}
        lines.append(line)
    return write_json_lines(folder / "manifest.json", lines)


def write_audio_folder(folder: Path, entries: Sequence[Entry]) -> Path:
    columns = {"path": "file_name", "text": "transcription", "speaker": "speaker_id"}
    renamed = [{columns.get(name, name): value for name, value in each.items()} for each in entries]
    write_table(folder / "metadata.csv", renamed)
    return folder


def write_audio_folders(folder: Path, entries: Sequence[Entry]) -> Path:
    """A table in each folder of a split, relative to which its paths are."""
    for name in ("train", "val", "test"):
        inside = [
            {**each, "file_name": str(each["path"]).removeprefix(f"{name}/")}
            for each in entries
            if split_of(each) == name
        ]
        for each in inside:
            del each["path"]
        write_json_lines(folder / name / "metadata.jsonl", inside)
    return folder


def write_kaldi(folder: Path, entries: Sequence[Entry]) -> Path:
    """A folder of Kaldi or, where entries have splits, one for each split."""
    for split in dict.fromkeys(map(split_of, entries)):
        data = folder / (split or "")
        lines: dict[str, list[str]] = {"wav.scp": [], "text": [], "utt2spk": []}
        if any("start" in each for each in entries):
            lines["segments"] = []
        sexes = {}
        for number, each in enumerate(each for each in entries if split_of(each) == split):
            utterance = f"{each['speaker']}-{number:04d}"
            recording = utterance
            if "segments" in lines:
                recording = str(each["path"]).replace("/", "_").replace(" ", "_")
                times = f"{each['start']:.3f} {each['end']:.3f}" if "start" in each else "0 -1"
                lines["segments"].append(f"{utterance} {recording} {times}")
            lines["wav.scp"].append(f"{recording} {folder / each['path']}")
            lines["text"].append(f"{utterance} {each['text']}")
            lines["utt2spk"].append(f"{utterance} {each['speaker']}")
            if "session" in each:
                lines.setdefault("utt2session", []).append(f"{utterance} {each['session']}")
            if "sex" in each:
                sexes[each["speaker"]] = f"{each['speaker']} {each['sex']}"
        lines["spk2gender"] = list(sexes.values())
        for name, rows in lines.items():
            text = "".join(f"{row}\n" for row in dict.fromkeys(rows))
            (data / name).write_text(text, encoding="utf-8")
    return folder


def lhotse_cut(folder: Path, entry: Entry, *, name: str = "cut") -> dict[str, Any]:
    """A cut as `CutSet.to_file` writes it."""
    start_sec = entry.get("start", 0)
    duration_sec = entry.get("end", DURATION_SEC) - start_sec
    supervision = {
        "id": f"{name}-sup",
        "recording_id": name,
        "start": 0.0,
        "duration": duration_sec,
        "channel": 0,
        "text": entry["text"],
        "speaker": entry["speaker"],
    }
    if "sex" in entry:
        supervision["gender"] = entry["sex"]
    custom = {"split": split_of(entry), "session": entry.get("session")}
    supervision["custom"] = {label: value for label, value in custom.items() if value}
    return {
        "id": name,
        "start": start_sec,
        "duration": duration_sec,
        "channel": 0,
        "supervisions": [supervision],
        "recording": {
            "id": name,
            "sources": [{"type": "file", "channels": [0], "source": str(folder / entry["path"])}],
            "sampling_rate": 16000,
            "num_samples": int(DURATION_SEC * 16000),
            "duration": DURATION_SEC,
            "channel_ids": [0],
        },
        "type": "MonoCut",
    }


def write_lhotse(folder: Path, entries: Sequence[Entry]) -> Path:
    path = folder / "cuts.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for number, each in enumerate(entries):
            cut = lhotse_cut(folder, each, name=f"cut-{number}")
            file.write(json.dumps(cut, ensure_ascii=False) + "\n")
    return path


FORMS: Mapping[str, Callable[[Path, Sequence[Entry]], Path]] = {
    "csv": write_csv,
    "tsv": write_tsv,
    "jsonl": write_jsonl,
    "nemo": write_nemo,
    "audiofolder": write_audio_folder,
    "kaldi": write_kaldi,
    "lhotse": write_lhotse,
}
"""The writers of each form: they get the folder with the audio, and return what is to be read."""
