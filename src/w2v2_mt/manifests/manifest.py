"""A manifest: the recordings of a corpus, in any of the forms in which toolkits list them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from w2v2_mt.core.units import count
from w2v2_mt.manifests.audio_root import AudioRoot
from w2v2_mt.manifests.consistency import check_consistency
from w2v2_mt.manifests.forms import open_form
from w2v2_mt.manifests.labels import make_recording
from w2v2_mt.manifests.recordings import Recording
from w2v2_mt.manifests.rejections import Rejection
from w2v2_mt.manifests.rows import LineError

_MAX_REJECTIONS = 100_000
"""More are not collected: the manifest as a whole is wrong, or its root is."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of a manifest.

    Args:
        form: The name of the form, for people.
        root: The folder that holds all audio; the paths of recordings are relative to it.
        recordings: The recordings that can be used, in the order of the manifest.
        rejections: The lines that cannot be used, with reasons.
        columns: What each column holds (`text`, `speaker`, ...), by its name in the file; None for
            one that is kept as metadata.
    """

    form: str
    root: Path
    recordings: Sequence[Recording]
    rejections: Sequence[Rejection]
    columns: Mapping[str, str | None]


def read_manifest(
    path: Path, *, root: Path | None = None, keep_unlabelled: bool = False
) -> Manifest:
    """Read a CSV, TSV or JSON-lines table, a NeMo manifest, lhotse cuts, a Kaldi or audio folder.

    The form is recognised by the content. Each file is looked up, and none is opened.

    Args:
        path: A file, or the folder of Kaldi's files or of an `audiofolder`.
        root: The folder that holds all audio, against which relative paths count; by default
            the folder of the manifest.
        keep_unlabelled: True keeps recordings with neither a text nor a speaker.

    Raises:
        ValueError: The manifest cannot be understood as a whole: its encoding, its columns, two
            recordings with the same key, a speaker in two splits, or not a single line is right.
    """
    form = open_form(path, root=root)
    audio_root = AudioRoot(form.root)
    recordings: list[Recording] = []
    rejections: list[Rejection] = []
    for row in form.rows:
        if isinstance(row, Rejection):
            rejections.append(row)
        else:
            try:
                recordings.append(make_recording(row, audio_root, keep_unlabelled=keep_unlabelled))
            except LineError as error:
                rejections.append(Rejection(row.line, str(error)))
        if len(rejections) > _MAX_REJECTIONS:
            raise _refusal(path, f"more than {_MAX_REJECTIONS} lines cannot be used", rejections)
    if not recordings:
        if rejections:
            lines = count(len(rejections), "line")
            raise _refusal(path, f"none of its {lines} can be used", rejections)
        raise ValueError(f"{path} names no recording. Add a line for each.")
    check_consistency(recordings)
    return Manifest(
        form=form.name,
        root=audio_root.folder,
        recordings=recordings,
        rejections=rejections,
        columns=form.columns,
    )


def _refusal(path: Path, problem: str, rejections: Sequence[Rejection]) -> ValueError:
    first = rejections[0]
    return ValueError(f"{path}: {problem}. The first is {first.file}: {first.reason}")
