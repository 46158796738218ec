"""Write the curve of ``task=lr_find`` as CSV and PNG, and print the settings to use."""

import csv
import io
from pathlib import Path

from ablab import terminal
from ablab.config.schema import Config
from ablab.config.schema.optimiser import GeometricSpread, LinearSpread, Optim
from ablab.errors import ConfigError
from ablab.safety.atomic_files import atomic_write
from ablab.training.phases import PhasePlan
from ablab.training.range_test.curve import LrCurve, suggest
from ablab.training.range_test.plot import plot_curve

CURVE_FILE, PLOT_FILE = "lr_find.csv", "lr_find.png"
# Settings of the trainer that a fit obeys and the range test ignores; these values change nothing.
_NOT_APPLIED = {
    "precision": ("32-true", "32", 32),
    "gradient_clip_val": (None,),
    "accumulate_grad_batches": (1,),
    "devices": (1, "auto"),
}


def report_curve(curve: LrCurve, config: Config, phase: PhasePlan, folder: Path) -> None:
    """Write ``lr_find.csv`` and ``lr_find.png``; print the suggested rate and how to set it.

    Raises:
        ConfigError: the curve suggests nothing; the files are written all the same.
    """
    suggestion, optim = suggest(curve), phase.optim
    assert optim is not None
    _write_csv(curve, folder / CURVE_FILE)
    of_phase = f", phase {phase.name}" if config.phases else ""
    title = f"{config.name}{of_phase}: range test with {optim.label}"
    plot_curve(curve, suggestion, title, folder / PLOT_FILE)
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
        terminal.say(
            f"The range test ignores {', '.join(changed)}, so its rates may not fit the run."
        )
    if suggestion is None:
        raise ConfigError(_why_nothing(curve, folder / PLOT_FILE))
    if not curve.diverged and curve.smoothed[-1] == min(curve.smoothed):
        terminal.say("The loss still falls at the last rate; raise lr_find.last to see it rise.")
    own = config.phases.get(phase.name)
    lr_key = f"phases.{phase.name}.lr" if own and own.lr is not None else "optim.lr"
    spread = f"phases.{phase.name}" if own and own.lr_spread is not None else "optim"
    keys = (lr_key, f"{spread}.lr_spread.first")
    settings = " ".join(settings_for(optim, curve.base_lr, suggestion, keys))
    terminal.say(
        f"suggested rate of the last layer group: {suggestion:.2g} (a first guess); set {settings}"
    )


def settings_for(
    optim: Optim,
    base_lr: float,
    rate: float,
    keys: tuple[str, str] = ("optim.lr", "optim.lr_spread.first"),
) -> list[str]:
    """Return the settings with which the last layer group learns at ``rate``, to two digits.

    Every rate of the config grows by the same factor, so that the groups keep the ratios that were
    tested: ``lr_spread.first`` is a rate too, and under ``mult`` the last group's is not ``lr``.

    Args:
        base_lr: rate of the last layer group under ``optim``.
        keys: where the config has ``lr`` and ``lr_spread.first``.
    """
    lr_key, first_key = keys
    lr = f"{optim.lr * rate / base_lr:.2g}"
    settings = [f"{lr_key}={lr}"]
    if isinstance(optim.lr_spread, GeometricSpread | LinearSpread):
        settings.append(f"{first_key}={optim.lr_spread.first * float(lr) / optim.lr:.4g}")
    return settings


def _why_nothing(curve: LrCurve, plot: Path) -> str:
    least = curve.steps // 10 + 8
    if len(curve.lrs) < least:
        return (
            f"lr_find: the loss diverged after {len(curve.lrs)} of {curve.steps} steps, too early "
            f"for a suggestion; begin lower (lr_find.first={curve.lrs[0] / 100:.1g})"
        )
    return (
        f"lr_find: the loss never falls, so there is nothing to suggest (see {plot}); raise "
        f"lr_find.last if the curve is flat to its end, or lr_find.steps if it is noisy"
    )


def _write_csv(curve: LrCurve, path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("lr", "loss", "smoothed"))
    writer.writerows(zip(curve.lrs, curve.losses, curve.smoothed, strict=True))
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
