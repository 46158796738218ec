"""Backward pass and optimiser step, with Lightning's hooks only where one of them does something.

At each step Lightning calls its hooks on the module and on every callback, each inside a profiler's
context. That takes a tenth or more of a step of half a millisecond, and in most runs no hook does
anything.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy, Strategy
from torch import Tensor
from torch.optim import Optimizer

_STEP_HOOKS = ("on_before_backward", "on_after_backward", "on_before_optimizer_step")


class GradientClipping(Callback):
    """Clip gradients before each optimiser step, after they have been unscaled.

    Lightning leaves clipping to a module that takes its steps itself. It is a callback and not a
    hook of the module, so that a model may use the hook.
    """

    def __init__(self, value: float, algorithm: str) -> None:
        self.value, self.algorithm = value, algorithm

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        pl_module.clip_gradients(optimizer, self.value, self.algorithm)


class StepTaker(Protocol):
    """The operations of a training step."""

    @property
    def optimizer(self) -> Optimizer: ...

    def zero_grad(self) -> None: ...

    def backward(self, loss: Tensor) -> None: ...

    def step(self) -> None: ...


def step_taker(module: LightningModule) -> StepTaker:
    """Return the fastest StepTaker that leaves out no hook of the module's current fit."""
    optimizer = cast(LightningOptimizer, module.optimizers())
    if _no_hook_is_used(module.trainer, module):
        return _Direct(module.trainer, optimizer.optimizer)
    return _ThroughLightning(module, optimizer)


def _no_hook_is_used(trainer: Trainer, module: LightningModule) -> bool:
    precision = trainer.precision_plugin
    scales = not (
        type(precision) is Precision
        or (type(precision) is MixedPrecision and precision.scaler is None)
    )
    return (
        type(trainer.strategy) is SingleDeviceStrategy
        and not scales
        and type(trainer.profiler) is PassThroughProfiler  # pyright: ignore[reportAttributeAccessIssue]
        and not _overrides(module, LightningModule, (*_STEP_HOOKS, "backward"))
        and not any(_overrides(c, Callback, _STEP_HOOKS) for c in trainer.callbacks)  # pyright: ignore[reportAttributeAccessIssue]
    )


def _overrides(instance: Any, base: type, hooks: tuple[str, ...]) -> bool:
    """Return whether ``instance`` overrides one of ``hooks``, in its class or as an attribute of
    its own (as callbacks that are made of functions do)."""
    return any(
        name in vars(instance) or getattr(type(instance), name) is not getattr(base, name)
        for name in hooks
    )


class _ThroughLightning:
    """Steps that scale gradients, exchange them between processes and call the hooks."""

    def __init__(self, module: LightningModule, optimizer: LightningOptimizer) -> None:
        self._lightning_optimizer = optimizer
        self.optimizer: Optimizer = optimizer.optimizer
        self.backward = module.manual_backward
        self.zero_grad = optimizer.zero_grad

    def step(self) -> None:
        self._lightning_optimizer.step()


class _Direct:
    """Steps by torch's own calls, which also count for Lightning's ``global_step``."""

    def __init__(self, trainer: Trainer, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress

    def zero_grad(self) -> None:
        for parameter in self._parameters:  # as torch does, but outside a profiler's context
            parameter.grad = None

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def step(self) -> None:
        self._progress.increment_ready()
        self.optimizer.step()
        self._progress.increment_completed()


def without_communication(strategy: Strategy) -> AbstractContextManager[Any]:
    """Return a context without exchange of gradients, for all batches of a step but the last."""
    block = getattr(strategy, "block_backward_sync", None)  # where there are several processes
    return nullcontext() if block is None else block()


def without_autocast(device_type: str) -> AbstractContextManager[Any]:
    """Return a context without autocast: the backward pass keeps the forward pass's precision."""
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()
