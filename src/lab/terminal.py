"""What a run shows at the terminal; rank 0 only."""

import functools
import time

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table

from lab.config.schema import Objective
from lab.module import SupervisedModule
from lab.optim.optimizers import build_optimizer, describe_groups
from lab.printable import as_cell, printable
from lab.run_checkpoints import epoch_metrics


@functools.cache
def console() -> Console:
    """Return the console of this process, made when it is first needed: it looks at the terminal
    then. It is one, since a live table makes way for what is printed on the same console only."""
    return Console(highlight=False)


@rank_zero_only
def say(text: str, *, whole: bool = False) -> None:
    """Show ``text``; on a terminal its lines end between words.

    Args:
        whole: leave that to the terminal, so that a path or a command is copied in one piece.
    """
    soft_wrap = whole or not console().is_terminal
    console().print(printable(text), markup=False, soft_wrap=soft_wrap)


@rank_zero_only
def show_groups(model: SupervisedModule) -> None:
    """The parameter groups as the phase will have them: rates, decay and what is frozen."""
    phase = model.phase
    title = f"{phase.name}: {phase.optim.name}, schedule {phase.schedule.name}"
    table = Table(title=as_cell(title), title_justify="left")
    for column in ("group", "parameters", "lr", "weight decay", "frozen"):  # 80 columns hold them
        table.add_column(column, justify="left" if column == "group" else "right", no_wrap=True)
    for row in describe_groups(build_optimizer(model, phase.optim)):
        table.add_row(
            as_cell(row.name),
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
    """Test metrics beside those of the data's baselines on the same rows."""
    table = Table()
    table.add_column("on the test part")
    for name in metrics:
        table.add_column(as_cell(name), justify="right")
    for label, values in {model: metrics, **baselines}.items():
        table.add_row(as_cell(label), *(f"{values[m]:.4f}" if m in values else "" for m in metrics))
    console().print(table)


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


@rank_zero_only
def show_suggestions(suggestions: dict[str, float | None]) -> None:
    """Learning rates that a range test suggests, by the rule that found them."""
    table = Table()
    table.add_column("suggestion")
    table.add_column("lr of the last group", justify="right")
    for name, rate in suggestions.items():
        table.add_row(name, "none" if rate is None else f"{rate:.2g}")
    console().print(table)


class EpochLines(Callback):
    """A line for each epoch: what was measured, and how long it took.

    Written when the next epoch or the end begins: only then has the module reported the epoch.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
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
