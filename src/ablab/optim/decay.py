"""The modes of weight decay: two coefficients define each, but for the penalty of ``l2_loss``.

With η the group's current learning rate, η_max its peak, λ the decay and g the gradient of the
loss at the weights before the step:

    g̃ = g + l2 · θ        (what the optimiser sees)
    θ ← (1 - shrink) · θ   (before the optimiser's own update)

============  ======  =================  =====================================================
mode          l2      shrink             source
============  ======  =================  =====================================================
none          0       0
l2_loss       0       0                  λ Σ θ² added to the loss: gradient 2λθ (the lesson)
l2            λ       0                  torch's ``weight_decay``
decoupled     0       η · λ              torch's AdamW; fastai's ``true_wd``
independent   0       (η / η_max) · λ   Loshchilov & Hutter 2019 (arXiv 1711.05101), Algorithm 2
corrected     0       (η² / η_max) · λ  Defazio 2025 (arXiv 2506.02285): λ_t = λ η_t / η_max
cautious      0       η · λ, masked      Chen et al. 2025 (arXiv 2510.12402)
============  ======  =================  =====================================================

``cautious`` decays the coordinates with u · θ ≥ 0, where the optimiser's own step is θ ← θ - u:
those that the step moves towards zero or leaves where they are. Mask and decay are of the weights
before the step: θ ← θ - u - η λ 1[u θ ≥ 0] θ.
"""

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer


def l2_coefficient(mode: str, value: float) -> float:
    """Return the share of θ that is added to the gradient."""
    return value if mode == "l2" else 0.0


def shrink_factor(mode: str, value: float, lr: float, base_lr: float) -> float:
    """Return the share of θ that is subtracted before the optimiser's own update."""
    if mode in ("decoupled", "cautious"):
        return lr * value
    if mode == "independent":
        return (lr / base_lr) * value
    if mode == "corrected":
        return (lr * lr / base_lr) * value
    return 0.0


def weight_penalty(optimizer: Optimizer) -> Tensor | None:
    """Return λ Σ θ² over decayed, trainable parameters, a scalar; None for all other modes.

    The penalty is part of the loss: its gradient is clipped, and divided under gradient
    accumulation, like that of the loss.
    """
    penalty = None
    for group in optimizer.param_groups:
        if group["decay_mode"] != "l2_loss" or group["decay_value"] == 0.0:
            continue
        squares = [_own(p).square().sum() for p in group["params"] if p.requires_grad]
        if squares:
            sign = -1 if group.get("maximize") else 1
            term = sign * group["decay_value"] * torch.stack(squares).sum()
            penalty = term if penalty is None else penalty + term
    return penalty


def _own(parameter: Tensor) -> Tensor:
    """Return this process's shard under FSDP, since its gradient covers no more than that."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter
