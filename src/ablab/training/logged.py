"""Keep what a module logs with ``self.log`` on the run's own axis, and whole when it continues.

Lightning counts batches, anew in each fit, and writes what a step or an epoch has logged after the
checkpoint of that step or epoch. A run that is killed in between would lose it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torchmetrics import Metric

from ablab.runs.checkpoints import Progress
from ablab.trackers import Tracker
from ablab.training.ranks import gather_objects


@dataclass
class Position:
    """The position of a run, from the start of its first phase; ``trainer`` is of this phase."""

    before: Progress
    trainer: Trainer | None = None

    @property
    def steps(self) -> int:
        return self.before.steps + (self.trainer.global_step if self.trainer else 0)

    @property
    def epochs(self) -> int:
        return self.before.epochs + (self.trainer.current_epoch if self.trainer else 0)


class OnRunAxis:
    """A tracker as Lightning and modules see it: what they log is of the run's present step.

    A value that has been logged at this step already is left out.
    """

    def __init__(self, tracker: Tracker, position: Position) -> None:
        self.tracker = tracker
        self._position = position
        self._step = -1
        self._logged: dict[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tracker, name)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        step = self._position.steps
        if step != self._step:
            self._step, self._logged = step, {}
        new = {k: v for k, v in metrics.items() if k != "epoch" and self._logged.get(k) != v}
        if new:
            self._logged |= new
            self.tracker.log_metrics({"epoch": float(self._position.epochs), **new}, step)


def report_at(loggers: list[Any], values: Mapping[str, float], step: int) -> None:
    """Log ``values`` as those of an optimiser step that need not be the present one."""
    for logger in loggers:
        # Under fast_dev_run Lightning has a logger of its own.
        own = logger.tracker if isinstance(logger, OnRunAxis) else logger
        own.log_metrics(dict(values), step=step)


def write_logged(trainer: Trainer) -> None:
    """Write what the step or the epoch that ends has logged, before Lightning does."""
    connector = trainer._logger_connector
    if connector._first_loop_iter is not None:
        connector.update_train_step_metrics()
    else:
        connector.log_metrics(connector.metrics["log"])


class LoggedSums(Callback):
    """Keep the unfinished sums of an epoch in checkpoints: those of ``self.log`` and of metrics.

    Lightning would measure a continued epoch over its remaining batches alone. Each rank has sums
    of its own, and continues with them.
    """

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, Any]] = {}  # of names that have not been logged again
        self._metrics: dict[str, dict[str, Any]] = {}

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.is_last_batch:  # the epoch has ended
            return
        sums = {k: _sum(m) for k, m in _results(trainer).items() if m.is_tensor and m.meta.on_epoch}
        metrics = {name: _state(m) for name, m in _metrics_of(pl_module) if m.update_count}
        own = {"sums": {**self._sums, **sums}, "metrics": metrics}
        checkpoint["logged_by_rank"] = gather_objects(own)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if of_ranks := checkpoint.get("logged_by_rank"):
            own = of_ranks[trainer.global_rank]
            self._sums, self._metrics = own["sums"], own["metrics"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, metric in _metrics_of(pl_module):
            for key, value in self._metrics.get(name, {}).items():
                setattr(metric, key, _on(pl_module.device, value))
        self._metrics = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        results = _results(trainer)
        for key in [key for key in self._sums if key in results]:
            before, metric = self._sums.pop(key), results[key]
            value = before["value"].to(metric.value.device)
            if metric.meta.is_max_reduction or metric.meta.is_min_reduction:
                metric.value = metric.meta.reduce_fx(metric.value, value)
            else:
                metric.value = value + metric.value
            if metric.meta.is_mean_reduction:
                metric.cumulated_batch_size = metric.cumulated_batch_size + before["rows"]


def _results(trainer: Trainer) -> dict[str, Any]:
    return trainer.fit_loop.epoch_loop._results


def _sum(result: Any) -> dict[str, Any]:
    rows = int(result.cumulated_batch_size) if result.meta.is_mean_reduction else 0
    return {"value": result.value.cpu().clone(), "rows": rows}


def _metrics_of(module: LightningModule) -> list[tuple[str, Metric]]:
    return [(name, m) for name, m in module.named_modules() if isinstance(m, Metric)]


def _state(metric: Metric) -> dict[str, Any]:
    state = {key: _on(torch.device("cpu"), value) for key, value in metric.metric_state.items()}
    return {**state, "_update_count": metric.update_count}


def _on(device: torch.device, value: Any) -> Any:
    if isinstance(value, list):
        return [_on(device, inner) for inner in value]
    return value.to(device) if isinstance(value, torch.Tensor) else value
