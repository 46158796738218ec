"""What ``task=lr_find`` leaves and shows: the curve as CSV and PNG, and how to use what it says."""

import csv
import io
import shlex
from pathlib import Path

from lab import terminal
from lab.atomic import atomic_write
from lab.config.schema import Config, GeometricSpread, LinearSpread, Optim
from lab.errors import ConfigError
from lab.optim.lr_finder import LrCurve, suggest
from lab.optim.lr_finder_plot import plot_curve
from lab.phases import PhasePlan

CURVE_FILE, PLOT_FILE = "lr_find.csv", "lr_find.png"
# What a fit would do and the range test does not, by what leaves it undone
_NOT_APPLIED = {
    "precision": ("32-true", "32", 32),
    "gradient_clip_val": (None,),
    "accumulate_grad_batches": (1,),
    "devices": (1, "auto"),
}


def report_curve(
    curve: LrCurve, config: Config, phase: PhasePlan, folder: Path, overrides: list[str]
) -> None:
    """Write ``lr_find.csv`` and ``lr_find.png``; say what is suggested and how to use it.

    Raises:
        ConfigError: the curve suggests nothing; the files are written all the same.
    """
    suggestions = suggest(curve)
    _write_csv(curve, folder / CURVE_FILE)
    of_phase = f", phase {phase.name}" if config.phases else ""
    title = f"{config.name}{of_phase}: range test with {phase.optim.name}"
    plot_curve(curve, suggestions, title, folder / PLOT_FILE)
    end = "diverged" if curve.diverged else "reached the last rate"
    terminal.say(
        f"{len(curve.lrs)} of {curve.steps} steps, then it {end}; curve: {folder / PLOT_FILE}"
    )
    changed = [
        f"trainer.{key}={config.trainer[key]}"
        for key, neutral in _NOT_APPLIED.items()
        if config.trainer.get(key, neutral[0]) not in neutral
    ]
    if changed:
        terminal.say(f"not part of the range test, so its rates may be off: {', '.join(changed)}")
    chosen = next((rate for rate in suggestions.values() if rate is not None), None)
    if chosen is None:
        raise ConfigError(_why_nothing(curve, folder / PLOT_FILE))
    terminal.show_suggestions(suggestions)
    if not curve.diverged and curve.smoothed[-1] == min(curve.smoothed):
        terminal.say("the loss still falls at the last rate; raise lr_find.last to see its minimum")
    own = config.phases.get(phase.name)
    lr_key = f"phases.{phase.name}.lr" if own and own.lr is not None else "optim.lr"
    spread = f"phases.{phase.name}" if own and own.lr_spread is not None else "optim"
    command = fit_command(
        overrides, phase.optim, curve.base_lr, chosen, (lr_key, f"{spread}.lr_spread.first")
    )
    terminal.say(f"use it: {command}", whole=True)


def fit_command(
    overrides: list[str],
    optim: Optim,
    base_lr: float,
    rate: float,
    keys: tuple[str, str] = ("optim.lr", "optim.lr_spread.first"),
) -> str:
    """The user's command as a fit in which the last group learns at ``rate``, to two digits.

    Every rate of the config grows by the same factor, so that the groups keep the ratios that were
    tested: ``lr_spread.first`` is a rate too, and under ``mult`` the last group's is not ``lr``.

    Args:
        base_lr: of the last group under ``optim``.
        keys: where the config states ``lr`` and ``lr_spread.first``.
    """
    lr_key, first_key = keys
    lr = f"{optim.lr * rate / base_lr:.2g}"
    rates = [f"{lr_key}={lr}"]
    if isinstance(optim.lr_spread, GeometricSpread | LinearSpread):
        rates.append(f"{first_key}={optim.lr_spread.first * float(lr) / optim.lr:.4g}")
    own = [o.removeprefix("++") for o in overrides]
    replaced = ("task", "lr_find", *keys)
    kept = [
        o
        for o in own
        if (key := o.partition("=")[0].lstrip("+~")) not in replaced
        and not key.startswith("lr_find.")
    ]
    return shlex.join(["python", "train.py", *kept, *rates])


def _why_nothing(curve: LrCurve, plot: Path) -> str:
    least = curve.steps // 10 + 8
    if len(curve.lrs) < least:
        return (
            f"lr_find: it diverged after {len(curve.lrs)} of {curve.steps} steps, too early for a "
            f"suggestion; begin lower (lr_find.first={curve.lrs[0] / 100:.1g})"
        )
    return (
        f"lr_find: the loss never falls, so there is nothing to suggest (see {plot}); "
        f"raise lr_find.last if it is still flat there, or lr_find.steps if it is noise"
    )


def _write_csv(curve: LrCurve, path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("lr", "loss", "smoothed"))
    writer.writerows(zip(curve.lrs, curve.losses, curve.smoothed, strict=True))
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
