"""An optimiser that trains one set of weights and is judged by another."""

from typing import Any

import torch


class Averaging(torch.optim.Optimizer):
    """SGD whose ``eval()`` puts the mean of the weights so far in place of the last ones.

    As schedule-free optimisers do, and like theirs its ``train()`` gives the last ones back only up
    to rounding.
    """

    def __init__(self, params: Any, lr: float = 0.1, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "training": False})

    def train(self) -> None:
        self._switch(to_training=True)

    def eval(self) -> None:
        self._switch(to_training=False)

    @torch.no_grad()
    def _switch(self, *, to_training: bool) -> None:
        for group in self.param_groups:
            if group["training"] == to_training:
                continue
            group["training"] = to_training
            for p in group["params"]:
                if (lag := self.state[p].get("lag")) is not None:
                    p.add_(lag if to_training else -lag)  # the last weights minus their mean

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            assert group["training"], "step in eval mode"
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                state["steps"] = state.get("steps", 0) + 1
                mean = p - state["lag"] if "lag" in state else p.clone()
                p.sub_(p.grad, alpha=group["lr"])
                mean.lerp_(p, 1 / state["steps"])
                state["lag"] = p - mean
