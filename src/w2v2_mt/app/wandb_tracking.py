"""A run on wandb, which is told everything and never stops a training."""

import logging
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from w2v2_mt.app.environment import PROJECT_FOLDER
from w2v2_mt.app.record import code_version
from w2v2_mt.app.report.run_report import Report
from w2v2_mt.app.run_folder import RunFolder

log = logging.getLogger(__name__)

ID_FILE = "wandb_id"
STEP = "global_step"

_REFUSAL = re.compile(r"\b40[134]\b|not logged in|permission denied", flags=re.IGNORECASE)

_WAITS_SEC = {"init_timeout": 30, "finish_timeout": 60}
"""For a server, where the environment (WANDB_INIT_TIMEOUT, WANDB_FINISH_TIMEOUT) says nothing."""


class WandbLogger(Logger):
    """Lightning's way to one run of wandb; what wandb fails to take is told once, and left.

    Args:
        run: What `wandb.init` gave.
    """

    def __init__(self, run: Any):
        super().__init__()
        self._run = run
        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP)

    @property
    def name(self) -> str:
        return str(self._run.project)

    @property
    def version(self) -> str:
        return str(self._run.id)

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing: wandb has had every setting from the beginning."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self._tell(lambda run: run.log({**metrics, STEP: step}))

    def log_outcome(self, report: Report, run_folder: RunFolder) -> None:
        """The result as summary and tables, all transcripts, the pictures of the report."""
        if self._run is None:
            return
        import wandb

        transcripts = {
            f"transcripts/{set_name}": wandb.Table(
                columns=["key", "reference", "hypothesis"],
                data=[[row.key, row.reference, row.hypothesis] for row in rows],
            )
            for set_name, rows in run_folder.transcripts().items()
        }
        self._tell(lambda run: run.log(transcripts))
        self.log_report(report)
        self._tell(lambda run: run.summary.update(run_folder.metrics))

    def log_report(self, report: Report) -> None:
        """Its tables and pictures."""
        import wandb

        tables = {
            f"tables/{table.title}": wandb.Table(
                columns=list(table.columns), data=[list(row) for row in table.rows]
            )
            for table in report.tables
        }
        pictures = {
            f"pictures/{picture.name}": wandb.Image(
                str(report.path.parent / f"{picture.name}.png"), caption=picture.title
            )
            for picture in report.pictures
        }
        self._tell(lambda run: run.log({**tables, **pictures}))

    def finish(self, exit_code: int) -> None:
        """Send what is left, within a bounded time; another code than 0 marks a failed run."""
        self._tell(lambda run: run.finish(exit_code=exit_code))

    def _tell(self, message: Callable[[Any], Any]) -> None:
        if self._run is None:
            return
        try:
            message(self._run)
        except Exception as error:  # Whatever it is, the training is worth more.
            log.warning(f"wandb no longer follows the run: {_first_line(error)}")
            self._run = None


@rank_zero_only
def connect(
    folder: Path,
    *,
    project: str,
    name: str,
    tags: str | Sequence[str] | None,
    group: str | None,
    job_type: str,
    config: Mapping[str, Any],
) -> WandbLogger | None:
    """The run of wandb that belongs to the folder of a run or a sweep: begun, or gone on with.

    Where the server does not answer, the run is written to the folder, to be sent later; where not
    even that can be done, None.

    Args:
        tags: None, one or several.
        group: The name of a sweep.
        job_type: What wandb may sort the runs of a group by.
        config: Settings to show, beside the commit.

    Raises:
        ValueError: the server answers and refuses, or the settings of wandb are wrong.
    """
    import wandb  # It takes long, and most runs do without.

    def begin(**settings: Any) -> WandbLogger:
        waits = {
            name: seconds
            for name, seconds in _WAITS_SEC.items()
            if f"WANDB_{name.upper()}" not in os.environ
        }
        run = wandb.init(
            dir=folder,
            project=project,
            name=name,
            tags=listed_tags(tags),
            group=group,
            job_type=job_type,
            config={"git_commit": code_version(), **config},
            id=_run_id(folder),
            resume="allow",
            settings={
                # What is printed may come from anywhere, and stays here.
                "console": "off",
                "silent": True,
                "git_root": str(PROJECT_FOLDER),
                **waits,
                **settings,
            },
        )
        if run.offline:
            log.info(f"wandb is told later, by: wandb sync {folder / 'wandb'}/offline-run-*")
        elif run.url:
            log.info(f"wandb: {run.url}")
        return WandbLogger(run)

    try:
        return begin()
    except Exception as error:
        if isinstance(error, ValueError) or _is_refusal(error):
            raise ValueError(
                f"wandb cannot follow the run ({_first_line(error)}); correct its settings, "
                "set WANDB_MODE=offline, or set use_wandb=false."
            ) from error
        log.warning(f"wandb cannot be reached ({_first_line(error)}).")
    try:
        wandb.teardown()  # Its service may still be at work on the run, whose id is taken then.
        return begin(mode="offline", init_timeout=_WAITS_SEC["init_timeout"])
    except Exception as error:
        log.warning(f"The run goes on without wandb ({_first_line(error)}).")
        return None


def _is_refusal(error: Exception) -> bool:
    """Whether it is an answer: wandb has one class of errors for some of them and for no answer."""
    from wandb.errors import AuthenticationError, UsageError

    if isinstance(error, AuthenticationError | UsageError):
        return True
    return _REFUSAL.search(str(error)) is not None


def _first_line(error: Exception) -> str:
    from pydantic import ValidationError

    if isinstance(error, ValidationError):  # Of a setting in the environment.
        return "; ".join(f"{each['loc'][0]}: {each['msg']}" for each in error.errors())
    return str(error).partition("\n")[0].rstrip(".")


def _run_id(folder: Path) -> str:
    """Kept with the run, so that a run that goes on does so on wandb, too."""
    path = folder / ID_FILE
    if not path.exists():
        path.write_text(secrets.token_hex(8))
    return path.read_text().strip()


def listed_tags(tags: str | Sequence[str] | None) -> list[str]:
    if tags is None:
        return []
    return [tags] if isinstance(tags, str) else [str(tag) for tag in tags]
