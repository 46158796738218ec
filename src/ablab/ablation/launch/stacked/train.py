"""Train the members of a stack to their ends."""

import contextlib
import gc
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.core.utils import JobReturn
from torch import Tensor

from ablab.ablation.launch.stacked.batches import batches_of
from ablab.ablation.launch.stacked.members import Member, SharedClock
from ablab.ablation.launch.stacked.refusals import NotStackable, refuse_data, refuse_trackers
from ablab.ablation.launch.stacked.snapshots import Loops, state_of
from ablab.ablation.launch.stacked.stack import Stack
from ablab.ablation.launch.stacked.trust import refuse_other_results
from ablab.config.schema import Config
from ablab.data.module import PartsDataModule
from ablab.errors import first_line
from ablab.runs.record import RunRecord
from ablab.safety.signals import Interruption
from ablab.training.build import build_data, build_trackers
from ablab.training.run import facts_of
from ablab.training.tasks import quieten_libraries
from ablab.training.trial import try_out

_HELD = 1000  # losses of a stack that stay on the device
Ended = Callable[[Path, JobReturn], None]


def train_stack(folders: Sequence[Path], write_every: float, ended: Ended) -> dict[Path, str]:
    """Train the runs in ``folders`` as one model; return those that must run alone, and why.

    Args:
        write_every: seconds from one writing of checkpoints to the next.
        ended: is called when a run has ended, with how it has.

    Raises:
        RunInterrupted: a signal asked to stop, and the runs have been closed.
    """
    quieten_libraries()
    with Interruption() as interruption:
        interruption.deferred = True
        clock = SharedClock(len(folders))
        members: list[Member] = []
        try:
            alone, data, tensors = _build(folders, interruption, clock, members)
        except BaseException:
            _left_alone(members, "")
            raise
        for step in sorted({member.step for member in members}):
            same = [member for member in members if member.step == step]
            if len(same) == 1:
                same[0].release()
                alone[same[0].folder] = "no other job is at its step"
                continue
            clock.members = len(same)
            assert data is not None  # the members have been built with them
            _Training(same, data, tensors, interruption, clock, write_every, ended).run()
    return alone


def _build(
    folders: Sequence[Path],
    interruption: Interruption,
    clock: SharedClock,
    members: list[Member],
) -> tuple[dict[Path, str], PartsDataModule | None, list[Tensor]]:
    """Build ``members``; return the others, with the reasons, and what the members train on.

    Raises:
        NotStackable: none of them can be trained in a stack.
    """
    alone: dict[Path, str] = {}
    try:
        first = Config.model_validate(RunRecord.read(folders[0]).config)
        refuse_trackers(build_trackers(first))
        data = build_data(first)
        refuse_data(data)
        assert isinstance(data, PartsDataModule)
        facts = facts_of(data)
        device = _device(first)
        tensors = [tensor.to(device) for tensor in data.parts["train"]]
        if not len(tensors[0]):
            raise NotStackable("the training part is empty")
    except NotStackable as reason:
        return dict.fromkeys(folders, str(reason)), None, []
    except Exception as error:  # The runs themselves will fail with it.
        return dict.fromkeys(folders, f"the data cannot be had: {first_line(error)}"), None, []
    for folder in folders:
        interruption.raise_if_requested()
        try:
            member = Member(folder, interruption, clock, data, facts, tensors)
        except NotStackable as reason:
            alone[folder] = str(reason)
        except Exception as error:  # The run itself will fail with it.
            alone[folder] = f"it cannot be built: {first_line(error)}"
        else:
            members.append(member)
    if members:
        try:
            with members[0].logged():
                try_out(members[0].run.config, members[0].model, data)
        except Exception as error:
            refused = f"model, objective and data do not fit: {first_line(error)}"
            return {**alone, **_left_alone(members, refused)}, data, tensors
        for member in members:
            member.model.several = set(members[0].model.several)
    if len(members) > 1:
        try:
            settings: list[Any] = [(m.learner, m.phase.optim, m.phase.schedule) for m in members]
            refuse_other_results(settings, tensors)
        except NotStackable as reason:
            alone |= _left_alone(members, str(reason))
    return alone, data, tensors


def _left_alone(members: list[Member], reason: str) -> dict[Path, str]:
    """Give the runs of ``members`` free, and take them from the list; return the reason of each."""
    folders = [member.folder for member in members]
    for member in members:
        member.release()
    members.clear()
    return dict.fromkeys(folders, reason)


def _device(config: Config) -> torch.device:
    wanted = config.trainer.get("accelerator") or "auto"
    if wanted in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if wanted in ("auto", "cpu"):
        return torch.device("cpu")
    raise NotStackable(f"trainer.accelerator={wanted}")


