"""The command `w2v2-mt label`: transcripts and speakers of unlabelled recordings."""

import math
from pathlib import Path
from typing import Annotated

import typer

from w2v2_mt.app.predict import Checkpoint, MaxBatchSec, Trust
from w2v2_mt.core.errors import exit_with_sentence


@exit_with_sentence(after_interrupt="The same command resumes from here.")
def label(
    checkpoint: Checkpoint,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A manifest in any form, or a folder of shards such as .../train.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            help="The new manifest, one line of JSON per utterance. The audio of shards is copied "
            "next to it."
        ),
    ],
    root: Annotated[
        Path | None,
        typer.Option(help="The folder that holds all audio of a manifest (its own folder)."),
    ] = None,
    transcripts: Annotated[
        Path | None,
        typer.Option(
            help="JSON lines with key or path, text and perhaps confidence of another recognizer, "
            "which are taken instead of transcripts of the network."
        ),
    ] = None,
    relabel: Annotated[
        bool, typer.Option("--relabel", help="Replace the labels that utterances have already.")
    ] = False,
    min_confidence: Annotated[
        float, typer.Option("--min_confidence", help="Leave out less certain transcripts, 0 to 1.")
    ] = 0,
    min_sec: Annotated[float, typer.Option("--min_sec", help="Leave out shorter utterances.")] = 0,
    max_sec: Annotated[
        float, typer.Option("--max_sec", help="Leave out longer utterances.")
    ] = math.inf,
    speaker_threshold: Annotated[
        float | None,
        typer.Option(
            "--speaker_threshold",
            help="Mean cosine above which clusters are one speaker (the threshold of the equal "
            "error rate on the dev trials, which is stored in the checkpoint).",
        ),
    ] = None,
    within_sessions: Annotated[
        bool,
        typer.Option(
            "--within_sessions",
            help="Find the speakers of each session alone, or of each file without a session.",
        ),
    ] = False,
    window_sec: Annotated[
        float, typer.Option("--window_sec", help="Longer utterances are split into windows.")
    ] = 30,
    overlap_sec: Annotated[
        float, typer.Option("--overlap_sec", help="Overlap of two windows of an utterance.")
    ] = 6,
    max_batch_sec: MaxBatchSec = None,
    trust: Trust = [],  # noqa: B006
) -> None:
    """Label utterances with a trained network.

    Utterances without a text get a transcript with its confidence, and those without a speaker the
    name of a cluster of similar voices, as far as the network has a head for it. The result is a
    manifest, which w2v2-mt prepare manifest reads. A call that was stopped is resumed by the same
    command.
    """
    windows = {"window_sec": window_sec, "overlap_sec": overlap_sec, "max_batch_sec": max_batch_sec}
    for name, seconds in windows.items():
        if seconds is not None and not 0 < seconds < math.inf:
            raise ValueError(f"--{name} ({seconds:g}) must be a finite number above 0.")

    from w2v2_mt.labelling.label import label as write_labels
    from w2v2_mt.labelling.options import LabelOptions

    options = LabelOptions(
        source=source,
        output=output,
        root=root,
        transcripts=transcripts,
        relabel=relabel,
        speaker_threshold=speaker_threshold,
        within_sessions=within_sessions,
        min_confidence=min_confidence,
        min_sec=min_sec,
        max_sec=max_sec,
        windows=windows,
    )
    write_labels(checkpoint, options, trust=trust)
