"""The learning-rate range test (Smith 2015, arXiv 1506.01186), and the rate that it suggests.

The test trains a copy of the model while the learning rate grows by a constant factor from batch to
batch. Lightning's own test (2.6.6) loses the ratios between layer groups, half of the first loss
(by a wrong debiasing) and the first rate.
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
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from ablab.config.schema import Optim
from ablab.errors import ConfigError, DataError
from ablab.optim.decay import weight_penalty
from ablab.optim.optimizers import build_optimizer
from ablab.training.module import SupervisedModule

SKIP_LAST = 5  # points at the end that the suggestion leaves out: the divergence (fastai's number)
_WINDOW = 40  # the smoothing has a standard deviation of a 40th of all steps


@dataclass(frozen=True)
class LrCurve:
    """The losses of a range test; the three lists are equally long and hold finite numbers.

    ``losses[i]`` is the loss of batch i before its own step, so it shows the effect of the rates up
    to ``lrs[i - 1]``; the method pairs it with ``lrs[i]`` by convention.
    """

    lrs: list[float]  # rates of the last layer group
    losses: list[float]  # training loss of each batch, without weight penalty, as in train/loss
    smoothed: list[float]  # weighted means of the losses around each rate
    steps: int  # number of rates of the whole test
    diverged: bool  # whether the test ended before the last rate
    base_lr: float  # configured rate of the last layer group


def find_lr(
    model: SupervisedModule,
    loader: Iterable[Sequence[Tensor]],
    optim: Optim,
    *,
    first: float,
    last: float,
    steps: int,
    divergence: float = 4.0,
    smoothing: float = 0.9,
    device: torch.device | str = "cpu",
) -> LrCurve:
    """Train a copy of ``model`` from rate ``first`` to ``last`` and return the losses.

    At each rate of the last layer group, every other group has its configured ratio to it; momentum
    is as configured. The test ends where the debiased exponential mean of the losses so far,
    Σ β^(i-j) l_j / Σ β^(i-j), is over ``divergence`` times its best, or where a loss is not finite.

    Model, loader and random generators are left bitwise as they were, also after an exception, and
    the curve does not depend on the generators. Train and eval modes stay as they are.

    Args:
        model: prepared for training (``prepare_training``).
        loader: yields batches; read from its position on, again and again.
        first, last, steps: the rates, both ends included; see ``lr_ladder``.
        smoothing: β, the weight of the past in the mean that ends the test.

    Raises:
        ConfigError: every parameter is frozen.
        DataError: there is no batch, or the loss is not finite before the first step.
    """
    # The copy is trained and thrown away, so that neither a kill nor a bug can leave traces.
    trial = copy.deepcopy(model).to(device)
    if not any(p.requires_grad for p in trial.parameters()):
        raise ConfigError("lr_find: every parameter of the model is frozen; nothing would learn")
    optimizer = build_optimizer(trial, optim)
    groups = optimizer.param_groups
    base_lr = groups[-1]["base_lr"]  # of the last layer group: rules come before it
    ratios = [group["base_lr"] / base_lr for group in groups]
    lrs: list[float] = []
    losses: list[float] = []
    mean, best, diverged = 0.0, math.inf, False
    with _seeded(model.order_seed), _rewound(loader), torch.enable_grad():
        ladder = lr_ladder(first, last, steps)
        for rate, batch in zip(ladder, _cycle(loader), strict=False):
            for group, ratio in zip(groups, ratios, strict=True):
                # The question is "what if optim.lr were this rate", so the peak base_lr is set too.
                # Otherwise independent decay (lr / base_lr · λ) would grow with the rate, to values
                # that no run has.
                group["lr"] = group["base_lr"] = rate * ratio
            inputs, target = trial.split_batch(move_data_to_device(batch, device))
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
            best = min(best, mean)
            if mean > best + (divergence - 1) * abs(best):  # a loss may be negative
                diverged = True
                break
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
    if not losses:
        raise DataError(
            "lr_find: the loss is not finite before the first step, and no learning rate can fix "
            "that; look for such values in the data, or for a loss that does not fit the model"
        )
    return LrCurve(lrs, losses, _smoothed(losses, steps / _WINDOW), steps, diverged, base_lr)


def _smoothed(losses: Sequence[float], deviation: float) -> list[float]:
    """Return Gaussian means of the losses around each point.

    A mean of the past, as the stop uses it, lags behind: it would still be high where the losses
    have long been low.
    """
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(np.asarray(losses, float), deviation, mode="nearest").tolist()


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


# -- the suggestion: a pure function of the curve's points --------------------------------------


def suggest(curve: LrCurve) -> float | None:
    """Return the suggested rate of the last layer group, or None if the loss never falls.

    Left out are the first ``steps // 10`` points, in which the loss has hardly moved, and the last
    ``SKIP_LAST``, in which it diverges.
    """
    kept = slice(curve.steps // 10, max(len(curve.lrs) - SKIP_LAST, 0))
    return valley(curve.lrs[kept], curve.smoothed[kept])


def valley(lrs: Sequence[float], losses: Sequence[float]) -> float | None:
    """Return the rate about half way down the longest decreasing subsequence (fastai v2's default).

    In a subsequence of n points it is the point n//3 + n//6 after the start, where the start is
    taken to be n points before the end, as if there were no gaps: that is how fastai counts.
    """
    if len(losses) < 3 or min(losses) >= losses[0]:
        return None
    lengths: list[int] = []  # of the longest decreasing subsequence that ends at each point
    for i, loss in enumerate(losses):
        longer = [lengths[j] for j in range(i) if losses[j] > loss]
        lengths.append(1 + max(longer, default=0))
    length = max(lengths)
    start = max(lengths.index(length) - length, 0)
    return lrs[start + length // 3 + length // 6]
