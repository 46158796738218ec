"""The members of a stack: runs with a record, trackers and checkpoints of their own."""

import contextlib
import logging
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.core.utils import JobReturn, JobStatus
from torch import Tensor

from ablab.ablation.launch.stacked.phase_fit import PhaseFit, measured_on_test
from ablab.ablation.launch.stacked.refusals import NotStackable, refuse_model
from ablab.ablation.launch.stacked.snapshots import Snapshots
from ablab.ablation.launch.stacked.stack import Learner
from ablab.config.schema import Config, Optim
from ablab.config.schema.schedule import Schedule
from ablab.data.contract import RunDataModule
from ablab.errors import FAULTS_OF_A_JOB
from ablab.runs.checkpoints import Manifest, Progress, load_checkpoint
from ablab.runs.record import RunRecord
from ablab.runs.resume import refuse_changes
from ablab.safety.atomic_files import remove_leftovers
from ablab.safety.folder_lock import locked
from ablab.safety.log_file import open_log
from ablab.safety.redaction import redacted
from ablab.safety.signals import Interruption
from ablab.training.build import build_model
from ablab.training.fit import conclude, describe_phase
from ablab.training.interpretations import build_steps
from ablab.training.module import SupervisedModule
from ablab.training.phases import plan_phases
from ablab.training.run import DataFacts, Run


class SharedClock:
    """The seconds of a stack as each of its members is charged with them: an equal share."""

    def __init__(self, members: int) -> None:
        self.members = members
        self._share, self._read = 0.0, time.perf_counter()

    def __call__(self) -> float:
        now = time.perf_counter()
        self._share += (now - self._read) / max(self.members, 1)
        self._read = now
        return self._share


