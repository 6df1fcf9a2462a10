"""The launcher of sweeps, on SLURM or on this machine.

It is in this package because Hydra searches launchers only here. In addition to
hydra-submitit-launcher, it does not submit finished jobs again, waits for the other jobs when one
fails, and collects all errors in one file.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher
from omegaconf import OmegaConf

from w2v2_mt.core.arguments import check_arguments
from w2v2_mt.core.errors import INTERRUPTED
from w2v2_mt.core.terminal import print_visible
from w2v2_mt.training.launcher import Processes

if TYPE_CHECKING:
    from w2v2_mt.app.sweep_runner import PlannedJob
    from w2v2_mt.runs.folder_lock import Holder


class SweepLauncher(BaseSubmititLauncher):
    """A launcher that runs the unfinished jobs of a sweep, waits for all and reports failures.

    A setting that is null or empty is left to the cluster. The names are those of sbatch, or of
    submitit where it has another; config/hydra/launcher/slurm.yaml describes them.
    """

    def __init__(
        self,
        *,
        cluster: Literal["slurm", "local"],
        submitit_folder: str,
        name: str,
        num_gpus: int,
        devices: int | None,
        num_nodes: int,
        cpus_per_task: int | None,
        mem_gb: float | None,
        timeout_min: int,
        array_parallelism: int,
        max_num_timeout: int,
        setup: Sequence[str] | None,
        additional_parameters: dict[str, Any] | None,
        **slurm_options: str | int | None,
    ):
        super().__init__()
        self.cluster = cluster
        self.processes = Processes(gpus=num_gpus, devices=devices, num_nodes=num_nodes)
        self.submitit_folder = submitit_folder
        self._job_folder = submitit_folder
        self.array_parallelism = array_parallelism
        self.max_num_timeout = max_num_timeout
        self._earlier: list[PlannedJob] = []
        self._launcher: Holder | None = None
        parameters = {
            "name": name,
            "timeout_min": timeout_min,
            "cpus_per_task": cpus_per_task,
            "mem_gb": mem_gb,
            "gpus_per_node": num_gpus or None,
            # One task per process; on this machine a job launches its processes itself.
            "slurm_ntasks_per_node": self.processes.num_of_node,
            "slurm_nodes": num_nodes,
            "slurm_array_parallelism": array_parallelism,
            "slurm_setup": list(setup) if setup else None,
            # Without this option, the other tasks would wait for a task that died.
            "slurm_srun_args": ["--kill-on-bad-exit=1"],
            # A job requeues itself, which not every cluster allows by default.
            "slurm_additional_parameters": {"requeue": True, **(additional_parameters or {})},
            **{f"slurm_{option}": value for option, value in slurm_options.items()},
        }
        self.parameters = {
            parameter: value for parameter, value in parameters.items() if value not in (None, "")
        }

    def __call__(self, *arguments: Any) -> None:
        """Run a job in its own process and write its result as JSON, which runs no code."""
        import submitit

        from w2v2_mt.app.submit_folder import end_with, result_file, write_result
        from w2v2_mt.core.lasting_output import outlive_output

        outlive_output()
        if self._launcher is not None:
            end_with(self._launcher)
        returned = super().__call__(*arguments)
        write_result(result_file(submitit.JobEnvironment().paths), returned)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        # Here, because every command of Hydra in this environment, also of other programs, imports
        # this module, and these read `.env` and set variables.
        from w2v2_mt.app.submit_folder import new_submit_folder
        from w2v2_mt.app.sweep_callback import forget_sweep, note_failed_job
        from w2v2_mt.app.sweep_runner import SweepRunner, plan_jobs

        assert self.config is not None
        assert self.hydra_context is not None
        folder = Path(str(self.config.hydra.sweep.dir)).absolute()
        has_begun = False
        try:
            given: Any = OmegaConf.to_container(self.config.hydra.launcher, resolve=True)
            check_arguments(
                type(self),
                {name: value for name, value in given.items() if name != "_target_"},
                owner="hydra.launcher",
            )
            self._executor()
            jobs = plan_jobs(
                self.config,
                self.hydra_context.config_loader,
                job_overrides,
                first_number=initial_job_idx,
                sweep_folder=folder,
                processes=self.processes,
            )
            sweep = SweepRunner(
                folder=folder,
                jobs=jobs,
                earlier=self._earlier,
                submitit_folder=Path(self.submitit_folder).absolute(),
                in_slurm=self.cluster == "slurm",
            )
            if not self._earlier:
                sweep.check_not_queued()
            pattern = new_submit_folder(sweep.submitit_folder, sweep_folder=folder)
            self._job_folder = str(pattern)
            has_begun = True
            sweep.run(self._submit, num_at_a_time=self.array_parallelism)
        except ValueError as error:
            if not has_begun:  # Another command may run this sweep, and reports it.
                forget_sweep()
            print_visible(f"{type(error).__name__}: {error}", to_stderr=True)
            sys.exit(1)
        except KeyboardInterrupt:
            if not has_begun:
                raise
            print_visible(sweep.describe_interruption(), to_stderr=True)
            sys.exit(INTERRUPTED)
        self._earlier += jobs
        if any(job.error for job in jobs):
            note_failed_job()
        # A sweeper that gets its jobs in several parts starts the next one. One that searches takes
        # a job without a value for a failure.
        return [
            job.result
            or JobReturn(overrides=job.overrides, _return_value=None, status=JobStatus.COMPLETED)
            for job in jobs
        ]

    def _executor(self) -> Any:
        """Return what submits jobs with the settings of this launcher."""
        import submitit

        try:
            executor = submitit.AutoExecutor(
                folder=self._job_folder,
                cluster=self.cluster,
                **{f"{self.cluster}_max_num_timeout": self.max_num_timeout},
            )
        except RuntimeError as error:
            raise ValueError(f"{error}. See hydra/launcher=local.") from error
        try:
            executor.update_parameters(**self.parameters)
        except NameError as error:
            unknown = str(error).partition(" for ")[0].lower()
            raise ValueError(
                f"hydra.launcher must hold settings of the launcher only ({unknown}). Give other "
                "options of sbatch as hydra.launcher.additional_parameters."
            ) from error
        return executor

    def _submit(self, jobs: "Sequence[PlannedJob]") -> Sequence[Any]:
        from w2v2_mt.app.slurm_commands import without_allocation
        from w2v2_mt.runs.folder_lock import Holder

        if self.cluster == "local":  # SLURM looks after its jobs itself.
            self._launcher = Holder.of_this_process()
        state = Singleton.get_state()
        arguments = [
            (job.overrides, "hydra.sweep.dir", job.number, f"job_id_for_{job.number}", state)
            for job in jobs
        ]
        executor = self._executor()
        try:
            with without_allocation():
                return executor.map_array(self, *zip(*arguments, strict=True))
        except RuntimeError as error:  # submitit raises it if sbatch refuses the jobs.
            raise ValueError(
                f"the jobs cannot be submitted ({str(error).strip().splitlines()[-1]}). Compare "
                "CLUSTER_... in .env with the output of sinfo."
            ) from error
