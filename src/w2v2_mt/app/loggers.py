"""The loggers of a run: `metrics.csv` and TensorBoard, and wandb if the settings ask for it."""

import logging
import os
import re
import secrets
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from w2v2_mt.core.atomic_output import check_no_link, replace_text
from w2v2_mt.core.limits import MAX_JSON_BYTES
from w2v2_mt.core.terminal import visible
from w2v2_mt.core.text_files import read_text
from w2v2_mt.report.page import Report
from w2v2_mt.runs.run_folder import TENSORBOARD_FOLDER, WANDB_FOLDER, RunFolder
from w2v2_mt.runs.run_record import code_version
from w2v2_mt.settings.environment import PROJECT_FOLDER
from w2v2_mt.training.curves_logger import CurvesLogger

log = logging.getLogger(__name__)

STEP = "global_step"

_REFUSAL = re.compile(r"\b40[134]\b|not logged in|permission denied", flags=re.IGNORECASE)

_WAITS_SEC = {"init_timeout": 30, "finish_timeout": 60}
"""Timeouts, unless the environment sets WANDB_INIT_TIMEOUT and WANDB_FINISH_TIMEOUT."""


class WandbLogger(Logger):
    """A logger that writes to a run of `start_wandb`, until wandb fails, which is logged once."""

    def __init__(self, run: Any):
        super().__init__()
        self._run = run
        self._send(lambda run: run.define_metric(STEP))
        self._send(lambda run: run.define_metric("*", step_metric=STEP))

    @property
    def name(self) -> str:
        return str(getattr(self._run, "project", None))

    @property
    def version(self) -> str:
        return str(getattr(self._run, "id", None))

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Do nothing, because `start_wandb` has logged every setting."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self._send(lambda run: run.log({**metrics, STEP: step}))

    def log_report(self, report: Report, run_folder: RunFolder | None = None) -> None:
        """Log the tables and pictures of a report; of a run, also all transcripts and metrics."""
        self._send(lambda run: run.log(_build_media(report, run_folder)))
        if run_folder is not None:
            self._send(lambda run: run.summary.update(run_folder.metrics))

    def finish(self, exit_code: int) -> None:
        """Send the rest within a bounded time; an exit code other than 0 marks a failed run."""
        self._send(lambda run: run.finish(exit_code=exit_code))

    def _send(self, action: Callable[[Any], Any]) -> None:
        if self._run is None:
            return
        try:
            action(self._run)
        except Exception as error:  # No failure of wandb may stop a training.
            log.warning(f"wandb does not log the run any longer: {_first_line(error)}")
            self._run = None


@contextmanager
def open_loggers(
    config: dict[str, Any], folder: Path, *, num_steps_done: int, command: str, sweep: str | None
) -> Iterator[tuple[CurvesLogger, TensorBoardLogger, WandbLogger]]:
    """Open the loggers of a run, and close them with its exit code; that of wandb may do nothing.

    What an earlier part of the run logged for its first `num_steps_done` steps is kept.

    Raises:
        ValueError: wandb refuses the account.
    """
    curves = CurvesLogger(folder, num_steps_done=num_steps_done)
    # From `purge_step` on, TensorBoard shows the new values instead of the earlier ones.
    tensorboard = TensorBoardLogger(
        save_dir=folder, name=TENSORBOARD_FOLDER, version="", purge_step=num_steps_done or None
    )
    run = None
    if config["use_wandb"]:
        run = start_wandb(
            folder,
            project=config["project_name"],
            name=config["experiment_name"],
            tags=config["tag"],
            group=sweep,
            job_type="train" if config["fit_model"] else "test",
            config={"command": command, **config},
        )
    wandb = WandbLogger(run)
    exit_code = 1
    try:
        yield curves, tensorboard, wandb
        exit_code = 0
    except SystemExit as stop:
        exit_code = stop.code if isinstance(stop.code, int) else 1
        raise
    finally:
        wandb.finish(exit_code)


