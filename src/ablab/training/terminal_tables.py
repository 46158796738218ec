"""Tables that a run shows at the terminal; rank 0 only."""

import math
import time

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from rich.table import Table
from torch.optim import Optimizer

from ablab.config.metric_names import without_stage
from ablab.config.schema import Objective
from ablab.optim.optimizers import describe_groups
from ablab.safety.printable import as_cell, in_a_line
from ablab.terminal import console, say
from ablab.training.checkpointing import EpochMetrics
from ablab.training.logged import Position
from ablab.training.phases import PhasePlan

COLUMN = 7  # the width of a column of numbers, at least


@rank_zero_only
def show_groups(phase: PhasePlan, optimizer: Optimizer) -> None:
    """Print the parameter groups of a phase: their rates, their weight decay, what is frozen."""
    assert phase.optim is not None
    assert phase.schedule is not None
    title = f"{phase.name}: {phase.optim.label}, schedule {phase.schedule.name}"
    table = Table(title=as_cell(title), title_justify="left")
    rows = describe_groups(optimizer)
    several = len({row.optimizer for row in rows}) > 1
    texts = ("group", "optimiser") if several else ("group",)
    for column in (*texts, "parameters", "lr", "weight decay", "frozen"):  # 80 columns hold them
        table.add_column(column, justify="left" if column in texts else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            as_cell(row.name),
            *([as_cell(row.optimizer)] if several else []),
            f"{row.parameters:,}",
            f"{row.lr:.3g}",
            f"{row.weight_decay:.3g} {row.mode}" if row.weight_decay else "none",
            f"{row.frozen} tensors" if row.frozen else "",
        )
    console().print(table)


@rank_zero_only
def show_own_optimizers(phase: PhasePlan, module: LightningModule, trainer: Trainer) -> None:
    """Print the optimisers that a module has configured itself, a row for each of their groups."""
    title = f"{phase.name}: optimisers of {type(module).__name__}"
    table = Table(title=as_cell(title), title_justify="left")
    for column in ("optimiser", "parameters", "lr", "weight decay", "frozen"):
        table.add_column(column, justify="left" if column == "optimiser" else "right", no_wrap=True)
    for optimizer in trainer.optimizers:
        for group in optimizer.param_groups:
            frozen = sum(not p.requires_grad for p in group["params"])
            table.add_row(
                as_cell(" ".join([type(optimizer).__name__, *filter(None, [group.get("name")])])),
                f"{sum(p.numel() for p in group['params']):,}",
                f"{float(group['lr']):.3g}" if "lr" in group else "",
                f"{float(group.get('weight_decay', 0.0)):.3g}",
                f"{frozen} tensors" if frozen else "",
            )
    console().print(table)


@rank_zero_only
def show_test(
    model: str,
    metrics: dict[str, float],
    baselines: dict[str, dict[str, float]],
) -> None:
    """Test metrics beside those of the data's baselines on the same rows.

    Of metrics of several numbers, such as one for each class, the numbers are only counted.
    """
    every, metrics = metrics, {name: v for name, v in metrics.items() if "/" not in name}
    more = len(every) - len(metrics)
    table = Table()
    table.add_column("on the test part")
    for name in metrics:
        table.add_column(as_cell(name), justify="right")
    for label, values in {model: metrics, **baselines}.items():
        table.add_row(as_cell(label), *(f"{values[m]:.4f}" if m in values else "" for m in metrics))
    console().print(table)
    if more:
        say(f"{more} more numbers are in run.json, under metrics.test")


@rank_zero_only
def warn_of_baselines(
    objective: Objective, metrics: dict[str, float], baselines: dict[str, dict[str, float]]
) -> None:
    """Say which baselines are better than the model, by the objective's metric."""
    sign = 1 if objective.mode == "min" else -1
    metric = without_stage(objective.metric)
    ours = metrics.get(metric, math.nan)
    better = [
        name
        for name, values in baselines.items()
        if metric in values and sign * values[metric] < sign * ours
    ]
    if better:
        say(
            f"worse than {' and '.join(better)} by {metric}: train longer, or look for a "
            f"learning rate with task=lr_find"
        )


class EpochLines(Callback):
    """A line for each epoch: what was measured, and how long it took.

    Written when the next epoch or the end begins: only then has the module reported the epoch.
    """

    def begin_phase(self, phase: PhasePlan, position: Position) -> None:
        """Prepare for the fit of a phase."""
        self._phase, self._position = phase, position

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._phase.optim is None:
            show_own_optimizers(self._phase, pl_module, trainer)
        else:
            show_groups(self._phase, trainer.optimizers[0])
        self._started = time.perf_counter()
        self._epoch = trainer.current_epoch
        self._metrics = EpochMetrics()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._metrics.begin_validation(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._metrics.end_validation(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close(trainer, pl_module)

    def _close(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == self._epoch:  # none has ended since the last line
            return
        now = time.perf_counter()
        values = self._metrics.read(trainer)
        values = {name: v for name, v in values.items() if name.count("/") < 2}  # not of a class
        self.show(trainer, pl_module, values, now - self._started)
        self._started, self._epoch = now, trainer.current_epoch

    def show(
        self, trainer: Trainer, module: LightningModule, values: dict[str, float], seconds: float
    ) -> None:
        """Show an epoch that has ended, the one before ``trainer.current_epoch``."""
        shown = "  ".join(f"{k} {v:.4f}" for k, v in values.items())
        say(
            f"{self._phase.name} epoch {trainer.current_epoch:>3}/{trainer.max_epochs}  "
            f"{shown}  {seconds:.1f} s",
            whole=True,
        )


def heads(name: str) -> tuple[str, str]:
    """Return the two lines above a column."""
    stage, _, rest = in_a_line(name.removesuffix("_epoch")).rpartition("/")
    return stage, rest


def number(value: float) -> str:
    """Return ``value`` with up to four decimals, in no more than a column's width."""
    for decimals in (4, 3, 2, 1, 0):
        if len(text := f"{value:.{decimals}f}") <= COLUMN:
            return text
    return f"{value:.1e}"
