"""A folder with a result that a command would replace: it stays as it is."""

from pathlib import Path


class FolderTakenError(ValueError):
    """A refusal that leaves no trace in the folder, whose run did not fail."""


def check_not_taken(folder: Path, *, trains: bool, tests: bool) -> None:
    """Raises FolderTakenError where a run in this folder would replace a result.

    To be asked for runs that do not go on from a `last.ckpt` in it. What may be replaced is a test
    by a test.
    """
    from w2v2_mt.app.run_folder import CHECKPOINT_FOLDER, CONFIG_FILE, METRICS_FILE, RunFolder

    has_result = (folder / METRICS_FILE).exists()
    checkpoints = folder / CHECKPOINT_FOLDER
    if trains and has_result:
        raise FolderTakenError(
            f"{folder} holds the result of a run that kept no last.ckpt to go on from; choose "
            "another folder (hydra.run.dir), or move this one away."
        )
    if trains or not (folder / CONFIG_FILE).exists():
        return
    was_trained = RunFolder(folder).config.get("fit_model") is True
    if was_trained and (has_result or checkpoints.exists()):
        raise FolderTakenError(
            f"{folder} holds a run that was trained, and fit_model=false would replace its result; "
            "choose another folder (hydra.run.dir), and to test this run "
            f"load_network_from_checkpoint={checkpoints / 'best.ckpt'}."
        )
    if has_result and not tests:
        raise FolderTakenError(
            f"{folder} holds the result of a test; choose another folder (hydra.run.dir), or move "
            "this one away."
        )


def check_test_is_kept(folder: Path, *, tests: bool) -> None:
    """Raises FolderTakenError where a run that goes on here would leave no test in place of one."""
    from w2v2_mt.app.run_folder import CONFIG_FILE, RunFolder

    if tests or not (folder / CONFIG_FILE).exists():
        return
    if RunFolder(folder).metrics.get("tested_step") is not None:
        raise FolderTakenError(
            f"{folder} holds the result of a test, which eval_model=false would remove; leave that "
            "out, so that another test takes its place, or choose another folder (hydra.run.dir)."
        )