class _Training:
    """The fit of a stack: epochs, validations, snapshots, and the ends of its members."""

    def __init__(
        self,
        members: list[Member],
        data: PartsDataModule,
        tensors: list[Tensor],
        interruption: Interruption,
        clock: SharedClock,
        write_every: float,
        ended: Ended,
    ) -> None:
        self.members, self.data, self.tensors = members, data, tensors
        self.interruption, self.clock, self.ended = interruption, clock, ended
        self.write_every, self.size = write_every, len(members)
        config = members[0].run.config
        self.epochs = config.trainer["max_epochs"]
        every = config.trainer.get("log_every_n_steps")
        self.every = 50 if every is None else every
        self.validation = _on(tensors[0].device, data.batches("val")) if data.has_validation else []
        batches = -(-len(members[0].learner.order) // config.steps_per_execution)
        self.loops = Loops(batches, len(self.validation))
        self._held: list[tuple[Tensor, int, int]] = []
        self.began = time.perf_counter()

    @property
    def alive(self) -> list[Member]:
        return [member for member in self.members if member.alive]

    def run(self) -> None:
        """Train to the ends. Raises RunInterrupted."""
        about = {"stack": uuid.uuid4().hex[:8], "size": self.size}
        try:
            for index, member in enumerate(self.members):
                with self.guarded(member), member.logged():
                    member.begin({**about, "index": index})
            self.began = time.perf_counter()
            self._fit()
            self._conclude()
        except BaseException as error:
            self._stop(error)
            if not isinstance(error, Exception):
                raise

    @contextlib.contextmanager
    def guarded(self, member: Member) -> Any:
        with member.guarded():
            yield
        if member.ended is not None:
            self.ended(member.folder, member.ended)
            self.clock.members = max(len(self.alive), 1)

    def _fit(self) -> None:
        self.step, first = self.members[0].step, self.members[0].epoch
        self.written = time.monotonic()
        stack = self._stack()
        for epoch in range(first, self.epochs):
            for number, batch in enumerate(batches_of(stack.orders, self.tensors, epoch)):
                self.interruption.raise_if_requested()
                self.step += 1
                losses = stack.backward(batch, epoch, number)
                self._held.append((losses, batch[0].shape[1], self.step))
                if self.every and self.step % self.every == 0:
                    stack.settle()
                    self._report_windows()
                elif len(self._held) >= _HELD:
                    self._hand_out_losses()
                stack.update()
            stack.settle()
            self._close_epoch(epoch)
            if len(self.alive) < len(self.in_stack):
                if not self.alive:
                    return
                stack = self._stack()

    def _stack(self) -> Stack:
        self.in_stack = self.alive
        return Stack([member.learner for member in self.in_stack])

    def _hand_out_losses(self) -> None:
        """Add the held losses to those of each member."""
        if not self._held:
            return
        columns = torch.stack([losses for losses, _, _ in self._held]).T.tolist()
        for member, values in zip(self.in_stack, columns, strict=True):
            if member.alive:
                member.model.running_loss.add_up(
                    (value, rows, step)
                    for value, (_, rows, step) in zip(values, self._held, strict=True)
                )
        self._held.clear()

    def _report_windows(self) -> None:
        self._hand_out_losses()
        for member in self.alive:
            with self.guarded(member):
                member.step = self.step
                member.report_window()

    def _close_epoch(self, epoch: int) -> None:
        """Validate the members, take their snapshots, and write those if it is time to."""
        self._hand_out_losses()
        for member in self.alive:
            with self.guarded(member):
                member.step = self.step
                measured = member.validate(self.validation)
                order = member.learner.order
                order.epoch, order.position = epoch + 1, 0
                loader = order.state_dict()
                loops = self.loops.after(epoch, self.step, loader)
                name = type(self.data).__qualname__
                member.close_epoch(
                    measured, state_of(epoch, self.step, loops, (name, dict(loader)))
                )
        if time.monotonic() - self.written >= self.write_every:
            self._write()

    def _write(self) -> None:
        for member in self.alive:
            with self.guarded(member):
                member.snapshots.write()
        self.written = time.monotonic()

    def _conclude(self) -> None:
        seconds = time.perf_counter() - self.began
        for member in self.alive:
            member.end_fit(seconds)
        for member in self.alive:
            self.interruption.raise_if_requested()
            with self.guarded(member), member.logged():
                value = member.conclude()
                self.interruption.deferred = True
                member.end(None, value)
            gc.collect(0)

    def _stop(self, error: BaseException) -> None:
        """Close the members that are left: they go on from their last epoch's end."""
        self._write()
        seconds = time.perf_counter() - self.began
        for member in self.alive:
            with member.logged():
                member.end_fit(seconds)
                member.end(error)
            assert member.ended is not None
            self.ended(member.folder, member.ended)


def _on(device: torch.device, batches: Any) -> list[tuple[Tensor, ...]]:
    return [tuple(tensor.to(device) for tensor in batch) for batch in batches]
