"""Run one job after the other in this process: the fastest way for many small jobs."""

import contextlib
import gc
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, env_override
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write


class SerialLauncher(Launcher):
    """Write the output of each job into its ``run.log``; print a line while it runs and at its end.

    A job on several devices runs in its own processes, since Lightning starts the other ranks with
    the arguments of this process, and here these are the sweep's.
    """

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self._composed: DictConfig | None = None

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from ablab.ablation.launch.job_lines import JobLines
        from ablab.ablation.launch.live_table import LiveTable

        lines = JobLines(len(job_overrides))
        with LiveTable(lines, by_itself=True):
            return self.run_in_turn(job_overrides, initial_job_idx, lines)

    def run_in_turn(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int, lines: Any
    ) -> Sequence[JobReturn]:
        """Run jobs one after the other, and print into ``lines`` (JobLines) how they end."""
        from ablab.ablation.launch.launch import folder_of, needs_own_processes

        returns = []
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            folder = folder_of(overrides)
            if not (own_processes := needs_own_processes(folder)):
                _import_what_trains()  # before the job begins: it is not part of its time
            lines.begin(folder)
            ended = self._run(folder, list(overrides), number, own_processes=own_processes)
            failed = ended.status is JobStatus.FAILED
            lines.end(folder, ended._return_value if failed else None)
            _free_memory(ended)
            returns.append(ended)
        return returns

    def _run(
        self, folder: Path, overrides: list[str], number: int, *, own_processes: bool
    ) -> JobReturn:
        from ablab.ablation.launch.launch import run_to_its_end

        if own_processes:
            return run_to_its_end(folder)
        try:
            return self._run_here(folder, overrides, number)
        except OSError as error:  # This job's log cannot be written; others may be.
            return JobReturn(_return_value=error, status=JobStatus.FAILED)
        finally:  # The handlers that the job configured write to its log.
            HydraConfig.instance().cfg = None
            hydra = self.config.hydra
            configure_log(hydra.hydra_logging, hydra.verbose)

    def _run_here(self, folder: Path, overrides: list[str], number: int) -> JobReturn:
        """Run a job as Hydra's ``run_job`` does, without its copies of configs: they take longer
        than the fit of a small model."""
        from ablab.command.main import execute_run
        from ablab.errors import FAULTS_OF_A_JOB
        from ablab.safety.log_file import open_log
        from ablab.safety.process_state import kept_state
        from ablab.safety.redaction import redacted

        config = self._job_config(folder, overrides, number)
        job, callbacks = config.hydra.job, self.hydra_context.callbacks
        ended = JobReturn(overrides=overrides, task_name=job.name, working_dir=str(folder))
        with (
            open_log(folder) as log,
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
            kept_state(),
            contextlib.chdir(folder if job.chdir else "."),  # and back, if the job goes elsewhere
            env_override(job.env_set),
        ):
            configure_log(config.hydra.job_logging, config.hydra.verbose)
            # hydra.utils.get_original_cwd in a user's code asks for it.
            HydraConfig.instance().cfg = config  # pyright: ignore[reportAttributeAccessIssue]
            callbacks.on_job_start(config=config, task_function=execute_run)
            try:
                ended.return_value = execute_run(config)
                ended.status = JobStatus.COMPLETED
            except FAULTS_OF_A_JOB as error:
                ended.return_value, ended.status = error, JobStatus.FAILED
                log.write(redacted("".join(traceback.format_exception(error))))
            callbacks.on_job_end(config=config, job_return=ended)
        return ended

    def _job_config(self, folder: Path, overrides: list[str], number: int) -> DictConfig:
        """Compose once, since jobs differ only in their folder; Hydra copies it for each job."""
        if self._composed is None:
            self._composed = self.hydra_context.config_loader.load_sweep_config(
                self.config, overrides
            )
        config = self._composed
        with read_write(config.hydra), open_dict(config):
            config.run = str(folder)
            config.hydra.overrides.task = overrides
            config.hydra.job.id = str(number)
            config.hydra.job.num = number
            config.hydra.runtime.output_dir = str(folder)
            # The output goes to the log already, so a handler for it would write each line twice.
            config.hydra.job_logging.root.handlers = ["console"]
        return config


def _import_what_trains() -> None:
    with contextlib.suppress(Exception):  # The job will fail with it, and have it in its log.
        from ablab.command.import_lightning import import_lightning

        import_lightning()
        import ablab.training.tasks  # noqa: F401  # imports torch


def _free_memory(ended: JobReturn) -> None:
    """Free the frames, model and optimiser of a job.

    Their reference cycles are collected too late otherwise: Python counts objects, not the memory
    behind them.
    """
    if isinstance(ended._return_value, BaseException):
        ended._return_value.__traceback__ = None
        ended._return_value.__context__ = ended._return_value.__cause__ = None
    gc.collect()
