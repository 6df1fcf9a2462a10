"""The command `w2v2-mt predict`: transcripts, embeddings and voice comparisons of audio files."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from w2v2_mt.core.atomic_output import check_is_new
from w2v2_mt.core.errors import exit_with_sentence
from w2v2_mt.core.units import count

if TYPE_CHECKING:  # Torch would make --help wait.
    from rich.console import Console

    from w2v2_mt.inference.predictor import Prediction

Checkpoint = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT", readable=False, help="A checkpoint, such as .../best.ckpt."
    ),
]
MaxBatchSec = Annotated[
    float | None,
    typer.Option(
        "--max_batch_sec", help="Audio in a batch, padding included (120 on a GPU, 10 on a CPU)."
    ),
]
Trust = Annotated[
    list[str],
    typer.Option(help="A package, such as my_lab, whose classes the checkpoint may name."),
]

_LARGEST_PRINTED_MATRIX = 20
_THRESHOLD_METRIC = "val_eer_threshold"


@exit_with_sentence(after_interrupt="What was written so far is complete.")
def predict(
    checkpoint: Checkpoint,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE_OR_FOLDER",
            help="Audio files of any sampling rate and channel count; folders at any depth.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(help="A new file for the results, one line of JSON per audio file (stdout)."),
    ] = None,
    embeddings: Annotated[
        Path | None, typer.Option(help="A new .npz file for the arrays paths and embeddings.")
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Compare the speakers of all files: a last line with their cosines."
        ),
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Decision threshold on the cosine score (that of the equal error rate on the dev "
            "trials, which is stored in the checkpoint)."
        ),
    ] = None,
    window_sec: Annotated[
        float, typer.Option("--window_sec", help="Longer files are split into windows.")
    ] = 30,
    overlap_sec: Annotated[
        float, typer.Option("--overlap_sec", help="Overlap of two windows of a file.")
    ] = 6,
    max_batch_sec: MaxBatchSec = None,
    precision: Annotated[
        Literal["auto", "32-true", "bf16-mixed", "int8-mixed"],
        typer.Option(
            help="auto: bf16 where the device computes in it. int8-mixed: the linear layers of the "
            "transformer in int8, on a CPU."
        ),
    ] = "32-true",
    trust: Trust = [],  # noqa: B006
) -> None:
    """Transcribe audio files and compare voices.

    Each result is written when it is known. A file that cannot be read is reported on stderr and
    skipped; the exit code is then 1, although the results of the other files are complete.
    """
    lengths: dict[str, Any] = {
        "window_sec": window_sec,
        "overlap_sec": overlap_sec,
        "max_batch_sec": max_batch_sec,
    }
    for name, seconds in lengths.items():
        if seconds is not None and not 0 < seconds < math.inf:
            raise ValueError(f"--{name} ({seconds:g}) must be a finite number above 0.")
    if threshold is not None and not verify:
        raise ValueError("--threshold needs --verify. Give both or neither.")
    if threshold is not None and not -1 <= threshold <= 1:
        raise ValueError(f"--threshold ({threshold:g}) must be a cosine, from -1 to 1.")
    for path in (output, embeddings):
        if path is not None:
            check_is_new(path, "file")
    if output and embeddings and output.resolve() == embeddings.resolve():
        raise ValueError(f"--output and --embeddings are both {output}. Name two files.")

    import torch
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from w2v2_mt.audio.files import find_audio_files
    from w2v2_mt.core.console import plain_console
    from w2v2_mt.inference.precision import resolve_inference_precision
    from w2v2_mt.inference.predictor import Predictor
    from w2v2_mt.inference.trained_network import load_trained

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    resolved = resolve_inference_precision(precision, device)
    passed_over: list[Path] = []
    files = find_audio_files(paths, on_passed_over=passed_over.append)
    trained = load_trained(checkpoint, trust=trust)
    wants_embeddings = verify or embeddings is not None
    if wants_embeddings and "speaker" not in trained.tasks:
        raise ValueError(
            f"{checkpoint} is a network without speakers. Omit --verify and --embeddings, or "
            "choose a network that was trained for speaker recognition."
        )
    if verify and threshold is None:
        threshold = trained.metrics.get(_THRESHOLD_METRIC)
        if threshold is None:
            raise ValueError(
                f"{checkpoint} does not store the threshold of its dev trials. Give --threshold."
            )
    predictor = Predictor(trained, device=device, precision=resolved, **lengths)
    console = plain_console(stderr=True)
    predictions: list[Prediction] = []
    num_skipped = 0

    def skip(reason: str) -> None:
        nonlocal num_skipped
        num_skipped += 1
        console.print(f"skipped: {reason}", highlight=False, soft_wrap=True)

    with ExitStack() as stack:
        stream = sys.stdout
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            stream = stack.enter_context(output.open("x", encoding="utf-8"))
        if embeddings is not None:
            stack.callback(_write_embeddings, embeddings, predictions)

        def write(record: Mapping[str, Any]) -> None:
            print(_as_json(record), file=stream, flush=True)

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("files", total=len(files))
            for prediction in predictor.predict(
                files, on_refusal=skip, on_progress=lambda amount: progress.advance(task, amount)
            ):
                record = _describe(prediction)
                if wants_embeddings:
                    record["embedding_index"] = len(predictions)
                    predictions.append(prediction)
                write(record)
        if threshold is not None:
            verification, cosines = _compare(predictions, threshold)
            write(verification)
            _print_cosines(
                plain_console(stderr=output is None),
                [str(each.audio.path) for each in predictions],
                cosines,
                threshold,
            )
    passed_over = [path for path in passed_over if path not in files]
    if passed_over:
        were = "was" if len(passed_over) == 1 else "were"
        print(
            f"{count(len(passed_over), 'other file')} in the folders {were} passed over, by their "
            f"names, such as {str(passed_over[0])!a}.",
            file=sys.stderr,
        )
    if num_skipped:
        were = "was" if num_skipped == 1 else "were"
        print(f"{num_skipped} of {count(len(files), 'file')} {were} skipped.", file=sys.stderr)
        raise typer.Exit(1)


def _as_json(record: Mapping[str, Any]) -> str:
    """Return a line of JSON, with the characters that a terminal would obey as escapes."""
    return re.sub(
        r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]",
        lambda found: f"\\u{ord(found[0]):04x}",
        json.dumps(record, ensure_ascii=False),
    )


def _describe(prediction: Prediction) -> dict[str, Any]:
    audio = prediction.audio
    record: dict[str, Any] = {
        "path": str(audio.path),
        "duration_sec": round(audio.duration_sec, 3),
        "sample_rate_hz": audio.sample_rate_hz,
        "num_channels": audio.num_channels,
    }
    if prediction.words is not None:
        record["transcript"] = prediction.transcript
        record["words"] = [
            {
                "word": word.text,
                "start_sec": round(word.start_frame * prediction.frame_sec, 3),
                "end_sec": round(word.end_frame * prediction.frame_sec, 3),
            }
            for word in prediction.words
        ]
    return record


def _write_embeddings(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write the embeddings of all predictions so far, also after Ctrl-C."""
    import numpy as np

    embeddings = [each.embedding.numpy() for each in predictions if each.embedding is not None]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:  # Given a name, savez would add a suffix to it.
        np.savez(
            file,
            paths=np.array([str(each.audio.path) for each in predictions], dtype=str),
            embeddings=np.stack(embeddings) if embeddings else np.zeros((0, 0), dtype=np.float32),
        )


