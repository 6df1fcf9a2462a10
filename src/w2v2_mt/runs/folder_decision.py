"""Decide what a command does in a run folder: start, resume, skip finished work, or refuse."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from w2v2_mt.runs.run_folder import CHECKPOINT_FOLDER, CONFIG_FILE, METRICS_FILE, RunFolder
from w2v2_mt.runs.settings_comparison import has_same_settings, training_changes
from w2v2_mt.settings.dev_metric import dev_metric
from w2v2_mt.settings.instantiation import Config
from w2v2_mt.settings.renamed_targets import with_current_targets

_MAX_NUM_NAMED = 5

Action = Enum("Action", ["START", "RESUME", "SKIP", "REFUSE"])
"""The four things that a command can do in a folder."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """The request of a command; a job of a sweep is not repeated once finished."""

    config_name: str
    config: Config
    is_sweep_job: bool = False


@dataclass(frozen=True, kw_only=True)
class SavedState:
    """The checkpoint from which a run would resume, and the command that wrote it.

    Args:
        has_position: True if it has the position in the data, and not only the number of batches.
        precision: The precision in which it computed; None if it was written before version 0.2.0.
    """

    path: Path
    global_step: int
    config_name: str
    config: Config
    has_position: bool
    precision: str | None = None


@dataclass(frozen=True, kw_only=True)
class FolderContents:
    """The facts about a folder on which the decision depends.

    Settings and metrics are None if they do not exist or cannot be read; `unreadable` has a
    sentence about each file that cannot be read, by its name.
    """

    folder: Path
    config: Config | None = None
    metrics: Mapping[str, Any] | None = None
    has_metrics_file: bool = False
    has_checkpoints: bool = False
    unreadable: Mapping[str, str] = field(default_factory=dict)
    saved: SavedState | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """An action and its reason.

    Args:
        reason: Sentence for the user; given for SKIP and REFUSE.
        score: Dev score of the earlier run, for SKIP; None if it trained nothing.
        removes_old_test: True if outputs of an earlier test do not belong to these settings.
    """

    action: Action
    reason: str = ""
    score: float | None = None
    removes_old_test: bool = False


def read_contents(folder: Path, *, saved: SavedState | None = None) -> FolderContents:
    """Collect the facts about a folder."""
    content: dict[str, Any] = {}
    unreadable: dict[str, str] = {}
    if (folder / CONFIG_FILE).exists():
        for name, attribute in ((CONFIG_FILE, "config"), (METRICS_FILE, "metrics")):
            try:
                content[name] = getattr(RunFolder(folder), attribute)
            except ValueError as error:
                unreadable[name] = str(error)
    return FolderContents(
        folder=folder,
        config=with_current_targets(content.get(CONFIG_FILE)),
        metrics=content.get(METRICS_FILE) or None,
        has_metrics_file=(folder / METRICS_FILE).exists(),
        has_checkpoints=(folder / CHECKPOINT_FOLDER).exists(),
        unreadable=unreadable,
        saved=saved,
    )


def decide(command: Command, contents: FolderContents) -> Decision:
    """Decide what a command does in a folder, from its settings and the folder's contents."""
    fits = command.config["fit_model"]
    is_same = contents.config is not None and has_same_settings(command.config, contents.config)
    if command.is_sweep_job and is_same and contents.metrics is not None:
        names = [name for name in contents.metrics if name.startswith("val_")]
        score = contents.metrics[dev_metric(names)] if fits and names else None
        reason = f"finished before: {contents.folder}"
        return Decision(action=Action.SKIP, reason=reason, score=score)
    if fits and contents.saved is not None:
        action, refusal = Action.RESUME, _refuse_to_resume(command, contents, contents.saved)
    else:
        action, refusal = Action.START, _refuse_to_start(command.config, contents)
    if refusal is not None:
        return Decision(action=Action.REFUSE, reason=refusal)
    was_used = contents.config is not None or CONFIG_FILE in contents.unreadable
    return Decision(action=action, removes_old_test=not fits or (was_used and not is_same))


def _refuse_to_resume(command: Command, contents: FolderContents, saved: SavedState) -> str | None:
    changes = training_changes(
        {"command": command.config_name, **command.config},
        {"command": saved.config_name, **saved.config},
        has_position=saved.has_position,
    )
    if changes:
        named = changes[:_MAX_NUM_NAMED]
        if len(changes) > _MAX_NUM_NAMED:
            named.append(f"{len(changes) - _MAX_NUM_NAMED} more")
        return (
            f"the run in {contents.folder} was started with {', '.join(named)}. Resume it with its "
            "own settings (config.yaml), or start another run in another folder, from these "
            f"weights with load_network_from_checkpoint={saved.path}."
        )
    if command.config["eval_model"]:
        return None
    if METRICS_FILE in contents.unreadable:
        return contents.unreadable[METRICS_FILE]
    if (contents.metrics or {}).get("tested_step") is None:
        return None
    return (
        f"{contents.folder} holds the result of a test, which eval_model=false would remove. Leave "
        "this setting out to test again, or choose another folder (hydra.run.dir)."
    )


def _refuse_to_start(config: Config, contents: FolderContents) -> str | None:
    folder, has_result = contents.folder, contents.has_metrics_file
    if config["fit_model"]:
        if not has_result:
            return None
        return (
            f"{folder} holds the result of a run that kept no last.ckpt to resume from. Choose "
            "another folder (hydra.run.dir), or move this one away."
        )
    if contents.config is None:
        return contents.unreadable.get(CONFIG_FILE)
    was_trained = contents.config.get("fit_model") is True
    if was_trained and (has_result or contents.has_checkpoints):
        return (
            f"{folder} holds a run that was trained, and fit_model=false would replace its result. "
            "Choose another folder (hydra.run.dir), and to test this run set "
            f"load_network_from_checkpoint={folder / CHECKPOINT_FOLDER / 'best.ckpt'}."
        )
    if has_result and not config["eval_model"]:
        return (
            f"{folder} holds the result of a test. Choose another folder (hydra.run.dir), or move "
            "this one away."
        )
    return None
