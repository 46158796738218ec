"""The fit of a run on a terminal: a row for each epoch, and below them how far the run is."""

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ablab.config.metric_names import monitored
from ablab.config.schema import Config
from ablab.config.source_reading.signatures import signature_of
from ablab.safety.printable import in_a_line
from ablab.safety.streams import is_live_terminal
from ablab.terminal import about, console, live
from ablab.training.module import SupervisedModule
from ablab.training.phases import PhasePlan, plan_phases, steps_of_a_fit, steps_of_an_epoch
from ablab.training.ranks import is_main_process
from ablab.training.terminal_tables import COLUMN, EpochLines, heads, number

_INTERVAL = 0.2  # seconds between two drawings, each of which takes about a millisecond
_MEASURED = 1.0  # seconds of training before the time left is worth showing
_GAP = 2
_LEAST_BAR = 10
_PROGRESS_BAR = "lightning.pytorch.callbacks.progress.progress_bar.ProgressBar"


def epoch_lines(config: Config) -> AbstractContextManager[EpochLines]:
    """Return what shows the epochs of a run: a live table on a terminal, elsewhere plain lines."""
    nodes = [node for node in config.callbacks.values() if node]
    has_own = any(_PROGRESS_BAR in signature_of(node["_target_"]).bases for node in nodes)
    wanted = config.trainer.get("enable_progress_bar") is not False and not has_own
    if wanted and is_main_process() and is_live_terminal():
        return EpochTable(plan_phases(config), monitored(config.objective.model_dump()))
    return nullcontext(EpochLines())


