"""One job after the other in this process: the fastest way through many small ones."""

import contextlib
import gc
import traceback
from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write


class SerialLauncher(Launcher):
    """What a job shows goes into its ``run.log``; the terminal gets a line while it runs and one
    when it ends.

    A job over several devices runs in processes of its own: those that Lightning starts take their
    arguments from the first, and here these are the sweep's.
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
        from lab.ablation.launch import folder_of
        from lab.ablation.listing import JobLines
        from lab.ablation.live_table import live_line

        lines = JobLines(len(job_overrides))
        returns = []
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            folder = folder_of(overrides)
            lines.begin(folder)
            with live_line(lines, folder):
                ended = self._run(folder, list(overrides), number)
            failed = ended.status is JobStatus.FAILED
            lines.end(folder, ended._return_value if failed else None)
            _let_go(ended)
            if number == initial_job_idx:
                gc.freeze()  # what imports have made stays, and need not be looked through again
            returns.append(ended)
        return returns

    def _run(self, folder: Path, overrides: list[str], number: int) -> JobReturn:
        from lab.ablation.launch import needs_own_processes, run_to_its_end

        if needs_own_processes(folder):
            return run_to_its_end(folder)
        try:
            return self._run_here(folder, overrides, number)
        except OSError as error:  # no log can be written, which is this job's trouble alone
            return JobReturn(_return_value=error, status=JobStatus.FAILED)
        finally:  # the job's handlers write to its log
            hydra = self.config.hydra
            configure_log(hydra.hydra_logging, hydra.verbose)

    def _run_here(self, folder: Path, overrides: list[str], number: int) -> JobReturn:
        from lab.cli import execute_run
        from lab.secrets import redacted

        with (
            (folder / "run.log").open("a", buffering=1, encoding="utf-8") as log,
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
        ):
            ended = run_job(
                hydra_context=self.hydra_context,
                task_function=execute_run,
                config=self._job_config(folder, overrides, number),
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
            if ended.status is JobStatus.FAILED:
                log.write(redacted("".join(traceback.format_exception(ended._return_value))))
        return ended

    def _job_config(self, folder: Path, overrides: list[str], number: int) -> DictConfig:
        """Composed once: jobs differ in their folder alone. Hydra copies it for each of them."""
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
            # the log is the job's output, so it is not written twice
            config.hydra.job_logging.root.handlers = ["console"]
        return config


def _let_go(ended: JobReturn) -> None:
    """Free what a job leaves: its configs, its frames, and its model and optimiser, whose reference
    cycles Python collects too late, since it counts objects and not the memory behind them."""
    ended.cfg = ended.hydra_cfg = None
    if isinstance(ended._return_value, BaseException):
        ended._return_value.__traceback__ = None
        ended._return_value.__context__ = ended._return_value.__cause__ = None
    gc.collect()
