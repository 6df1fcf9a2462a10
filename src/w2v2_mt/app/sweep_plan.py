"""The jobs of a sweep: where each does its work, and whether it has done it before."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import filter_overrides
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from w2v2_mt.app.process_group import Processes


@dataclass(frozen=True, kw_only=True)
class PlannedJob:
    """One job. Its objective, what it returns to the sweep, is known only once it is finished."""

    number: int
    overrides: list[str]
    folder: Path
    processes: Processes
    is_finished: bool
    objective: float | None

    @property
    def settings(self) -> str:
        """What was typed for it, without what is Hydra's."""
        return " ".join(filter_overrides(self.overrides))


def planned_jobs(
    config: DictConfig,
    loader: ConfigLoader,
    job_overrides: Sequence[Sequence[str]],
    *,
    first_number: int,
    sweep_folder: Path,
) -> list[PlannedJob]:
    """Compose each job as it will compose itself, to know its folder and its settings."""
    before = HydraConfig.instance().cfg
    try:
        return [
            _planned_job(config, loader, list(overrides), first_number + index, sweep_folder)
            for index, overrides in enumerate(job_overrides)
        ]
    finally:
        HydraConfig.instance().cfg = before


def _planned_job(
    config: DictConfig, loader: ConfigLoader, overrides: list[str], number: int, sweep_folder: Path
) -> PlannedJob:
    from w2v2_mt.app.finished import finished_objective
    from w2v2_mt.app.main import checked, processes_of

    composed = loader.load_sweep_config(config, overrides)
    with open_dict(composed.hydra.job):
        composed.hydra.job.id = f"job_id_for_{number}"
        composed.hydra.job.num = number
    # Resolvers such as that of the folder's name read the settings of Hydra from here.
    HydraConfig.instance().set_config(composed)
    folder = sweep_folder / str(OmegaConf.select(composed, "hydra.sweep.subdir"))
    config_name = str(composed.hydra.job.config_name)
    settings = copy.deepcopy(composed)
    with read_write(settings), open_dict(settings):
        del settings["hydra"]
    resolved = checked(settings, config_name)
    is_finished, objective = finished_objective(folder, resolved, config_name)
    return PlannedJob(
        number=number,
        overrides=overrides,
        folder=folder,
        processes=processes_of(resolved),
        is_finished=is_finished,
        objective=objective,
    )
