"""Train the members of a stack to their ends."""

import contextlib
import gc
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.core.utils import JobReturn
from torch import Tensor

from ablab.ablation.launch.job_lines import Reached
from ablab.ablation.launch.stacked.batches import batches_of
from ablab.ablation.launch.stacked.build import build_members, left_alone
from ablab.ablation.launch.stacked.members import Member, SharedClock
from ablab.ablation.launch.stacked.snapshots import Loops, state_of
from ablab.ablation.launch.stacked.stack import Stack
from ablab.data.module import PartsDataModule
from ablab.errors import FAULTS_OF_A_JOB, first_line
from ablab.safety.signals import Interruption
from ablab.training.tasks import quieten_libraries

_HELD = 1000  # losses of a stack that stay on the device


@dataclass(frozen=True)
class Watch:
    """The callbacks of a stack: for a run that has ended, and for the progress of one."""

    ended: Callable[[Path, JobReturn], None]
    reached: Callable[[Path, Reached], None]


def train_stack(
    folders: Sequence[Path], write_every: float, watch: Watch
) -> tuple[dict[Path, str], list[Path]]:
    """Train the runs in ``folders`` as one model.

    Args:
        write_every: seconds from one writing of checkpoints to the next.

    Returns:
        The runs that must run alone, with the reasons, and those that did not fit into memory.

    Raises:
        RunInterrupted: a signal asked to stop, and the runs have been closed.
    """
    quieten_libraries()
    with Interruption() as interruption:
        interruption.deferred = True
        clock = SharedClock(len(folders))
        members: list[Member] = []
        left: list[Path] = []
        try:
            alone, data, tensors = build_members(folders, interruption, clock, members, left)
        except BaseException:
            left_alone(members, "")
            raise
        try:
            for place in sorted({(member.step, member.before.phase) for member in members}):
                same = [member for member in members if (member.step, member.before.phase) == place]
                if len(same) == 1:
                    same[0].release()
                    alone[same[0].folder] = "no other job is at its step"
                    continue
                clock.members = len(same)
                assert data is not None  # the members have been built with them
                try:
                    stack = _Training(same, data, tensors, interruption, clock, write_every, watch)
                except FAULTS_OF_A_JOB as error:  # memory for the validation part, say
                    reason = f"the stack cannot begin: {first_line(error)}"
                    alone |= {member.folder: reason for member in same}
                    continue  # they are released below
                stack.run()
        finally:
            for member in members:
                if member.alive:  # it has not begun
                    member.release()
    return alone, left


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
        watch: Watch,
    ) -> None:
        self.members, self.data, self.tensors = members, data, tensors
        self.interruption, self.clock, self.watch = interruption, clock, watch
        self.write_every, self.size = write_every, len(members)
        config = members[0].run.config
        every = config.trainer.get("log_every_n_steps")
        self.every = 50 if every is None else every
        self.validation = _on(tensors[0].device, data.batches("val")) if data.has_validation else []
        batches = -(-len(members[0].fit.learner.order) // config.steps_per_execution)
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
            first, phases = self.members[0].before.phase, self.members[0].phases
            for phase in range(first, len(phases)):
                if phase > first:
                    self._each(Member.next_phase)
                self._fit()
                self._each(Member.end_phase)
            self._conclude(self.alive)
        except BaseException as error:
            self._stop(error)
            if not isinstance(error, FAULTS_OF_A_JOB):
                raise

    @contextlib.contextmanager
    def guarded(self, member: Member) -> Any:
        with member.guarded():
            yield
        if member.ended is not None:
            self.watch.ended(member.folder, member.ended)
            self.clock.members = max(len(self.alive), 1)

    def _each(self, act: Callable[[Member], None]) -> None:
        for member in self.alive:
            with self.guarded(member), member.logged():
                act(member)

    def _fit(self) -> None:
        """Train to the end of a phase."""
        if not self.alive:
            return
        one = self.alive[0]
        self.step = one.step
        self.written = time.monotonic()
        stack = self._stack()
        for epoch in range(one.epoch, one.before.epochs + one.fit.epochs):
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
            if stopped := [member for member in self.alive if member.fit.stopped]:
                for member in stopped:
                    member.end_phase()
                self._conclude(stopped)
            if len(self.alive) < len(self.in_stack):
                if not self.alive:
                    return
                stack = self._stack()

    def _stack(self) -> Stack:
        self.in_stack = self.alive
        return Stack([member.fit.learner for member in self.in_stack])

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
                member.fit.report_window()

    def _close_epoch(self, epoch: int) -> None:
        """Validate the members, take their snapshots, and write those if it is time to."""
        self._hand_out_losses()
        for member in self.alive:
            with self.guarded(member):
                member.step = self.step
                measured = member.fit.validate(self.validation)
                order = member.fit.learner.order
                order.epoch, order.position = epoch + 1, 0
                data = type(self.data).__qualname__, order.state_dict()
                shared = state_of(epoch, self.step, member.before, self.loops, data)
                member.fit.close_epoch(measured, shared)
                self.watch.reached(member.folder, Reached(member.epoch, member.epochs))
        if time.monotonic() - self.written >= self.write_every:
            self._write()

    def _write(self) -> None:
        for member in self.alive:
            with self.guarded(member):
                member.snapshots.write()
        self.written = time.monotonic()

    def _conclude(self, members: list[Member]) -> None:
        seconds = time.perf_counter() - self.began
        for member in members:
            member.end_fit(seconds)
        for member in members:
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
            self.watch.ended(member.folder, member.ended)


def _on(device: torch.device, batches: Any) -> list[tuple[Tensor, ...]]:
    return [tuple(tensor.to(device) for tensor in batch) for batch in batches]
