"""The learning-rate range test (Smith 2015, arXiv 1506.01186), and what its curve suggests.

The test trains a copy of the model while the learning rate grows geometrically, a rung for each
batch. It is this project's own because Lightning's loses what a search is for (2.6.6): the ratios
between groups, half of the first loss to wrong debiasing, and the first rung.
"""

import copy
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablab.config.schema import Optim
from ablab.errors import ConfigError, DataError
from ablab.optim.decay import weight_penalty
from ablab.optim.optimizers import build_optimizer
from ablab.training.module import SupervisedModule

SKIP_LAST = 5  # points that suggestions do not read: the blow-up itself (fastai's number)


@dataclass(frozen=True)
class LrCurve:
    """The losses met on the way up; the three lists are equally long, a finite number a rung.

    ``losses[i]`` is that of the batch at rung i before its own step, so it answers for the rates up
    to ``lrs[i - 1]``; pairing it with ``lrs[i]`` is the convention of the method.
    """

    lrs: list[float]  # of the last group
    losses: list[float]  # training loss of each batch, weight penalty aside as in train/loss
    smoothed: list[float]
    steps: int  # rungs of the whole ladder
    diverged: bool  # ended before the top of the ladder
    base_lr: float  # of the last group as it was configured


def find_lr(
    model: SupervisedModule,
    loader: Iterable[Sequence[Tensor]],
    optim: Optim,
    *,
    first: float,
    last: float,
    steps: int,
    divergence: float = 4.0,
    smoothing: float = 0.98,
    device: torch.device | str = "cpu",
) -> LrCurve:
    """Train a copy of ``model`` from rate ``first`` to ``last`` and return the losses.

    At rung λ the last group learns at λ and every other at its configured ratio to it; momentum is
    as configured. ``smoothed`` is the debiased exponential mean Σ β^(i-j) l_j / Σ β^(i-j). The test
    ends where that is over ``divergence`` times its best, or a loss is not finite.

    Model, loader and random generators are left bitwise as they were, also by an exception, and
    the curve does not depend on the generators. Train and eval modes stay as they are, as in a fit.

    Args:
        model: prepared for training (``prepare_training``).
        loader: gives batches ``(*inputs, target)``; read from its position on, and over again.
        first, last, steps: the ladder, ends included; see ``lr_ladder``.
        smoothing: β, the weight of the past.

    Raises:
        ConfigError: every parameter is frozen.
        DataError: there is no batch, or the loss is not finite before the first step.
    """
    # A copy, not a snapshot to put back: nothing that a kill or a bug leaves behind is the model's
    trial = copy.deepcopy(model).to(device)
    if not any(p.requires_grad for p in trial.parameters()):
        raise ConfigError("lr_find: every parameter of the model is frozen; nothing would learn")
    optimizer = build_optimizer(trial, optim)
    groups = optimizer.param_groups
    base_lr = groups[-1]["base_lr"]
    ratios = [group["base_lr"] / base_lr for group in groups]
    lrs: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    mean, best, diverged = 0.0, math.inf, False
    with _seeded(model.order_seed), _rewound(loader), torch.enable_grad():
        ladder = lr_ladder(first, last, steps)
        for rate, batch in zip(ladder, _cycle(loader), strict=False):
            for group, ratio in zip(groups, ratios, strict=True):
                # A rung asks "what if optim.lr were this": then it is the peak, base_lr, as well.
                # Against the configured one, independent decay (lr / base_lr · λ) would grow up the
                # ladder and blow up weights that no run with this rate shrinks so.
                group["lr"] = group["base_lr"] = rate * ratio
            *inputs, target = (tensor.to(device) for tensor in batch)
            loss = trial.training_loss(inputs, target)
            penalty = weight_penalty(optimizer)
            total = loss if penalty is None else loss + penalty
            if not math.isfinite(total.item()):
                diverged = True
                break
            value = loss.item()
            mean += (1 - smoothing) / (1 - smoothing ** (len(losses) + 1)) * (value - mean)
            lrs.append(rate)
            losses.append(value)
            smoothed.append(mean)
            best = min(best, mean)
            if mean > best + (divergence - 1) * abs(best):  # a loss may be negative
                diverged = True
                break
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
    if not losses:
        raise DataError(
            "lr_find: the loss is not finite before the first step, so no learning rate mends it; "
            "look for such values in the data, or for a loss that does not fit the model"
        )
    return LrCurve(lrs, losses, smoothed, steps, diverged, base_lr)


