"""The members of a stack: runs with a record, trackers and checkpoints of their own."""

import contextlib
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.core.utils import JobReturn, JobStatus
from torch import Tensor

from ablab.ablation.launch.stacked.refusals import NotStackable, refuse_model
from ablab.ablation.launch.stacked.snapshots import Snapshots
from ablab.ablation.launch.stacked.stack import Learner
from ablab.config.schema import Config
from ablab.data.batches import TensorLoader
from ablab.data.contract import RunDataModule
from ablab.optim.optimizers import build_optimizer
from ablab.optim.scheduler import build_scheduler
from ablab.runs.checkpoint_files import load_state
from ablab.runs.checkpoints import Manifest, Progress, load_checkpoint
from ablab.runs.record import RunRecord
from ablab.runs.resume import refuse_changes
from ablab.safety.atomic_files import remove_leftovers
from ablab.safety.folder_lock import locked
from ablab.safety.redaction import redacted
from ablab.safety.signals import Interruption
from ablab.training.build import build_model
from ablab.training.fit import conclude, describe_phase
from ablab.training.interpretations import build_steps
from ablab.training.module import SupervisedModule, pace_of
from ablab.training.nonfinite import (
    NonFiniteLossError,
    describe_loss,
    named_in_groups,
    refuse_nonfinite_state,
)
from ablab.training.phases import plan_phases
from ablab.training.run import DataFacts, Run

