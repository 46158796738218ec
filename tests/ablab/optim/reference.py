"""The update rules written out, one line an equation, for tests to hold the optimisers against."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Reference:
    """One parameter tensor θ under one optimiser and one mode of weight decay, in fp64."""

    theta: Tensor
    optimizer: str  # sgd | rmsprop | adam
    mode: str
    decay: float
    base_lr: float
    momentum: float = 0.0
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.99)
    alpha: float = 0.99
    eps: float = 1e-8
    steps: int = 0
    state: dict[str, Tensor] = field(default_factory=dict)

    def step(self, gradient: Tensor, lr: float) -> None:
        theta, lam = self.theta, self.decay
        g = gradient + {"l2": lam, "l2_loss": 2 * lam}.get(self.mode, 0.0) * theta
        shrink = {
            "decoupled": lr * lam,
            "independent": lr / self.base_lr * lam,
            "corrected": lr**2 / self.base_lr * lam,
        }
        self.steps += 1
        if self.mode == "cautious":
            update = self._update(theta, g, lr)
            agree = (update * theta >= 0).to(theta.dtype)
            self.theta = theta - update - lr * lam * agree * theta
            return
        theta = theta * (1 - shrink.get(self.mode, 0.0))
        self.theta = theta - self._update(theta, g, lr)

    def _update(self, theta: Tensor, g: Tensor, lr: float) -> Tensor:
        zero = torch.zeros_like(theta)
        if self.optimizer == "adam":
            beta1, beta2 = self.betas
            m = beta1 * self.state.get("m", zero) + (1 - beta1) * g
            v = beta2 * self.state.get("v", zero) + (1 - beta2) * g**2
            self.state = {"m": m, "v": v}
            m_hat = m / (1 - beta1**self.steps)
            root = v.sqrt() / (1 - beta2**self.steps) ** 0.5
            return lr * m_hat / (root + self.eps)
        if self.optimizer == "rmsprop":
            v = self.alpha * self.state.get("v", zero) + (1 - self.alpha) * g**2
            self.state["v"] = v
            g = g / (v.sqrt() + self.eps)
        b = self.momentum * self.state.get("b", zero) + g
        self.state["b"] = b
        return lr * (g + self.momentum * b if self.nesterov else b)
