"""The command line of a prediction: its arguments, its bar, and the files that it writes.

Each file's result is written when it is known. A file that cannot be read is told on stderr and
left out; the exit code is then 1, although the results of the others are complete.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2v2_mt.app.new_results import check_is_new
from w2v2_mt.core.exit_codes import INTERRUPTED

if TYPE_CHECKING:  # Torch would make --help wait.
    from w2v2_mt.app.prediction import Prediction
    from w2v2_mt.app.trained import TrainedNetwork

_LARGEST_PRINTED_MATRIX = 20
_THRESHOLD_METRIC = "val_eer_threshold"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _predict(options)
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; what was written so far is complete.", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Transcribe audio files and compare their voices with a trained network. The "
        "exit code is 1 if a file had to be left out."
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="such as .../best.ckpt")
    parser.add_argument(
        "paths",
        type=Path,
        nargs="+",
        metavar="FILE_OR_FOLDER",
        help="audio of any rate and channel count that libsndfile reads; folders at any depth",
    )
    parser.add_argument(
        "--output", type=Path, help="a new file, one line of JSON for each audio file (stdout)"
    )
    parser.add_argument(
        "--embeddings", type=Path, help="a new .npz file with the arrays paths and embeddings"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="tell which files are of one speaker: a last line with the cosine of each pair",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        help="cosine from which on two files are of one speaker (that of the equal error rate on "
        "the dev trials, as the checkpoint knows it)",
    )
    parser.add_argument(
        "--window_sec", type=float, default=30, help="longer files are cut into (%(default)s s)"
    )
    parser.add_argument(
        "--overlap_sec", type=float, default=6, help="of two such windows (%(default)s s)"
    )
    parser.add_argument(
        "--max_batch_sec", type=float, default=120, help="audio of a batch (%(default)s s)"
    )
    return parser


def _predict(options: argparse.Namespace) -> int:
    _check(options)

    import torch

    from w2v2_mt.app.prediction import Predictor
    from w2v2_mt.app.trained import load_trained
    from w2v2_mt.data.audio_files import find_audio_files

    files = find_audio_files(options.paths)
    trained = load_trained(options.checkpoint)
    wants_embeddings = options.verify or options.embeddings is not None
    if wants_embeddings and not trained.answers_speaker:
        raise ValueError(
            f"{options.checkpoint} is a network without speakers; leave out --verify and "
            "--embeddings, or choose one that was trained for speakers."
        )
    threshold = _threshold(options, trained) if options.verify else None
    predictor = Predictor(
        trained,
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        window_sec=options.window_sec,
        overlap_sec=options.overlap_sec,
        max_batch_sec=options.max_batch_sec,
    )
    num_refused = 0
    with ExitStack() as stack:
        output = sys.stdout
        if options.output is not None:
            options.output.parent.mkdir(parents=True, exist_ok=True)
            output = stack.enter_context(options.output.open("x", encoding="utf-8"))
        refuse, advance = stack.enter_context(_progress(len(files)))

        def on_refusal(reason: str) -> None:
            nonlocal num_refused
            num_refused += 1
            refuse(f"left out: {reason}")

        kept: list[Prediction] = []
        if options.embeddings is not None:
            stack.callback(lambda: _write_embeddings(options.embeddings, kept))
        for prediction in predictor.predict(files, on_refusal=on_refusal, on_progress=advance):
            record = _record(prediction)
            if wants_embeddings:
                record["embedding_index"] = len(kept)
                kept.append(prediction)
            print(json.dumps(record, ensure_ascii=False), file=output, flush=True)
        if threshold is not None:
            similarities = _similarities(kept)
            verification = _verification(kept, similarities, threshold)
            print(json.dumps(verification, ensure_ascii=False), file=output, flush=True)
    if threshold is not None:
        _print_matrix(kept, similarities, threshold, to_stderr=options.output is None)
    if num_refused:
        print(f"{num_refused} of {len(files)} files were left out.", file=sys.stderr)
    return 1 if num_refused else 0


def _check(options: argparse.Namespace) -> None:
    """What can be said without the network."""
    for name in ("window_sec", "overlap_sec", "max_batch_sec"):
        value = getattr(options, name)
        if not 0 < value < math.inf:
            raise ValueError(f"--{name} {value:g} is no length of audio; give seconds above 0.")
    if options.threshold is not None:
        if not options.verify:
            raise ValueError("--threshold decides what --verify tells; give both or none.")
        if not -1 <= options.threshold <= 1:
            raise ValueError(
                f"--threshold {options.threshold:g} is no cosine; give a number from -1 to 1."
            )
    written = [path for path in (options.output, options.embeddings) if path is not None]
    for path in written:
        check_is_new(path, "file")
    if len({path.resolve() for path in written}) < len(written):
        raise ValueError(f"--output and --embeddings are both {written[0]}; name two files.")


def _threshold(options: argparse.Namespace, trained: TrainedNetwork) -> float:
    if options.threshold is not None:
        return float(options.threshold)
    if _THRESHOLD_METRIC not in trained.metrics:
        raise ValueError(
            f"{options.checkpoint} does not know the threshold of its dev trials; give --threshold."
        )
    return trained.metrics[_THRESHOLD_METRIC]


def _record(prediction: Prediction) -> dict[str, Any]:
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
    """Also of a prediction that was stopped."""
    import numpy as np

    embeddings = [
        prediction.embedding.numpy()
        for prediction in predictions
        if prediction.embedding is not None
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:  # savez would add a suffix to a name.
        np.savez(
            file,
            paths=np.array([str(prediction.audio.path) for prediction in predictions], dtype=str),
            embeddings=np.stack(embeddings) if embeddings else np.zeros((0, 0), dtype=np.float32),
        )


def _similarities(predictions: Sequence[Prediction]) -> list[list[float]]:
    import torch

    embeddings = [each.embedding for each in predictions if each.embedding is not None]
    if not embeddings:
        return []
    directions = torch.nn.functional.normalize(torch.stack(embeddings).double(), dim=1)
    similarities: list[list[float]] = (directions @ directions.T).tolist()
    return similarities


def _verification(
    predictions: Sequence[Prediction], similarities: list[list[float]], threshold: float
) -> dict[str, Any]:
    return {
        "verification": [str(prediction.audio.path) for prediction in predictions],
        "threshold": threshold,
        "similarities": [[round(value, 6) for value in row] for row in similarities],
        "same_speaker": [[value >= threshold for value in row] for row in similarities],
    }


def _print_matrix(
    predictions: Sequence[Prediction],
    similarities: list[list[float]],
    threshold: float,
    *,
    to_stderr: bool,
) -> None:
    from rich.table import Table

    from w2v2_mt.app.console import plain_console

    console = plain_console(stderr=to_stderr)
    if len(predictions) > _LARGEST_PRINTED_MATRIX:
        console.print(
            f"The cosines of {len(predictions)} files are in the last line of the output."
        )
        return
    table = Table(
        title=f"cosine of two files; one speaker from {threshold:.3f} on (*)", show_edge=False
    )
    table.add_column("file", overflow="fold")
    for number in range(1, len(predictions) + 1):
        table.add_column(str(number), justify="right", no_wrap=True)
    for number, (prediction, row) in enumerate(zip(predictions, similarities, strict=True), 1):
        cells = [f"{value:.3f}{'*' if value >= threshold else ' '}" for value in row]
        table.add_row(f"{number} {prediction.audio.path}", *cells)
    console.print(table)


@contextmanager
def _progress(num_files: int) -> Iterator[tuple[Callable[[str], None], Callable[[float], None]]]:
    """Functions that say a sentence above a bar, and that advance it; no bar but on a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from w2v2_mt.app.console import plain_console

    console = plain_console(stderr=True)
    if not console.is_terminal:
        yield lambda sentence: print(sentence, file=sys.stderr, flush=True), lambda amount: None
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("files", total=num_files)
        yield (
            lambda sentence: console.print(sentence, highlight=False),
            lambda amount: progress.advance(task, amount),
        )