def _compare(
    predictions: Sequence[Prediction], threshold: float
) -> tuple[dict[str, Any], list[list[float]]]:
    """Return the cosine of each pair of files, as a record and as rows."""
    import torch

    embeddings = [each.embedding for each in predictions if each.embedding is not None]
    cosines: list[list[float]] = []
    if embeddings:
        directions = torch.nn.functional.normalize(torch.stack(embeddings).double(), dim=1)
        cosines = (directions @ directions.T).tolist()
    record = {
        "verification": [str(prediction.audio.path) for prediction in predictions],
        "threshold": threshold,
        "similarities": [[round(value, 6) for value in row] for row in cosines],
        "same_speaker": [[value >= threshold for value in row] for row in cosines],
    }
    return record, cosines


def _print_cosines(
    console: Console, paths: Sequence[str], cosines: Sequence[Sequence[float]], threshold: float
) -> None:
    """Print the cosines of a few files; names that make the table too wide are printed before."""
    from rich.table import Table

    from w2v2_mt.core.console import print_table, table_width

    if len(paths) > _LARGEST_PRINTED_MATRIX:
        files = count(len(paths), "file")
        console.print(f"The cosines of {files} are in the last line of the output.")
        return
    names = [f"{number} {path}" for number, path in enumerate(paths, 1)]

    def make_table(names: Sequence[str]) -> Table:
        title = f"cosine of two files; same speaker (*) from {threshold:.3f}"
        table = Table(title=title, show_edge=False)
        table.add_column("file")
        for number in range(1, len(paths) + 1):
            table.add_column(str(number), justify="right")
        for name, row in zip(names, cosines, strict=True):
            cells = [f"{value:.3f}{'*' if value >= threshold else ' '}" for value in row]
            table.add_row(name, *cells)
        return table

    table = make_table(names)
    if table_width(table) > console.width:
        for name in names:
            console.print(name, soft_wrap=True, highlight=False)
        table = make_table([str(number) for number in range(1, len(paths) + 1)])
    print_table(console, table)
