"""The entry point of a run: compose and check its settings with Hydra, then start it.

Torch is not imported before the keys of the settings have been checked, so a typo is answered at
once.
"""

import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from w2v2_mt.app.sweep_callback import LOCKS, has_failed_job, note_failed_job, report_sweep
from w2v2_mt.core.arguments import ConfigError
from w2v2_mt.core.atomic_output import replace_text
from w2v2_mt.core.errors import INTERRUPTED, OutputExistsError, describe
from w2v2_mt.core.lasting_output import outlive_output
from w2v2_mt.core.registry import trusting
from w2v2_mt.core.terminal import print_visible, visible, visible_tracebacks
from w2v2_mt.core.text_files import read_text
from w2v2_mt.core.user_and_home import ensure_user_and_home
from w2v2_mt.runs.folder_lock import locked
from w2v2_mt.settings.command_line import CONFIG_FOLDER, CommandLine, check_command
from w2v2_mt.settings.instantiation import Config
from w2v2_mt.settings.overrides import free_set_names
from w2v2_mt.settings.validation import check_settings, find_trusted
from w2v2_mt.training.launcher import Launcher, count_processes, find_launcher, settle_rank
from w2v2_mt.training.process_launch import run_in_processes

_WORKER_ERROR = re.compile(r"Caught \w+ in DataLoader worker.*\n[\w.]+: (.*\S)", flags=re.DOTALL)
_ALIASES = {"hydra/launcher=submitit_local": "hydra/launcher=local"}
"""Earlier spellings; hydra-submitit-launcher has a launcher of its own with this name."""

_RERUN = "--experimental-rerun"

_Checked = tuple[Config, Launcher]
"""Settings that have been checked, and the launcher of their processes."""


def run_trusting(**arguments: Any) -> float | None:
    """Import and start the run in the process that it belongs to."""
    from w2v2_mt.app.run import run

    # A checkpoint may name these classes, but no others outside of this program.
    with trusting(*find_trusted(arguments["config"])):
        return run(**arguments)


@visible_tracebacks()
def launch(config_name: str, run: Callable[..., float | None] = run_trusting) -> None:
    """Run the command line of one entry point, `config/<config_name>.yaml`.

    Each process of a run calls `run`, which trains and tests.
    """
    outlive_output()
    ensure_user_and_home()
    arguments = [_ALIASES.get(argument, argument) for argument in sys.argv[1:]]
    for argument in arguments:
        name = argument.partition("=")[0]
        if len(name) > len("--") and _RERUN.startswith(name):  # Hydra takes its beginning too.
            sys.exit(
                f"{name} must not be used, because it reads a pickle, which can run any code. "
                "Repeat a run with the lines of the file overrides in its folder."
            )
    sys.argv[1:] = free_set_names(arguments, CommandLine.parse(arguments).config_folders)
    try:
        with LOCKS:
            _launch(config_name, run)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _launch(config_name: str, run: Callable[..., float | None]) -> None:
    command = CommandLine.parse(sys.argv[1:])
    if not command.asks_for_information:
        try:
            check_command(config_name, command)
        except ConfigError as error:
            sys.exit(visible(f"{type(error).__name__}: {error}"))

    @hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name=config_name)
    def run_command(config: DictConfig) -> float | None:
        return run_job(config, run)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then leaves errors to `visible_tracebacks`.
    try:
        with visible_tracebacks():
            try:
                run_command()
            except HydraException as error:  # Its words are for the user.
                sys.exit(visible(f"{error}\n{error.__cause__ or ''}".rstrip()))
            except ValueError as error:
                # That of a job is printed already; Hydra raises others for flags.
                sys.exit(1 if has_failed_job() else visible(f"{type(error).__name__}: {error}"))
            except OSError as error:
                # A job has written its traceback; Hydra raises others for the folder of the run.
                sys.exit(visible(f"{type(error).__name__}: {describe(error)}"))
    except SystemExit as end:
        # A command that was stopped by a signal must end soon.
        if not isinstance(end.code, int) or end.code < INTERRUPTED:
            report_sweep()
        raise
    report_sweep()
    if has_failed_job():
        sys.exit(1)