@rank_zero_only
def start_wandb(
    folder: Path, *, tags: str | Sequence[str] | None, config: Mapping[str, Any], **options: Any
) -> Any:
    """Start or resume the wandb run of a run folder or sweep folder.

    The commit is shown next to `config`; `options` are arguments of `wandb.init`. If the server
    does not answer, the run is written to the folder, from which `wandb sync` sends it later.

    Returns:
        The run; None if it cannot be logged even offline, and on other processes than the first.

    Raises:
        ValueError: The server refuses the account, or the settings of wandb are wrong.
    """
    import wandb  # The import is slow, and most runs do not use wandb.
    from wandb.errors import AuthenticationError, UsageError

    check_no_link(folder / WANDB_FOLDER)
    _check_no_wandb_settings(folder.resolve(), sweep=options.get("group"))
    id_file = folder / "wandb_id"
    if not id_file.exists():
        replace_text(id_file, secrets.token_hex(8))
    start = partial(
        wandb.init,
        dir=folder,
        tags=[tags] if isinstance(tags, str) else tags and list(tags),
        config={"git_commit": code_version(), **config},
        id=read_text(id_file, max_bytes=MAX_JSON_BYTES).strip(),
        resume="allow",
        **options,
    )
    # Printed text may contain secrets and is not sent.
    settings = {"console": "off", "silent": True, "git_root": str(PROJECT_FOLDER)}
    settings["use_dot_wandb"] = False  # The folder .wandb, if there is one, may be a link.
    for wait, seconds in _WAITS_SEC.items():
        if f"WANDB_{wait.upper()}" not in os.environ:
            settings[wait] = seconds
    try:
        run = start(settings=settings)
    except Exception as error:
        # wandb has one class of errors for a refusal and for a server that does not answer.
        is_refusal = isinstance(error, ValueError | AuthenticationError | UsageError)
        if is_refusal or _REFUSAL.search(str(error)):
            raise ValueError(
                f"wandb cannot log the run ({_first_line(error)}). Correct its settings, set "
                "WANDB_MODE=offline, or set use_wandb=false."
            ) from error
        log.warning(f"wandb cannot be reached ({_first_line(error)}).")
        settings |= {"mode": "offline", "init_timeout": _WAITS_SEC["init_timeout"]}
        try:
            wandb.teardown()  # Its service may still use the run, whose id would be taken.
            run = start(settings=settings)
        except Exception as error:
            log.warning(f"The run continues without wandb ({_first_line(error)}).")
            return None
    if run.offline:
        runs = f"{shlex.quote(str(folder))}/wandb/offline-run-*"
        log.info(f"wandb is offline; send the run with: wandb sync {runs}")
    elif run.url:
        log.info(f"wandb: {run.url}")
    return run


def _check_no_wandb_settings(folder: Path, *, sweep: str | None) -> None:
    """Raise a ValueError if wandb would read its settings from the folder of a run or its sweep.

    It reads them in the working directory, and they name the server that receives the key.
    """
    owner = next((parent for parent in folder.parents if parent.name == sweep), folder)
    here = Path.cwd()
    for file in (here / name / "settings" for name in (WANDB_FOLDER, f".{WANDB_FOLDER}")):
        if here.is_relative_to(owner) and file.exists():
            raise ValueError(
                f"{file} must not exist, because wandb would send the run and your key where it "
                "says. Remove it, or start the command in another folder."
            )


def _build_media(report: Report, run_folder: RunFolder | None) -> dict[str, Any]:
    import wandb

    media: dict[str, Any] = {}
    for set_name, transcripts in ({} if run_folder is None else run_folder.transcripts()).items():
        media[f"transcripts/{_key(set_name)}"] = wandb.Table(
            columns=["key", "reference", "hypothesis"],
            data=[[*map(visible, (row.key, row.reference, row.hypothesis))] for row in transcripts],
        )
    for table in report.tables:
        rows = [[*map(visible, row)] for row in table.rows]
        columns: list[str | int] = [*map(visible, table.columns)]
        media[f"tables/{_key(table.title)}"] = wandb.Table(columns=columns, data=rows)
    for picture in report.pictures:
        path = report.path.parent / f"{picture.name}.png"
        media[f"pictures/{picture.name}"] = wandb.Image(str(path), caption=visible(picture.title))
    return media


def _key(name: str) -> str:
    """Return the last part of a key of wandb, which is also that of a path of files."""
    return re.sub(r"[/\\]", "_", visible(name, keep=""))


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):  # A wrong setting in the environment.
        return "; ".join(f"{each['loc'][0]}: {each['msg']}" for each in error.errors())
    return str(error).partition("\n")[0].rstrip(".")
