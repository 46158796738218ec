"""The training loss since the last report, and over the epoch; both go on in a resumed run."""

import math
from typing import Any

import torch
from torch import Tensor

from lab.errors import TrainingError


class RunningLoss:
    """Means over rows. Within a window they are summed as a tensor: no device is waited for.

    Kept beside the module's attributes, which are slow to assign: torch looks through each.
    """

    def __init__(self) -> None:
        self._window = torch.zeros(())
        self._window_rows = 0
        self._epoch = 0.0
        self._epoch_rows = 0

    def to(self, device: torch.device) -> None:
        self._window = self._window.to(device)

    def add(self, loss: Tensor, rows: int) -> None:
        """``loss`` is the mean over ``rows``, a scalar without a graph."""
        self._window.add_(loss, alpha=rows)
        self._window_rows += rows

    def close_window(self, step: int) -> float:
        """The mean since the last call.

        Raises:
            TrainingError: it is not finite; ``step`` is told.
        """
        window = float(self._window)
        if not math.isfinite(window):
            raise TrainingError(
                f"the training loss is {window} at step {step}; a lower optim.lr or "
                f"trainer.gradient_clip_val may help, or the data hold what the loss cannot take"
            )
        mean = window / max(self._window_rows, 1)
        self._epoch += window
        self._epoch_rows += self._window_rows
        self._window = torch.zeros_like(self._window)
        self._window_rows = 0
        return mean

    def close_epoch(self) -> float:
        """The mean of the windows closed since the last call."""
        mean = self._epoch / max(self._epoch_rows, 1)
        self._epoch, self._epoch_rows = 0.0, 0
        return mean

    def state_dict(self) -> dict[str, Any]:
        return {
            "window": float(self._window),
            "window_rows": self._window_rows,
            "epoch": self._epoch,
            "epoch_rows": self._epoch_rows,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._window = torch.tensor(state["window"])
        self._window_rows = state["window_rows"]
        self._epoch, self._epoch_rows = state["epoch"], state["epoch_rows"]
