"""The launcher of sweeps, for SLURM and for this machine.

It stands in this package because Hydra finds launchers nowhere else. It adds to
hydra-submitit-launcher what a sweep of days needs: finished jobs are not submitted again, a job
that breaks does not end the wait for the others, and errors are gathered in one file.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher

from w2v2_mt.app.process_group import Processes
from w2v2_mt.app.sweep_end import forget_sweep
from w2v2_mt.core.exit_codes import INTERRUPTED

if TYPE_CHECKING:
    from w2v2_mt.app.sweep_plan import PlannedJob


class SweepLauncher(BaseSubmititLauncher):
    """Starts the jobs of a sweep that have no result yet, waits for all, and says which failed.

    Null, or an empty text, leaves a setting to the cluster. The names are those of sbatch, or of
    submitit where it has another.

    Args:
        cluster: slurm, or local: the same on this machine, without SLURM.
        submitit_folder: logs and pickled jobs; `%j` stands for the number that SLURM gives a job.
        name: of the jobs, in squeue.
        timeout_min: a job that takes longer is saved, queued again and goes on.
        num_gpus: on each node of a job; 0 asks for none.
        devices: processes on each node where there are no GPUs; null: one.
        num_nodes: of each job.
        array_parallelism: how many jobs of the sweep run at a time.
        signal_delay_s: how long before its time is over a job is told to save.
        max_num_timeout: how often a job is queued again because its time was over.
        setup: lines of shell in front of each job.
        additional_parameters: anything else for sbatch, by its long name.
    """

    def __init__(
        self,
        *,
        cluster: Literal["slurm", "local"],
        submitit_folder: str,
        name: str,
        partition: str | None,
        account: str | None,
        qos: str | None,
        constraint: str | None,
        exclude: str | None,
        num_gpus: int,
        devices: int | None,
        num_nodes: int,
        cpus_per_task: int | None,
        mem_gb: float | None,
        timeout_min: int,
        array_parallelism: int,
        signal_delay_s: int,
        max_num_timeout: int,
        setup: Sequence[str] | None,
        additional_parameters: dict[str, Any] | None,
    ):
        super().__init__()
        self.cluster = cluster
        self.processes = Processes.of_settings(gpus=num_gpus, devices=devices, num_nodes=num_nodes)
        self.submitit_folder = submitit_folder
        self.array_parallelism = array_parallelism
        self.max_num_timeout = max_num_timeout
        of_any_cluster: dict[str, Any] = {
            "name": name,
            "timeout_min": timeout_min,
            "cpus_per_task": cpus_per_task,
            "mem_gb": mem_gb,
            "gpus_per_node": num_gpus or None,
        }
        of_slurm: dict[str, Any] = {
            # A task for each process; on this machine a job starts its processes itself.
            "ntasks_per_node": self.processes.num_of_node,
            "nodes": num_nodes,
            "partition": partition,
            "account": account,
            "qos": qos,
            "constraint": constraint,
            "exclude": exclude,
            "signal_delay_s": signal_delay_s,
            "array_parallelism": array_parallelism,
            "setup": list(setup) if setup else None,
            # A task that dies would leave the others waiting for it.
            "srun_args": ["--kill-on-bad-exit=1"],
            # The job is queued again by its own wish, which not every cluster allows by default.
            "additional_parameters": {"requeue": True, **(additional_parameters or {})},
        }
        self.parameters = {
            name: value
            for name, value in {
                **of_any_cluster,
                **{f"slurm_{name}": value for name, value in of_slurm.items()},
            }.items()
            if value not in (None, "")
        }

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from w2v2_mt.app.sweep import Sweep
        from w2v2_mt.app.sweep_plan import planned_jobs

        assert self.config is not None
        assert self.hydra_context is not None
        folder = Path(str(self.config.hydra.sweep.dir)).absolute()
        try:
            jobs = planned_jobs(
                self.config,
                self.hydra_context.config_loader,
                job_overrides,
                first_number=initial_job_idx,
                sweep_folder=folder,
            )
            self._check_processes([job.processes for job in jobs])
            sweep = Sweep(
                folder,
                jobs,
                submitit_folder=Path(self.submitit_folder).absolute(),
                in_slurm=self.cluster == "slurm",
            )
            sweep.refuse_to_run_twice()
        except ValueError as error:
            forget_sweep()
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            sys.exit(1)
        sweep.announce()
        try:
            sweep.wait(self._submit, num_at_a_time=self.array_parallelism)
        except ValueError as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            print(sweep.how_to_go_on(), file=sys.stderr)
            sys.exit(INTERRUPTED)
        if sweep.report():
            sys.exit(1)
        return [sweep.results.get(job.number) or _finished_before(job) for job in jobs]

    def _check_processes(self, processes_of_jobs: "Sequence[Processes]") -> None:
        wrong = [processes for processes in processes_of_jobs if processes != self.processes]
        if wrong:
            raise ValueError(
                f"a job of this sweep runs on {wrong[0]}, but the sweep asks for "
                f"{self.processes} for each job; give jobs with other devices a command of "
                "their own."
            )

    def _submit(self, jobs: "Sequence[PlannedJob]") -> Sequence[Any]:
        import submitit

        try:
            executor = submitit.AutoExecutor(
                folder=self.submitit_folder,
                cluster=self.cluster,
                **{f"{self.cluster}_max_num_timeout": self.max_num_timeout},
            )
        except RuntimeError as error:
            raise ValueError(f"{error}; see hydra/launcher=submitit_local.") from error
        executor.update_parameters(**self.parameters)
        state = Singleton.get_state()
        arguments = [
            (job.overrides, "hydra.sweep.dir", job.number, f"job_id_for_{job.number}", state)
            for job in jobs
        ]
        try:
            return executor.map_array(self, *zip(*arguments, strict=True))
        except RuntimeError as error:  # That of submitit, where sbatch refuses the jobs.
            raise ValueError(
                f"the jobs cannot be submitted ({str(error).strip().splitlines()[-1]}); compare "
                "CLUSTER_... in .env with what sinfo shows."
            ) from error


def _finished_before(job: "PlannedJob") -> JobReturn:
    return JobReturn(
        overrides=job.overrides, _return_value=job.objective, status=JobStatus.COMPLETED
    )