class Member:
    """A run that is trained in a stack; once it has ended, ``ended`` says how.

    Args:
        folder: of a run that has not begun, or was interrupted.
        clock: gives the seconds that each member is charged with.
        facts: what the record says of ``data``.
        tensors: of the training part, on the device.

    Raises:
        NotStackable: this run cannot be trained in a stack.
        UserError: it cannot be built.
    """

    def __init__(
        self,
        folder: Path,
        interruption: Interruption,
        clock: SharedClock,
        data: RunDataModule,
        facts: DataFacts,
        tensors: list[Tensor],
    ) -> None:
        with contextlib.ExitStack() as opened:
            opened.enter_context(locked(folder))
            record = RunRecord.read(folder)
            config = Config.model_validate(record.config)  # the plan has checked it
            run = self.run = Run(folder, config, record, interruption, clock=clock)
            self.folder, self.data, self.ended = folder, data, None
            self.step = self.epoch = 0  # where the run is; the number of the epoch that comes
            self.before, self.phases = Progress(), plan_phases(config)
            self._tensors = tensors
            self._fit_began: float | None = None  # while the fit goes on
            with run.timed("build"):
                model = build_model(config, data)
                refuse_model(model)
                assert isinstance(model, SupervisedModule)
                self.model = model
                self.steps = build_steps(config.interpret, model, data)
                self.snapshots = Snapshots(
                    folder / "checkpoints",
                    config.checkpoints.keep,
                    config.monitor,
                    config.objective.mode,
                )
                loaded = self._checkpoint()
                if loaded is None:
                    model.load_pretrained()
                run.take_data(facts)
                self.fit = PhaseFit(self, tensors, loaded)
            self._open = opened.pop_all()

    def _checkpoint(self) -> Mapping[str, Any] | None:
        """Return the content of the checkpoint from which the run goes on, if it has begun."""
        folder, record = self.folder, self.run.record
        remove_leftovers(folder)
        if record.status == "planned":
            return None
        refuse_changes(folder, record)
        entry = Manifest(folder / "checkpoints").newest_that_verifies()
        if entry is None:
            record.data_parts = {}
            return None
        if entry.before.phase == len(self.phases):
            raise NotStackable("its training has ended, and only its test is left")
        content = load_checkpoint(folder / "checkpoints" / entry.file)
        if content[type(self.data).__qualname__]["position"]:
            raise NotStackable("its checkpoint lies within an epoch")
        self.step, self.epoch, self.before = entry.step, entry.epoch + 1, entry.before
        return content

    def settings_of(self, number: int) -> tuple[Learner, Optim, Schedule]:
        """Return with what phase ``number`` is trained, or the present one if that has ended.

        The model is frozen as that phase says.
        """
        phase = self.phases[max(number, self.before.phase)]
        self.model.begin_phase(phase, self.before)
        assert phase.optim is not None
        assert phase.schedule is not None
        learner = self.fit.learner if phase is self.fit.phase else self.fit.learner_of(phase)
        return learner, phase.optim, phase.schedule

    # -- the life of the run ---------------------------------------------------------------------

    def begin(self, about: dict[str, Any]) -> None:
        """Open record, trackers and checkpoints; ``about`` is what the record has of the stack."""
        run, record = self.run, self.run.record
        self._open.enter_context(run.recorded())
        record.parameters = sum(p.numel() for p in self.model.parameters())
        record.directions = self.model.metric_directions
        self._describe_phase()
        record.device = f"{self.model.device} x 1"
        record.deterministic = torch.are_deterministic_algorithms_enabled()
        record.stacked = about
        self.snapshots.open()
        run.attach_trackers(from_step=self.step)
        self._fit_began = run.clock()
        self._before = record.seconds.get("fit", 0.0)

    def _describe_phase(self) -> None:
        fit = self.fit
        described = describe_phase(fit.phase, fit.learner.optimizer)
        self.run.record.optimizers[fit.phase.name] = described

    def end_phase(self) -> None:
        """Write that the phase has ended."""
        self.before = Progress(self.before.phase + 1, self.step, self.epoch)
        self.snapshots.end_phase(self.before)

    def next_phase(self) -> None:
        """Begin the phase after the one that has ended."""
        self.fit = PhaseFit(self, self._tensors, None)
        self._describe_phase()
        self.run.record.write(self.folder)  # a killed run goes on in a later phase

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """If the block fails, the run has failed; the other members go on."""
        try:
            yield
        except FAULTS_OF_A_JOB as error:
            self.end(error)

    def release(self) -> None:
        """Give a run free that has not begun in this stack."""
        self._open.close()

    @property
    def epochs(self) -> int:
        """The epochs of all phases together."""
        of_phases = [phase.epochs for phase in self.phases if phase.epochs]
        return sum(of_phases) or self.run.config.trainer["max_epochs"]

    @property
    def alive(self) -> bool:
        return self.ended is None

    def end_fit(self, seconds: float) -> None:
        """Write that the fit has ended, after ``seconds`` of the stack."""
        if self._fit_began is None:
            return
        record = self.run.record
        record.seconds["fit"] = self._before + self.run.clock() - self._fit_began
        record.stacked["seconds"] = record.stacked.get("seconds", 0.0) + seconds
        self._fit_began = None

    def conclude(self) -> float | None:
        """Test and interpret the run; return the metric of the chosen checkpoint."""
        record = self.run.record
        record.steps, record.epochs = self.step, self.epoch
        return conclude(self.run, self.data, self.model, self.steps, measured_on_test)

    def end(self, error: BaseException | None = None, value: float | None = None) -> None:
        """Close the record, with ``error`` if the run has not come to its end."""
        try:
            if error is None:
                self._open.close()
            else:
                self._open.__exit__(type(error), error, error.__traceback__)
        except BaseException as raised:
            error = error or raised
        failed = error is not None
        if isinstance(error, FAULTS_OF_A_JOB):
            told = redacted("".join(traceback.format_exception(error)))
            with open_log(self.folder) as log:
                log.write(told)
        status = JobStatus.FAILED if failed else JobStatus.COMPLETED
        self.ended = JobReturn(status=status, _return_value=error if failed else value)

    @contextlib.contextmanager
    def logged(self) -> Iterator[None]:
        """Send what the block prints and logs to the run's own log."""
        root = logging.getLogger()
        handlers = root.handlers
        with (
            open_log(self.folder) as log,
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
        ):
            own = logging.StreamHandler(log)
            own.setFormatter(handlers[0].formatter if handlers else None)
            root.handlers = [own]
            try:
                yield
            finally:
                root.handlers = handlers
