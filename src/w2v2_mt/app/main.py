"""The way of a command: Hydra composes its settings, a check reads them, then the run begins.

Nothing heavy is imported before the settings have passed, so a typo is answered at once.
"""

import os
import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from w2v2_mt.app.consistency import check_consistency
from w2v2_mt.app.environment import PROJECT_FOLDER, experiment_name, load_environment
from w2v2_mt.app.overrides import expanded_jobs, what_is_wrong, wrong_option
from w2v2_mt.app.process_group import Processes, is_started_outside, run_in_processes
from w2v2_mt.app.schema import ROOTS, ConfigError, check_config
from w2v2_mt.app.sweep_end import report_sweep
from w2v2_mt.core.exit_codes import INTERRUPTED

_CONFIG_FOLDER = PROJECT_FOLDER / "config"
_FROM_A_READER = re.compile(r"Caught \w+ in DataLoader worker.*\n[\w.]+: (.*\S)", flags=re.DOTALL)

# Also where a worker of a launcher imports this module to find `job`.
load_environment()


def _job_number() -> int | None:
    if not HydraConfig.initialized():
        return None
    settings = HydraConfig.get()
    if settings.mode != RunMode.MULTIRUN or OmegaConf.is_missing(settings.job, "num"):
        return None
    return int(settings.job.num)


OmegaConf.register_new_resolver(
    "experiment_name", lambda: experiment_name(_job_number()), replace=True
)


def launch(config_name: str) -> None:
    """Run the command line of one entry point, `config/<config_name>.yaml`."""
    name_launchers()
    arguments, flags = get_args_parser().parse_known_args()
    asks_for_information = arguments.help or arguments.hydra_help or arguments.cfg or arguments.info
    if not (flags or asks_for_information or arguments.shell_completion):
        try:
            is_sweep = arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides
            check_jobs(config_name, arguments.overrides, is_sweep=is_sweep)
        except ConfigError as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            sys.exit(1)
    command = hydra.main(
        version_base="1.3", config_path=str(_CONFIG_FOLDER), config_name=config_name
    )(job)
    try:
        command()
    except SystemExit as end:
        # Who sends a signal does not want to wait.
        if not isinstance(end.code, int) or end.code < INTERRUPTED:
            report_sweep()
        raise
    report_sweep()


def name_launchers() -> None:
    """Let `hydra/launcher=submitit_local` be ours.

    Hydra would take what hydra-submitit-launcher stores under this name as the schema of ours.
    """
    Plugins.instance()  # Reads the plugins, which store their settings.
    ConfigStore.instance().repo["hydra"]["launcher"].pop("submitit_local.yaml", None)


def check_jobs(config_name: str, overrides: Sequence[str], *, is_sweep: bool) -> None:
    """Compose and check every job of a command before the first of them starts or is submitted.

    Raises:
        ConfigError: a group, a key or a value is not allowed.
    """
    with hydra.initialize_config_dir(str(_CONFIG_FOLDER), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        try:
            problem = wrong_option(overrides, is_sweep=is_sweep, loader=loader)
            if problem is not None:
                raise ConfigError(problem)
            for job_overrides in expanded_jobs(overrides, loader):
                checked(_composed(config_name, job_overrides, loader), config_name)
        except HydraException as error:
            raise ConfigError(_first_sentence(error)) from error


def _composed(config_name: str, overrides: list[str], loader: ConfigLoader) -> DictConfig:
    try:
        return hydra.compose(config_name, overrides)
    except HydraException as error:
        problem = what_is_wrong(overrides, config_name=config_name, loader=loader)
        if problem is None:
            raise
        raise ConfigError(problem) from error


def _first_sentence(error: Exception) -> str:
    """What Hydra says first, with where to look; the rest speaks of its inner workings."""
    cause = f" ({str(error.__cause__).splitlines()[0]})" if error.__cause__ else ""
    first_line = str(error).splitlines()[0].rstrip(".")
    return f"{first_line}{cause}; --cfg job shows every setting and --help every group."


def job(config: DictConfig) -> float | None:
    """One run: what Hydra calls for each set of values.

    Returns:
        The dev score of the best checkpoint, for a sweep to compare; None without training.
    """
    from w2v2_mt.app.folder_taken import FolderTakenError
    from w2v2_mt.app.run_folder import ERROR_FILE

    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    config_name = settings.job.config_name
    assert config_name is not None
    trace = folder / ERROR_FILE
    earlier_trace = trace.read_bytes() if trace.exists() else None
    trace.unlink(missing_ok=True)
    try:
        resolved = checked(config, config_name)
        if settings.mode == RunMode.MULTIRUN:
            from w2v2_mt.app.finished import finished_objective

            is_finished, objective = finished_objective(folder, resolved, config_name)
            if is_finished:
                print(f"finished before: {folder}")
                return objective
        arguments = {
            "config": resolved,
            "config_name": config_name,
            "folder": folder,
            "overrides": list(settings.overrides.task),
            "sweep": (Path(settings.sweep.dir).name if settings.mode == RunMode.MULTIRUN else None),
        }
        processes = processes_of(resolved)
        processes.check_started(os.environ)
        if processes.num_of_node > 1 and not is_started_outside(os.environ):
            return run_in_processes(_run, processes.num_of_node, **arguments)
        return _run(**arguments)
    except ValueError as error:
        # Convention: a ValueError is addressed to the user; what led to it is kept on the side.
        if not isinstance(error, FolderTakenError):
            _keep_trace(trace)
        elif earlier_trace is not None:
            trace.write_bytes(earlier_trace)
        print(f"{type(error).__name__}: {_sentence(error)}", file=sys.stderr)
        if settings.mode == RunMode.MULTIRUN:
            raise  # A launcher must learn that this job failed, and may go on with the next.
        sys.exit(1)
    except Exception:
        if not trace.exists():  # Of another process, whose end was perhaps the cause of this one.
            _keep_trace(trace)
        raise


def _keep_trace(path: Path) -> None:
    """Write what led to the error at hand, unless that is a disk without room for this, too."""
    with suppress(OSError):
        path.write_text(traceback.format_exc())


def processes_of(config: dict[str, Any]) -> Processes:
    """What the settings ask for."""
    trainer = config["trainer"]
    return Processes.of_settings(
        gpus=trainer["gpus"], devices=trainer["devices"], num_nodes=trainer["num_nodes"]
    )


def _run(**arguments: Any) -> float | None:
    """Nothing that it needs may be imported before processes part."""
    from w2v2_mt.app.run import run

    return run(**arguments)


def _sentence(error: ValueError) -> str:
    """What an error says; PyTorch hands on that of a reading process as a traceback in words."""
    from_a_reader = _FROM_A_READER.match(str(error))
    return from_a_reader[1] if from_a_reader else str(error)


def checked(config: DictConfig, config_name: str) -> dict[str, Any]:
    """The settings as plain values.

    Raises:
        ConfigError: a key or a value is not allowed, or two do not go together.
    """
    try:
        resolved: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        first_line = str(error).splitlines()[0]
        raise ConfigError(f"the settings cannot be put together: {first_line}.") from error
    check_config(resolved, ROOTS[config_name])
    check_consistency(resolved)
    return resolved
