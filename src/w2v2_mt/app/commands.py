"""The command `w2v2-mt`: everything but training, which is `run_*.py`.

Each command imports what it needs when it runs, so that `--help` waits for neither torch nor
matplotlib. The scripts under `scripts/` are these commands under the paths they have always had.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from w2v2_mt.app.label import label
from w2v2_mt.app.predict import Checkpoint, Trust, predict
from w2v2_mt.core.errors import exit_with_sentence
from w2v2_mt.core.terminal import print_visible, visible_tracebacks
from w2v2_mt.core.user_and_home import ensure_user_and_home
from w2v2_mt.prepare.commands import prepare
from w2v2_mt.synthetic.command import synthesise

NOTHING_WRITTEN = "Nothing was written."

app = typer.Typer(
    name="w2v2-mt",
    help="Prepare data, use trained networks, and report on runs of w2v2-mt. Training itself is "
    "run_speech.py, run_speaker.py and run_mt_speech_speaker.py.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
export = typer.Typer(help="Write a trained network for other tools.", no_args_is_help=True)
report = typer.Typer(help="Write the HTML report of a run or sweep.", no_args_is_help=True)
for _name, _group in (("prepare", prepare), ("export", export), ("report", report)):
    app.add_typer(_group, name=_name)
app.command(no_args_is_help=True)(predict)
app.command(no_args_is_help=True)(label)
app.command(no_args_is_help=True)(synthesise)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, by default that of the process, and return its exit code.

    It is 1 after an error, of which stderr has one sentence or, if it is unexpected, a traceback, 2
    for a command line that cannot be understood, and 130 after Ctrl-C.
    """
    ensure_user_and_home()
    try:
        with visible_tracebacks():
            app(arguments, prog_name="w2v2-mt")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@export.command("huggingface", no_args_is_help=True)
@exit_with_sentence(after_interrupt=NOTHING_WRITTEN)
def export_huggingface(
    checkpoint: Checkpoint,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    trust: Trust = [],  # noqa: B006
) -> None:
    """Write a model that transformers loads.

    The encoder and the CTC head become a model of transformers with a model card, the speaker head
    a safetensors file. A branched network becomes two folders.
    """
    from w2v2_mt.export.huggingface import export

    export(checkpoint, folder, trust=trust)
    print_visible(f"The model is in {folder}; its README.md shows how to load it.")


@export.command("onnx", no_args_is_help=True)
@exit_with_sentence(after_interrupt=NOTHING_WRITTEN)
def export_onnx(
    checkpoint: Checkpoint,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, such as model.onnx.")],
    precision: Annotated[
        Literal["32-true", "int8-mixed"],
        typer.Option(help="int8-mixed: the linear layers of the transformer in int8."),
    ] = "32-true",
    trust: Trust = [],  # noqa: B006
) -> None:
    """Write an ONNX graph.

    Inputs: waveforms [batch, samples] as read at 16 kHz, num_samples [batch]. Outputs, depending on
    the heads of the network: logits [batch, frames, tokens] with num_frames [batch], embeddings
    [batch, values].
    """
    from w2v2_mt.export.onnx import export

    difference = export(checkpoint, file, precision=precision, trust=trust)
    print_visible(f"The network is in {file}; it is within {difference:.1e} of torch.")


class _CommandWithGroup(TyperCommand):
    """A command whose option `--with` takes all folders that follow it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write `--with` before each of its folders."""
        expanded: list[str] = []
        is_group = False
        for place, arg in enumerate(args):
            if arg == "--with":
                is_group = True
                if args[place + 1 : place + 2]:
                    continue
            elif arg.startswith("-"):
                is_group = False
            elif is_group:
                expanded.append("--with")
            expanded.append(arg)
        return super().parse_args(ctx, expanded)


@app.command(no_args_is_help=True, cls=_CommandWithGroup)
@exit_with_sentence(after_interrupt=NOTHING_WRITTEN)
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", readable=False, help="The folders of two runs."),
    ],
    others: Annotated[
        list[Path],
        typer.Option(
            "--with",
            metavar="RUN...",
            help="Compare runs of several seeds: all runs before --with are A, all after it B.",
        ),
    ] = [],  # noqa: B006
    output: Annotated[
        Path | None, typer.Option(help="A new file for the numbers, as JSON.")
    ] = None,
) -> None:
    """Compare the error rates of two runs, RUN_A RUN_B, or of two groups, A1 A2 --with B1 B2.

    Word and equal error rates on the data that both were tested on, with the difference, its 95 %
    interval and the p value of a paired test over speakers and, in groups, seeds.
    """
    from w2v2_mt.report.comparison import print_comparison

    if not others and len(runs) != 2:
        raise typer.BadParameter(
            f"compare needs two runs, not {len(runs)}. For groups of runs, write --with before the "
            "second group."
        )
    first, second = (runs, others) if others else (runs[:1], runs[1:])
    print_comparison(first, second, output=output)


@report.command("run", no_args_is_help=True)
@exit_with_sentence(after_interrupt=NOTHING_WRITTEN)
def report_run(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", readable=False, help="The folder of a run.")
    ],
) -> None:
    """Write the report of a run, also while it trains or after it failed."""
    from w2v2_mt.report.run_report import write_report

    print_visible(write_report(folder).path)


@report.command("sweep", no_args_is_help=True)
@exit_with_sentence(after_interrupt=NOTHING_WRITTEN)
def report_sweep(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", readable=False, help="The folder of a sweep.")
    ],
) -> None:
    """Write the report of a sweep and print its tables, also while its jobs run."""
    from w2v2_mt.report.sweep_report import print_sweep_report, write_sweep_report

    print_sweep_report(write_sweep_report(folder))


@app.command()
@exit_with_sentence(after_interrupt=NOTHING_WRITTEN)
def doctor(
    manifest: Annotated[
        Path | None,
        typer.Argument(metavar="[MANIFEST]", help="Check this list of recordings instead."),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="The folder with all audio (default: that of the manifest)."),
    ] = None,
) -> None:
    """Check this machine, or a manifest of recordings, and name what is missing.

    Prints what it has and lacks, for which commands or tasks, and the command that closes each gap.
    Nothing is changed or downloaded. The exit code is 1 if no command runs at all, or if no task
    can use the manifest.
    """
    from w2v2_mt.app.doctor.finding import State, format_findings

    if manifest is None:
        from w2v2_mt.app.doctor.machine import check_machine

        findings = check_machine()
    else:
        from w2v2_mt.app.doctor.manifest import check_manifest

        findings = check_manifest(manifest, root=root)
    print_visible(format_findings(findings, shutil.get_terminal_size((100, 24)).columns))
    if any(each.is_required and each.state is State.MISSING for each in findings):
        raise typer.Exit(1)
