"""The training loss since the last report and over the epoch; a resumed run continues both."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ablab.errors import CheckpointError
from ablab.training.nonfinite import NonFiniteLossError
from ablab.training.ranks import gather

_HELD = 1000  # losses that stay on the device; each takes half a kilobyte of a GPU


class RunningLoss:
    """Mean losses over rows and over ranks, since the last report (the window) and over the epoch.

    Within a window the losses stay on the device, one by one, so that no step waits for them and
    the first one that is not finite can be named.

    The values are not attributes of the module, since torch makes assigning those slow.
    """

    def __init__(self, *, error_if_nonfinite: bool = True) -> None:
        self.error_if_nonfinite = error_if_nonfinite
        self._held: list[tuple[Tensor, int, int]] = []  # loss, rows, step
        self._window = 0.0  # over the rows of this rank; only the epoch's sums cover all ranks
        self._window_rows = 0
        self._first_nonfinite: tuple[int, float] | None = None  # its step, its value
        self._epoch = 0.0
        self._epoch_rows = 0
        self.latest: float | None = None  # the mean of the last window that was closed

    def add(self, loss: Tensor, rows: int, step: int) -> None:
        """Add the loss of a batch.

        Args:
            loss: the mean over the batch, a scalar without a graph.
            rows: number of rows in the batch.
            step: the optimiser step that minimises it.
        """
        self._held.append((loss, rows, step))
        if len(self._held) == _HELD:
            self._add_up()

    def check(self) -> list[list[float]]:
        """Return sum and rows of the open window for each rank; all ranks call it together.

        Raises:
            NonFiniteLossError: a loss was not finite; every rank raises it for the first such loss.
        """
        self._add_up()
        windows = gather([self._window, float(self._window_rows)])
        if self.error_if_nonfinite and not all(math.isfinite(total) for total, _ in windows):
            step, value = self._first_nonfinite or (-1, 0.0)
            found = [tuple(pair) for pair in gather([float(step), value])]
            step, value = min(pair for pair in found if pair[0] >= 0)
            raise NonFiniteLossError(int(step), value)
        return windows

    def close_window(self) -> float:
        """Return the mean since the last call, over all ranks. Raises as ``check`` does."""
        windows = self.check()
        total, rows = (sum(column) for column in zip(*windows, strict=True))
        self._epoch += total
        self._epoch_rows += int(rows)
        self._window, self._window_rows = 0.0, 0
        self.latest = total / max(rows, 1)
        return self.latest

    def close_epoch(self) -> float:
        """Return the mean of the windows closed since the last call."""
        mean = self._epoch / max(self._epoch_rows, 1)
        self._epoch, self._epoch_rows = 0.0, 0
        return mean

    def state_dict(self) -> dict[str, Any]:
        """Return the state, which is the same on all ranks. Raises as ``check`` does."""
        return {
            "windows": self.check(),
            "epoch": self._epoch,
            "epoch_rows": self._epoch_rows,
        }

    def load_state_dict(self, state: dict[str, Any], rank: int) -> None:
        """Load the state. Raises CheckpointError if an earlier version wrote it."""
        if "windows" not in state:
            raise CheckpointError(
                "the checkpoint was written by an earlier version of this package; continue "
                "the run with that version, or begin a new run"
            )
        self._held.clear()
        window, rows = state["windows"][rank]
        self._window, self._window_rows = window, int(rows)
        self._epoch, self._epoch_rows = state["epoch"], state["epoch_rows"]

    def _add_up(self) -> None:
        """Add up the held losses; in their order, so that a resumed run gets the same sum."""
        if not self._held:
            return
        losses = torch.stack([loss for loss, _, _ in self._held]).tolist()
        held, self._held = self._held, []
        self.add_up((v, rows, step) for v, (_, rows, step) in zip(losses, held, strict=True))

    def add_up(self, losses: Iterable[tuple[float, int, int]]) -> None:
        """Add losses that are on the CPU, each with its rows and its step, in their order."""
        for value, rows, step in losses:
            self._window += value * rows
            self._window_rows += rows
            if self._first_nonfinite is None and not math.isfinite(self._window):
                self._first_nonfinite = step, value