class EpochTable(EpochLines):
    """One table and one bar for all phases of a run; epochs and steps are those of the whole run.

    Args:
        phases: of the run, in their order.
        metric: a column that is always shown; others give way where the terminal is narrow.
    """

    def __init__(self, phases: Sequence[PhasePlan], metric: str) -> None:
        self._phases = phases
        self._metric = metric
        self._columns: dict[str, int] = {}  # their widths
        self._drawn = 0.0

    def __enter__(self) -> Self:
        self._open = live()
        self._live = self._open.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        before = self._position.before
        later = sum(phase.epochs or 0 for phase in self._phases[before.phase + 1 :])
        # How many steps a module takes in a batch is not known if it takes them itself.
        counts_steps = isinstance(pl_module, SupervisedModule) or pl_module.automatic_optimization
        self._unit = "steps" if counts_steps else "batches"
        of_an_epoch = steps_of_an_epoch(trainer, self._phase.steps)
        self._before = before.steps if counts_steps else before.epochs * of_an_epoch
        self._steps = self._before + steps_of_a_fit(trainer, self._phase.steps)
        self._steps += later * of_an_epoch if later else 0
        self._epochs = None
        if trainer.max_epochs not in (None, -1):
            self._epochs = before.epochs + trainer.max_epochs + later
        self._measured_from: tuple[float, int] | None = None
        self._columns = {}
        self._draw(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._measured_from is None:  # the first step is slower: it may compile kernels
            self._measured_from = time.monotonic(), self._taken(trainer)
        self._draw_if_due(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_start(trainer, pl_module)
        if trainer.validating:  # and not at the check before the first step
            self._draw_if_due(trainer, pl_module)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any
    ) -> None:
        if trainer.validating:
            self._draw_if_due(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if trainer.validating and not trainer.is_last_batch:  # else the epoch's row has it
            values = self._metrics.of_validation(trainer)
            values = {name: value for name, value in values.items() if name.count("/") < 2}
            self._add_row(trainer, pl_module, "", values, "")

    def show(
        self, trainer: Trainer, module: LightningModule, values: dict[str, float], seconds: float
    ) -> None:
        self._draw(trainer, module)
        epoch = self._of_epochs(self._position.epochs)
        self._add_row(trainer, module, epoch, values, f"{seconds:.1f}")

    # -- rows ------------------------------------------------------------------------------------

    def _add_row(
        self,
        trainer: Trainer,
        module: LightningModule,
        epoch: str,
        values: dict[str, float],
        seconds: str,
    ) -> None:
        if not self._columns or console().width != self._width:  # the window has another size
            self._width = console().width
            self._columns = self._fitting(_names(trainer, module, values))
            for line in zip(*map(heads, self._columns), strict=True):
                self._print(line, bold=True)
        cells = {"epoch": epoch, "step": f"{self._position.steps:,}", "seconds": seconds}
        cells |= {name: number(value) for name, value in values.items()}
        self._print([cells.get(name, "") for name in self._columns])

    def _fitting(self, names: list[str]) -> dict[str, int]:
        """Return the columns that the terminal has room for, with their widths."""
        longest = {"epoch": self._of_epochs(self._epochs or 0), "step": f"{self._steps:,}"}
        widths = {
            name: max(
                *map(len, heads(name)),
                len(longest[name]) if name in longest else (COLUMN if name != "seconds" else 0),
            )
            for name in ["epoch", "step", *names, "seconds"]
        }
        for name in reversed(names):
            if sum(widths.values()) + _GAP * (len(widths) - 1) < console().width:
                break
            if name not in ("train/loss_epoch", self._metric):
                del widths[name]
        return widths

    def _print(self, cells: Sequence[str], *, bold: bool = False) -> None:
        widths = self._columns.values()
        line = (" " * _GAP).join(
            cell.rjust(width) for cell, width in zip(cells, widths, strict=True)
        )
        console().print(Text(line, style="bold" if bold else ""), no_wrap=True, crop=True)

    # -- the bar ---------------------------------------------------------------------------------

    def _draw_if_due(self, trainer: Trainer, module: LightningModule) -> None:
        if time.monotonic() - self._drawn >= _INTERVAL:
            self._draw(trainer, module)

    def _draw(self, trainer: Trainer, module: LightningModule) -> None:
        self._drawn = time.monotonic()
        known = math.isfinite(self._steps)
        step, steps = self._taken(trainer), f"{self._steps:,.0f}"
        phase = f"{self._phase.name}: " if len(self._phases) > 1 else ""
        ended = trainer.current_epoch == trainer.max_epochs
        label = f"{phase}epoch {self._of_epochs(self._position.epochs + (not ended))}"
        loss = module.running_loss.latest if isinstance(module, SupervisedModule) else None
        left = self._seconds_left(trainer, step)
        after = [
            f"{step:>{len(steps)},} of {steps} {self._unit}" if known else f"{step:,} {self._unit}",
            "" if loss is None else f"loss {number(loss)}",
            "validating" if trainer.validating else "" if left is None else f"{about(left)} left",
        ]
        room = console().width - len(label) - sum(len(text) + _GAP for text in after)
        if room < _LEAST_BAR + _GAP:
            after[1] = ""
        line = Table.grid(expand=True, padding=(0, _GAP, 0, 0))
        texts = [text for text in after if text]
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        for _ in texts:
            line.add_column(no_wrap=True)
        bar = ProgressBar(total=self._steps if known else None, completed=step)
        line.add_row(Text(in_a_line(label)), bar, *map(Text, texts))
        self._live.update(line, refresh=True)

    def _taken(self, trainer: Trainer) -> int:
        """Return how many steps or batches of the run are done."""
        if self._unit == "steps":
            return self._position.steps
        return int(self._before) + trainer.fit_loop.total_batch_idx + 1

    def _of_epochs(self, number: int) -> str:
        return f"{number}" if self._epochs is None else f"{number}/{self._epochs}"

    def _seconds_left(self, trainer: Trainer, step: int) -> float | None:
        """Return how long the rest takes at the pace of this phase, or None while it is unknown."""
        if self._measured_from is None:
            return None
        began, first = self._measured_from
        taken = time.monotonic() - began
        if taken < _MEASURED or step == first or not math.isfinite(self._steps):
            return None
        left = taken / (step - first) * (self._steps - step)
        timers = [c for c in trainer.callbacks if isinstance(c, Timer)]  # pyright: ignore[reportAttributeAccessIssue]
        limits = [timer.time_remaining() for timer in timers]
        return min([left, *(limit for limit in limits if limit is not None)])


def _names(trainer: Trainer, module: LightningModule, values: dict[str, float]) -> list[str]:
    """Return the columns of numbers, also of those that are not measured after each epoch."""
    if not isinstance(module, SupervisedModule):
        return list(values)
    validated = ["loss", *module.metric_names] if trainer.limit_val_batches else []
    validated = [name for name in validated if name not in module.several]
    return list(
        dict.fromkeys(["train/loss_epoch", *(f"val/{name}" for name in validated), *values])
    )
