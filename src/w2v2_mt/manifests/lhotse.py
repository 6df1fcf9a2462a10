"""Cuts of lhotse, with one JSON object in each line: an utterance is a supervision of a cut.

Source: https://lhotse.readthedocs.io/en/latest/cuts.html
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from w2v2_mt.manifests.columns import COLUMN_NAMES
from w2v2_mt.manifests.recordings import milliseconds
from w2v2_mt.manifests.rejections import Rejection
from w2v2_mt.manifests.rows import JsonRows, LineError, Rows
from w2v2_mt.manifests.tables import json_objects

_LABELS = ("text", "speaker", "gender", "language")


def is_of_lhotse(values: Mapping[str, Any]) -> bool:
    """Return True for an object of a manifest of lhotse, also for one that is not a cut."""
    if any(name in values for name in COLUMN_NAMES["path"]):
        return False
    is_recording = "sources" in values and "sampling_rate" in values
    is_supervision = "recording_id" in values and "duration" in values
    return "supervisions" in values or "tracks" in values or is_recording or is_supervision


def read_cuts(path: Path, *, name: str, columns: dict[str, str | None]) -> Rows:
    """Yield the supervisions of cuts of whole files, with the audio on disk.

    Args:
        path: The file, plain or gzipped.
        name: The name of the file in messages.
        columns: Receives what each name of the supervisions holds.
    """
    rows = JsonRows(columns)
    for line, cut in json_objects(path, name=name):
        if isinstance(cut, Rejection):
            yield cut
            continue
        try:
            utterances = list(_utterances(cut))
        except LineError as error:
            yield Rejection(line, str(error))
        except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
            yield Rejection(line, f"it is not a cut of lhotse ({type(error).__name__}: {error}).")
        else:
            for values in utterances:
                yield rows.make(values, line=line)


def _utterances(cut: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    path = _audio_path(cut)
    duration_sec = float(cut["recording"]["duration"])
    for supervision in cut.get("supervisions") or [{"start": 0, "duration": cut["duration"]}]:
        start_sec = float(cut["start"]) + float(supervision["start"])
        end_sec = start_sec + float(supervision["duration"])
        labels = {label: supervision.get(label) for label in _LABELS}
        further = {**(cut.get("custom") or {}), **(supervision.get("custom") or {})}
        is_whole = milliseconds(start_sec) <= 0 and milliseconds(end_sec - duration_sec) >= 0
        times = (None, None) if is_whole else (round(start_sec, 6), round(end_sec, 6))
        place = {"path": path, **dict(zip(("start", "end"), times, strict=True))}
        yield {**further, **labels, **place}


def _audio_path(cut: Mapping[str, Any]) -> str:
    """Return the file of a cut that takes all of its channels as they are."""
    if "recording" not in cut:
        kind = f" ({cut['type']!s:.40})" if "type" in cut else ""
        raise LineError(
            f"it is not a cut with one recording{kind}. Write such cuts, as `lhotse cut simple` "
            "and `lhotse cut trim-to-supervisions` do."
        )
    recording = cut["recording"]
    sources = recording["sources"]
    if len(sources) != 1 or sources[0]["type"] != "file":
        kinds = ", ".join(str(each["type"])[:40] for each in sources)
        raise LineError(
            f"the sources of its recording ({kinds}) must be one file; commands, addresses and "
            "archives are not read. Save the audio as files, for example with "
            "`CutSet.save_audios`."
        )
    for part in (cut, *(cut.get("supervisions") or ())):
        channels = part.get("channel", 0)
        channels = channels if isinstance(channels, list) else [channels]
        if set(channels) != set(sources[0]["channels"]):
            raise LineError(
                f"it takes the channels {channels} of {sources[0]['channels']}; all channels of "
                "a file are mixed. Save each channel as a file."
            )
    if recording.get("transforms"):
        raise LineError(
            "its recording is changed by transforms, which are not applied. Save the changed "
            "audio, for example with `CutSet.save_audios`."
        )
    return str(sources[0]["source"])