Metrics = dict[str, float]


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
                self.learner = self._learner(tensors, loaded)
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
        if entry.before.phase > 0:
            raise NotStackable("its training has ended, and only its test is left")
        content = load_checkpoint(folder / "checkpoints" / entry.file)
        if content[type(self.data).__qualname__]["position"]:
            raise NotStackable("its checkpoint lies within an epoch")
        self.step, self.epoch = entry.step, entry.epoch + 1
        return content

    def _learner(self, tensors: list[Tensor], loaded: Mapping[str, Any] | None) -> Learner:
        config, model = self.run.config, self.model
        (self.phase,) = plan_phases(config)
        model.begin_phase(self.phase, Progress())
        model.to(tensors[0].device)
        assert self.phase.optim is not None
        assert self.phase.schedule is not None
        order = TensorLoader(tensors, self.data.batch_size, seed=config.seeds.order)
        optimizer = build_optimizer(model, self.phase.optim)
        total_steps = len(order) * config.trainer["max_epochs"]
        scheduler = build_scheduler(optimizer, self.phase.schedule, total_steps)
        if loaded is not None:
            load_state(model, loaded["state_dict"], finite=config.error_if_nonfinite != "none")
            optimizer.load_state_dict(loaded["optimizer_states"][0])
            scheduler.load_state_dict(loaded["lr_schedulers"][0])
            order.load_state_dict(loaded[type(self.data).__qualname__])
            model.running_loss.load_state_dict(loaded["train_loss"], 0)
        clip = config.trainer.get("gradient_clip_val") or None
        by_norm = (config.trainer.get("gradient_clip_algorithm") or "norm") == "norm"
        return Learner(model, optimizer, scheduler, order, clip, by_norm)

    # -- the life of the run ---------------------------------------------------------------------

    def begin(self, about: dict[str, Any]) -> None:
        """Open record, trackers and checkpoints; ``about`` is what the record has of the stack."""
        run, record = self.run, self.run.record
        self._open.enter_context(run.recorded())
        record.parameters = sum(p.numel() for p in self.model.parameters())
        record.directions = self.model.metric_directions
        record.optimizers[self.phase.name] = describe_phase(self.phase, self.learner.optimizer)
        record.device = f"{self.model.device} x 1"
        record.deterministic = torch.are_deterministic_algorithms_enabled()
        record.stacked = about
        self.snapshots.open()
        run.attach_trackers(from_step=self.step)
        self._fit_began = run.clock()
        self._before = record.seconds.get("fit", 0.0)

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """If the block fails, the run has failed; the other members go on."""
        try:
            yield
        except Exception as error:
            self.end(error)

    def release(self) -> None:
        """Give a run free that has not begun in this stack."""
        self._open.close()

    @property
    def alive(self) -> bool:
        return self.ended is None

    def end_fit(self, seconds: float) -> None:
        """Write that the fit has ended, after ``seconds`` of the stack."""
        record = self.run.record
        record.seconds["fit"] = self._before + self.run.clock() - self._fit_began
        record.stacked["seconds"] = record.stacked.get("seconds", 0.0) + seconds

    def conclude(self) -> float | None:
        """Test and interpret the run; return the metric of the chosen checkpoint."""
        record = self.run.record
        record.steps, record.epochs = self.step, self.epoch
        self.snapshots.write()
        Manifest(self.folder / "checkpoints").end_phase(Progress(1, self.step, self.epoch))
        return conclude(self.run, self.data, self.model, self.steps)

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
        if isinstance(error, Exception):
            told = redacted("".join(traceback.format_exception(error)))
            with (self.folder / "run.log").open("a", encoding="utf-8") as log:
                log.write(told)
        status = JobStatus.FAILED if failed else JobStatus.COMPLETED
        self.ended = JobReturn(status=status, _return_value=error if failed else value)

    @contextlib.contextmanager
    def logged(self) -> Iterator[None]:
        """What the block prints goes to the run's own log."""
        with (
            (self.folder / "run.log").open("a", encoding="utf-8") as log,
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
        ):
            yield

    # -- reports ---------------------------------------------------------------------------------

    def report(self, values: Metrics) -> None:
        """Give trackers what was measured after the present step."""
        row = {"epoch": float(self.epoch), **values}
        for tracker in self.run.trackers:
            tracker.log_metrics(row, step=self.step)

    def report_window(self) -> None:
        """Report the loss since the last report, with the rates of the present step."""
        with self.losses_described():
            mean = self.model.running_loss.close_window()
        self.report({"train/loss": mean, **pace_of(self.learner.optimizer)})

    @contextlib.contextmanager
    def losses_described(self) -> Iterator[None]:
        """Raises TrainingError in place of NonFiniteLossError."""
        try:
            yield
        except NonFiniteLossError as error:
            named = named_in_groups(self.learner.optimizer)
            raise describe_loss(error, named, self.step) from error

    def validate(self, batches: list[Any]) -> Metrics:
        """Return what is measured on the validation part, and report it."""
        model = self.model
        with self.losses_described():
            model.running_loss.check()
        if not batches:
            return {}
        model.eval()
        with torch.no_grad():
            for number, batch in enumerate(batches):
                model.validation_step(batch, number)
        measured = model._evaluation_result("val")
        model.train()
        self.report(measured)
        return measured

    def close_epoch(self, measured: Metrics, shared: dict[str, Any]) -> None:
        """Report the loss of the epoch, and take a snapshot at its end."""
        model, learner = self.model, self.learner
        with self.losses_described():
            model.running_loss.close_window()
        loss = {"train/loss_epoch": model.running_loss.close_epoch()}
        self.report(loss)
        if self.run.config.error_if_nonfinite != "none":
            named = named_in_groups(learner.optimizer)
            refuse_nonfinite_state(model, named, [learner.optimizer], self.step)
        own = {
            "state_dict": model.state_dict(),
            "optimizer_states": [learner.optimizer.state_dict()],
            "lr_schedulers": [learner.scheduler.state_dict()],
            "train_loss": model.running_loss.state_dict(),
        }
        # Lightning keeps what is logged in single precision.
        metrics = {k: float(torch.tensor(v)) for k, v in {**measured, **loss}.items()}
        self.snapshots.add({**shared, **own}, metrics)
        self.epoch += 1
        shown = "  ".join(f"{k} {v:.4f}" for k, v in metrics.items() if k.count("/") < 2)
        of = self.run.config.trainer["max_epochs"]
        with (self.folder / "run.log").open("a", encoding="utf-8") as log:
            log.write(f"{self.phase.name} epoch {self.epoch:>3}/{of}  {shown}\n")