def run_job(config: DictConfig, run: Callable[..., float | None]) -> float | None:
    """Check one set of values and run it, unless it is a job of a sweep that is finished.

    Returns:
        The dev score of the best checkpoint, for a sweep to compare; None without training.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    checked: _Checked | ValueError
    try:
        settings = check_settings(config)
        launcher = find_launcher(count_processes(settings), os.environ)
        checked = settings, launcher
        rank = settle_rank(launcher, os.environ)
    except ValueError as error:
        checked, rank = error, 0
    with ExitStack() as at_end:
        try:
            if rank == 0:
                at_end.enter_context(locked(folder))
            else:
                at_end.callback(_remove_unused, folder, str(HydraConfig.get().output_subdir))
        except (OutputExistsError, OSError) as error:
            return _end(error)
        return _run_job(checked, run, folder)


def _remove_unused(folder: Path, hydra_folder: str) -> None:
    """Remove the folder of a process that is not the first one, if only Hydra has written to it.

    Its name has the time of its own start, unless the command sets hydra.run.dir.
    """
    with suppress(OSError):
        if {path.name for path in folder.iterdir()} <= {hydra_folder}:
            shutil.rmtree(folder / hydra_folder, ignore_errors=True)
            os.removedirs(folder)


def _run_job(
    checked: _Checked | ValueError, run: Callable[..., float | None], folder: Path
) -> float | None:
    """Run settings in a folder that no other process uses, or report what is wrong with them."""
    from w2v2_mt.runs.folder_decision import Action, Command, decide, read_contents
    from w2v2_mt.runs.run_folder import ERROR_FILE

    settings = HydraConfig.get()
    is_sweep_job = settings.mode == RunMode.MULTIRUN
    trace = folder / ERROR_FILE
    earlier_trace = read_text(trace, errors="replace") if trace.is_file() else None
    trace.unlink(missing_ok=True)
    try:
        if isinstance(checked, ValueError):
            raise checked
        resolved, launcher = checked
        config_name = str(settings.job.config_name)
        if is_sweep_job:
            command = Command(config_name=config_name, config=resolved, is_sweep_job=True)
            decision = decide(command, read_contents(folder))
            if decision.action is Action.SKIP:
                print_visible(decision.reason)
                return decision.score
        arguments: dict[str, Any] = {
            "config": resolved,
            "config_name": config_name,
            "folder": folder,
            "overrides": list(settings.overrides.task),
            "sweep": Path(settings.sweep.dir).name if is_sweep_job else None,
        }
        num_processes = count_processes(resolved).num_of_node
        if num_processes > 1 and launcher is Launcher.RUN:
            return run_in_processes(run, num_processes, **arguments)
        return run(**arguments)
    except ValueError as error:
        # Convention: a ValueError is addressed to the user, and its traceback goes into a file.
        if not isinstance(error, OutputExistsError):
            _write_trace(trace)
        elif earlier_trace is not None:
            replace_text(trace, earlier_trace)
        return _end(error)
    except Exception as error:
        if not trace.exists():  # Written by another process, which may have caused this failure.
            _write_trace(trace)
        if isinstance(error, OSError):
            return _end(error)
        raise


def _end(error: ValueError | OSError) -> NoReturn:
    """Print the sentence of an error, and end this process or this job of a sweep."""
    # That of a DataLoader worker reaches PyTorch as a traceback in words.
    from_worker = _WORKER_ERROR.match(str(error))
    sentence = from_worker[1] if from_worker else describe(error)
    print_visible(f"{type(error).__name__}: {sentence}", to_stderr=True)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        note_failed_job()
        # The launcher records that this job failed, and may start the next one.
        raise error if isinstance(error, ValueError) else ValueError(sentence) from error
    sys.exit(1)


def _write_trace(path: Path) -> None:
    """Write the current traceback, unless the disk is full."""
    with suppress(OSError):
        replace_text(path, traceback.format_exc())
