"""The end of a sweep: its report is written, shown on the console, and told to wandb."""

import os
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

_begun: list[tuple[Path, DictConfig]] = []
"""The sweep of this process, once Hydra has begun it."""


class NoteSweep(Callback):
    """Keeps the folder and the settings of a sweep, which Hydra tells at its start only."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        _begun.append((Path(str(config.hydra.sweep.dir)).absolute(), config))


def forget_sweep() -> None:
    """To be called where a sweep is refused, which may be going on elsewhere."""
    _begun.clear()


def report_sweep() -> None:
    """Report the sweep that this process began, if it did; some of its jobs may have failed.

    A sweep whose jobs are not in folders with their numbers has no report.
    """
    if not _begun:
        return
    folder, config = _begun.pop()
    if int(os.environ.get("RANK", 0)) > 0:  # Of the processes that torchrun started, one reports.
        return
    if not any(path.name.isdecimal() for path in folder.glob("*")):
        return

    from w2v2_mt.app.report.sweep_report import print_sweep_report, write_sweep_report
    from w2v2_mt.app.wandb_tracking import connect

    try:
        report = write_sweep_report(folder)
        print_sweep_report(report)
        if not config.use_wandb:
            return
        logger = connect(
            folder,
            project=config.project_name,
            name=folder.name,
            tags=config.tag,
            group=folder.name,
            job_type="sweep",
            config={},
        )
        if logger is not None:
            logger.log_report(report)
            logger.finish(0)
    except (ValueError, OSError) as error:
        print(f"The report of the sweep is not complete: {error}", file=sys.stderr)