def lr_ladder(first: float, last: float, steps: int) -> list[float]:
    """``steps`` (two or more) rates in equal ratios, both ends exact."""
    growth = last / first
    return [first * growth ** (i / (steps - 1)) for i in range(steps - 1)] + [last]


def _cycle(loader: Iterable[Sequence[Tensor]]) -> Iterator[Sequence[Tensor]]:
    """Epoch after epoch without end. Raises DataError for an empty one."""
    while True:
        batch = None
        for batch in loader:
            yield batch
        if batch is None:
            raise DataError("lr_find: there is no training batch")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Global random generators of Python, NumPy and torch (CPU, CUDA): seeded, then put back.

    Lightning's ``isolate_rng`` does not put them back after an exception.
    """
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def _rewound(loader: Any) -> Iterator[None]:
    """Afterwards the loader gives what it would have given: its position and its own generators."""
    state = loader.state_dict() if hasattr(loader, "state_dict") else None
    owners = (loader, getattr(loader, "sampler", None))
    generators = [getattr(owner, "generator", None) for owner in owners]
    states = [(g, g.get_state()) for g in generators if isinstance(g, torch.Generator)]
    try:
        yield
    finally:
        if state is not None:
            loader.load_state_dict(state)
        for generator, before in states:
            generator.set_state(before)


# -- suggestions: pure functions of a curve's points, None where they find nothing to say ----------


def suggest(curve: LrCurve) -> dict[str, float | None]:
    """Suggested rates of the last group by name, the one to try first at the head.

    They read the curve without its first ``steps // 10`` points, where the mean has hardly begun,
    and without the last ``SKIP_LAST``. The slope is taken of the raw loss: the mean moves by 1/n of
    the noise at its n-th point, so its own slope is steepest where it is young.
    """
    kept = slice(curve.steps // 10, max(len(curve.lrs) - SKIP_LAST, 0))
    lrs, smoothed = curve.lrs[kept], curve.smoothed[kept]
    return {
        "valley": valley(lrs, smoothed),
        "minimum / 10": minimum_over_ten(lrs, smoothed),
        "steepest": steepest(lrs, curve.losses[kept]),
    }


def valley(lrs: Sequence[float], losses: Sequence[float]) -> float | None:
    """About half way down the longest decreasing subsequence (fastai v2's default).

    Of its length n, the point n//3 + n//6 after its start, which is n points before its end, as if
    it had no gaps: that is how fastai counts.
    """
    if not _descends(losses):
        return None
    lengths: list[int] = []  # of the longest decreasing subsequence that ends at each point
    for i, loss in enumerate(losses):
        longer = [lengths[j] for j in range(i) if losses[j] > loss]
        lengths.append(1 + max(longer, default=0))
    length = max(lengths)
    start = max(lengths.index(length) - length, 0)
    return lrs[start + length // 3 + length // 6]


def minimum_over_ten(lrs: Sequence[float], losses: Sequence[float]) -> float | None:
    """A tenth of the rate with the lowest loss."""
    return lrs[losses.index(min(losses))] / 10 if _descends(losses) else None


def steepest(lrs: Sequence[float], losses: Sequence[float]) -> float | None:
    """Where d loss / d ln lr is lowest: the middle of the steepest line fitted to a fifth of it.

    Not d loss / d lr, as in Lightning since 2.5.3: on a geometric ladder that favours low rates.
    """
    if not _descends(losses):
        return None
    half = max(len(losses) // 10, 1)
    offsets = np.arange(-half, half + 1)  # equal steps of ln lr
    slopes = np.correlate(np.asarray(losses), offsets, "valid")  # of least squares, but for scale
    return lrs[half + int(slopes.argmin())] if slopes.min() < 0 else None


def _descends(losses: Sequence[float]) -> bool:
    """Whether there are points enough for a slope, and any below the first."""
    return len(losses) >= 3 and min(losses) < losses[0]
