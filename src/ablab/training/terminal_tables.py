"""Tables that a run shows at the terminal; rank 0 only."""

import time

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from rich.table import Table
from torch.optim import Optimizer

from ablab.config.schema import Objective
from ablab.optim.optimizers import describe_groups
from ablab.safety.printable import as_cell
from ablab.terminal import console, say
from ablab.training.checkpointing import epoch_metrics
from ablab.training.module import SupervisedModule
from ablab.training.phases import PhasePlan


@rank_zero_only
def show_groups(phase: PhasePlan, optimizer: Optimizer) -> None:
    """Print the parameter groups of a phase: their rates, their weight decay, what is frozen."""
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
    ours = metrics[objective.metric]
    better = [
        name
        for name, values in baselines.items()
        if objective.metric in values and sign * values[objective.metric] < sign * ours
    ]
    if better:
        say(
            f"worse than {' and '.join(better)} by {objective.metric}: train longer, or look for a "
            f"learning rate with task=lr_find"
        )


class EpochLines(Callback):
    """A line for each epoch: what was measured, and how long it took.

    Written when the next epoch or the end begins: only then has the module reported the epoch.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, SupervisedModule)
        show_groups(pl_module.phase, trainer.optimizers[0])
        self._started = time.perf_counter()
        self._epoch = trainer.current_epoch
        self._validated_at = -1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validated_at = trainer.global_step

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close(trainer, pl_module)

    def _close(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == self._epoch:  # none has ended since the last line
            return
        assert isinstance(pl_module, SupervisedModule)
        now = time.perf_counter()
        values = epoch_metrics(trainer, self._validated_at)
        values = {name: v for name, v in values.items() if name.count("/") < 2}  # not of a class
        self.show(trainer, pl_module, values, now - self._started)
        self._started, self._epoch = now, trainer.current_epoch

    def show(
        self, trainer: Trainer, module: SupervisedModule, values: dict[str, float], seconds: float
    ) -> None:
        """Show an epoch that has ended, the one before ``trainer.current_epoch``."""
        shown = "  ".join(f"{k} {v:.4f}" for k, v in values.items())
        say(
            f"{module.phase.name} epoch {trainer.current_epoch:>3}/{trainer.max_epochs}  "
            f"{shown}  {seconds:.1f} s",
            whole=True,
        )
