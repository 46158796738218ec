"""The fit of one phase of a member: its optimiser and schedule, what it reports and keeps."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from ablab.ablation.launch.stacked.stack import Learner
from ablab.config.instantiate import instantiate
from ablab.config.metric_names import without_stage
from ablab.config.schema import Config
from ablab.data.batches import TensorLoader
from ablab.optim.optimizers import build_optimizer
from ablab.optim.scheduler import PlateauScheduler, build_scheduler
from ablab.runs.checkpoint_files import load_state
from ablab.safety.log_file import open_log
from ablab.training.module import SupervisedModule, pace_of
from ablab.training.nonfinite import (
    NonFiniteLossError,
    describe_loss,
    named_in_groups,
    refuse_nonfinite_state,
)
from ablab.training.phases import PhasePlan
from ablab.training.run import Run

if TYPE_CHECKING:
    from ablab.ablation.launch.stacked.members import Member

Metrics = dict[str, float]


class PhaseFit:
    """A fit with its own optimiser and schedule, of the phase in which ``member`` is.

    Args:
        tensors: of the training part, on the device.
        loaded: the content of the checkpoint from which the member goes on, if there is one.
    """

    def __init__(
        self, member: "Member", tensors: list[Tensor], loaded: Mapping[str, Any] | None
    ) -> None:
        self.member, self.before = member, member.before
        self.run: Run = member.run
        self.model: SupervisedModule = member.model
        config = self.run.config
        self.phase: PhasePlan = member.phases[self.before.phase]
        self.epochs: int = self.phase.epochs or config.trainer["max_epochs"]
        self.stopped = False  # early
        nodes = [node for node in config.callbacks.values() if node]
        self._stopping: list[EarlyStopping] = [instantiate(n) for n in nodes]
        # What Lightning's callback asks of a trainer.
        self._trainer = SimpleNamespace(
            callback_metrics={},
            current_epoch=0,
            fast_dev_run=False,
            sanity_checking=False,
            should_stop=False,
            state=SimpleNamespace(fn=TrainerFn.FITTING),
            strategy=SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision),
            val_check_interval=1.0,
            check_val_every_n_epoch=1,
            world_size=1,
        )
        trainer: Any = self._trainer
        for callback in self._stopping:
            callback.setup(trainer, self.model, "fit")
        self.model.begin_phase(self.phase, self.before)
        self.model.to(tensors[0].device)
        self._tensors = tensors
        self.learner = self.learner_of(self.phase)
        if loaded is not None:
            self._load(loaded)

    def learner_of(self, phase: PhasePlan) -> Learner:
        """Return the model with the optimiser and the schedule of ``phase``."""
        config = self.run.config
        assert phase.optim is not None
        assert phase.schedule is not None
        order = TensorLoader(self._tensors, self.member.data.batch_size, seed=config.seeds.order)
        optimizer = build_optimizer(self.model, phase.optim)
        epochs = phase.epochs or config.trainer["max_epochs"]
        scheduler = build_scheduler(optimizer, phase.schedule, len(order) * epochs)
        clip = config.trainer.get("gradient_clip_val") or None
        by_norm = (config.trainer.get("gradient_clip_algorithm") or "norm") == "norm"
        return Learner(self.model, optimizer, scheduler, order, clip, by_norm)

    def _load(self, loaded: Mapping[str, Any]) -> None:
        learner, finite = self.learner, self.run.config.error_if_nonfinite != "none"
        load_state(self.model, loaded["state_dict"], finite=finite)
        if self.member.step == self.before.steps:  # the phase begins
            return
        learner.optimizer.load_state_dict(loaded["optimizer_states"][0])
        learner.scheduler.load_state_dict(loaded["lr_schedulers"][0])
        learner.order.load_state_dict(loaded[type(self.member.data).__qualname__])
        self.model.running_loss.load_state_dict(loaded["train_loss"], 0)
        for callback in self._stopping:
            callback.load_state_dict(loaded["callbacks"][callback.state_key])

    def report(self, values: Metrics) -> None:
        """Give trackers what was measured after the present step."""
        row = {"epoch": float(self.member.epoch), **values}
        for tracker in self.run.trackers:
            tracker.log_metrics(row, step=self.member.step)

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
            raise describe_loss(error, named, self.member.step) from error

    def validate(self, batches: list[Any]) -> Metrics:
        """Return what is measured on the validation part, and report it."""
        with self.losses_described():
            self.model.running_loss.check()
        if not batches:
            return {}
        measured = _measured(self.model, "val", self.model.validation_step, batches)
        self.model.train()
        self.report(measured)
        return measured

    def close_epoch(self, measured: Metrics, shared: dict[str, Any]) -> None:
        """Report the loss of the epoch, and take a snapshot at its end.

        ``shared``: what the checkpoints of all members have in common.
        """
        model, learner = self.model, self.learner
        with self.losses_described():
            model.running_loss.close_window()
        loss = {"train/loss_epoch": model.running_loss.close_epoch()}
        self.report(loss)
        if self.run.config.error_if_nonfinite != "none":
            named = named_in_groups(learner.optimizer)
            refuse_nonfinite_state(model, named, [learner.optimizer], self.member.step)
        # Lightning keeps what is logged in single precision.
        logged = {k: torch.tensor(v) for k, v in {**measured, **loss}.items()}
        metrics = {name: float(value) for name, value in logged.items()}
        if isinstance(learner.scheduler, PlateauScheduler):
            learner.scheduler.measure(metrics[str(learner.scheduler.plateau.monitor)])
        self._ask_whether_to_stop(logged)
        own = {
            "state_dict": model.state_dict(),
            "optimizer_states": [learner.optimizer.state_dict()],
            "lr_schedulers": [learner.scheduler.state_dict()],
            "train_loss": model.running_loss.state_dict(),
            "callbacks": {c.state_key: c.state_dict() for c in self._stopping},
        }
        self.member.snapshots.add({**shared, **own}, metrics)
        self.member.epoch += 1
        self._log(metrics)

    def _ask_whether_to_stop(self, logged: dict[str, Tensor]) -> None:
        trainer: Any = self._trainer
        trainer.callback_metrics = logged
        trainer.current_epoch = self.member.epoch - self.before.epochs
        for callback in self._stopping:
            callback.on_validation_end(trainer, self.model)
            callback.on_train_epoch_end(trainer, self.model)
        self.stopped = trainer.should_stop

    def _log(self, metrics: Metrics) -> None:
        epoch, name = self.member.epoch, self.phase.name
        shown = "  ".join(f"{k} {v:.4f}" for k, v in metrics.items() if k.count("/") < 2)
        line = f"{name} epoch {epoch:>3}/{self.before.epochs + self.epochs}  {shown}\n"
        done = epoch - self.before.epochs
        if self.stopped and done < self.epochs:
            line += f"{name}: stopped early, after epoch {done}\n"
        with open_log(self.member.folder) as log:
            log.write(line)


def measured_on_test(config: Config, model: Any, data: Any) -> Metrics:
    """Return what ``test_metrics`` does for a member, without a trainer: that takes far longer."""
    batches = ([t.to(model.device) for t in batch] for batch in data.batches("test"))
    measured = _measured(model, "test", model.test_step, batches)
    # Lightning keeps what is logged in single precision.
    return {without_stage(name): float(torch.tensor(v)) for name, v in measured.items()}


def _measured(
    model: SupervisedModule, stage: str, step: Callable[[Any, int], Any], batches: Iterable[Any]
) -> Metrics:
    model.eval()
    with torch.no_grad():
        for number, batch in enumerate(batches):
            step(batch, number)
    return model._evaluation_result(stage)
