"""The folder, the locks and the failed jobs of the run or sweep that Hydra starts here."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import env_override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from w2v2_mt.core.atomic_output import check_no_link
from w2v2_mt.core.errors import describe
from w2v2_mt.core.terminal import print_visible, visible
from w2v2_mt.runs.folder_lock import locked

LOCKS = ExitStack()
"""The locks of this process on folders that Hydra writes to before it starts a run."""

_started: list[tuple[Path, DictConfig]] = []
"""Folder and settings of the sweep of this process, after Hydra has started it."""


_failed: list[bool] = []
"""Not empty if a job of the sweep of this process has failed."""


@contextmanager
def _exit_with_error() -> Iterator[None]:
    """Exit with the sentence of an error; Hydra would only warn of it."""
    try:
        yield
    except (ValueError, OSError) as error:
        sys.exit(visible(f"{type(error).__name__}: {describe(error)}"))


class NoteSweep(Callback):
    """A Hydra callback that stores the folder and the settings of a sweep when it starts."""

    @_exit_with_error()
    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        HydraConfig.instance().set_config(config)  # The name of the folder may depend on it.
        folder = Path(str(config.hydra.run.dir))
        _hold(folder)
        _check_hydra_files(folder, config)

    @_exit_with_error()
    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        folder = Path(str(config.hydra.sweep.dir)).absolute()
        # Hydra would make it with the umask, often writable by a group, which a launch refuses.
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        _hold(folder)
        _check_hydra_files(folder, config)
        sweep: Any = OmegaConf.to_container(config.hydra.sweep)
        for depth in range(1, len(Path(sweep["subdir"]).parts) + 1):
            for path in filter(Path.is_dir, folder.glob("/".join("*" * depth))):
                _check_hydra_files(path, config, is_in_sweep=True)
        _started.append((folder, config))


def _hold(folder: Path) -> None:
    """Lock a folder until this command ends; an OutputExistsError names who uses it."""
    if any(os.environ.get(name, "0") != "0" for name in ("RANK", "SLURM_PROCID")):
        return  # Perhaps not the first process of the run; `run_job` knows.
    LOCKS.enter_context(locked(folder))


def _check_hydra_files(folder: Path, config: DictConfig, *, is_in_sweep: bool = False) -> None:
    """Raise a ValueError if the folder of Hydra's files is a link; remove links at their names.

    In the folder of a sweep, that of a job must not be a link either.

    Hydra opens its files before the run starts, and follows links.
    """
    own = folder / str(config.hydra.output_subdir)
    for path in [folder, own] if is_in_sweep else [own]:
        check_no_link(path)
    names = ("config.yaml", "hydra.yaml", "overrides.yaml")
    for path in (folder / "multirun.yaml", *(own / name for name in names)):
        if path.is_symlink():
            path.unlink()


def job_variables(config: DictConfig) -> dict[str, str]:
    """Return the environment variables that the settings of Hydra give to a job."""
    return {str(name): str(value) for name, value in config.hydra.job.env_set.items()}


def forget_sweep() -> None:
    """Forget a sweep that is refused, because it may be running elsewhere."""
    _started.clear()


def note_failed_job() -> None:
    """Let this command exit with 1 at its end, although its other jobs go well."""
    _failed.append(True)


def has_failed_job() -> bool:
    """Return True if a job of the sweep of this process has failed."""
    return bool(_failed)


def report_sweep() -> None:
    """Report the sweep that this process started, if any; some of its jobs may have failed.

    A sweep whose jobs are neither in numbered folders nor in the table of a launcher has no report.
    Of several processes that torchrun launched, the first one writes it.
    """
    if not _started:
        return
    from w2v2_mt.runs.sweep_folder import TABLE_FILE

    folder, config = _started.pop()
    has_jobs = any(path.name.isdecimal() or path.name == TABLE_FILE for path in folder.glob("*"))
    if not has_jobs or os.environ.get("RANK", "0") != "0":
        return

    from w2v2_mt.app.loggers import WandbLogger, start_wandb
    from w2v2_mt.report.sweep_report import print_sweep_report, write_sweep_report

    try:
        report = write_sweep_report(folder)
        print_sweep_report(report)
        if not config.use_wandb:
            return
        with env_override(job_variables(config)):
            run = start_wandb(
                folder,
                project=config.project_name,
                name=folder.name,
                tags=config.tag,
                group=folder.name,
                job_type="sweep",
                config={},
            )
            logger = WandbLogger(run)
            logger.log_report(report)
            logger.finish(0)
    except (ValueError, OSError) as error:
        print_visible(f"The report of the sweep is not complete: {error}", to_stderr=True)
