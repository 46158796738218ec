"""The training loss since the last report, and over the epoch; both go on in a resumed run."""

import math
from typing import Any

import torch
from torch import Tensor

from lab.errors import CheckpointError
from lab.nonfinite import NonFiniteLossError
from lab.ranks import gathered

_HELD = 1000  # losses, of which a GPU keeps half a kilobyte each


class RunningLoss:
    """Means over rows, and over the ranks. Within a window the losses stay on the device, each for
    itself: nobody waits for them, and the first that is not finite can be named.

    Kept beside the module's attributes, which are slow to assign: torch looks through each.
    """

    def __init__(self, *, error_if_nonfinite: bool = True) -> None:
        self.error_if_nonfinite = error_if_nonfinite
        self._held: list[tuple[Tensor, int, int]] = []  # loss, rows, step
        self._window = 0.0  # of this rank alone, as everything but the epoch's sums
        self._window_rows = 0
        self._first_nonfinite: tuple[int, float] | None = None  # its step, its value
        self._epoch = 0.0
        self._epoch_rows = 0
        self.latest: float | None = None  # the mean of the last window that was closed

    def add(self, loss: Tensor, rows: int, step: int) -> None:
        """``loss`` is the mean over ``rows``, a scalar without a graph; ``step`` minimises it."""
        self._held.append((loss, rows, step))
        if len(self._held) == _HELD:
            self._look()

    def check(self) -> list[list[float]]:
        """Sum and rows of the open window, by rank; all of them call it together.

        Raises:
            NonFiniteLossError: a loss was not finite; the first is told, on every rank.
        """
        self._look()
        windows = gathered([self._window, float(self._window_rows)])
        if self.error_if_nonfinite and not all(math.isfinite(total) for total, _ in windows):
            step, value = self._first_nonfinite or (-1, 0.0)
            found = [tuple(pair) for pair in gathered([float(step), value])]
            step, value = min(pair for pair in found if pair[0] >= 0)
            raise NonFiniteLossError(int(step), value)
        return windows

    def close_window(self) -> float:
        """The mean since the last call, over all ranks. Raises as ``check`` does."""
        windows = self.check()
        total, rows = (sum(column) for column in zip(*windows, strict=True))
        self._epoch += total
        self._epoch_rows += int(rows)
        self._window, self._window_rows = 0.0, 0
        self.latest = total / max(rows, 1)
        return self.latest

    def close_epoch(self) -> float:
        """The mean of the windows closed since the last call."""
        mean = self._epoch / max(self._epoch_rows, 1)
        self._epoch, self._epoch_rows = 0.0, 0
        return mean

    def state_dict(self) -> dict[str, Any]:
        """The same on all ranks. Raises as ``check`` does."""
        return {
            "windows": self.check(),
            "epoch": self._epoch,
            "epoch_rows": self._epoch_rows,
        }

    def load_state_dict(self, state: dict[str, Any], rank: int) -> None:
        """Raises CheckpointError if it is that of an earlier version."""
        if "windows" not in state:
            raise CheckpointError(
                "the checkpoint is of an earlier version of this package, under which its run can "
                "be continued; here, begin a new one"
            )
        self._held.clear()
        window, rows = state["windows"][rank]
        self._window, self._window_rows = window, int(rows)
        self._epoch, self._epoch_rows = state["epoch"], state["epoch_rows"]

    def _look(self) -> None:
        """Fetch what is held from the device; in the order in which it came, so that a run that is
        continued within a window adds up the same."""
        if not self._held:
            return
        losses = torch.stack([loss for loss, _, _ in self._held]).tolist()
        for value, (_, rows, step) in zip(losses, self._held, strict=True):
            self._window += value * rows
            self._window_rows += rows
            if self._first_nonfinite is None and not math.isfinite(self._window):
                self._first_nonfinite = step, value
        self._held.clear()
