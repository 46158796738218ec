"""Print a search: its progress, and at its end the best trials."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState
from rich.table import Table
from rich.text import Text

from ablab.ablation.search.study import SearchStudy
from ablab.report.write import console
from ablab.safety.printable import as_cell, printable
from ablab.terminal import about

_BEST = 5
_SEEDS = "seed=0,1,2,3,4"


def show_start(folder: Path, study: SearchStudy, total: int) -> None:
    ended = len(study.trials) - len(study.running())
    begun = f", {len(study.running())} to continue" if study.running() else ""
    before = f" ({ended} ended before{begun})" if ended or begun else ""
    console().print(f"search: {total} trials{before}; {os.path.relpath(folder)}", soft_wrap=True)


def show_progress(study: SearchStudy, metric: str, total: int, pace: float) -> None:
    """Print how many trials have ended, the best, and the time left at ``pace`` s a trial."""
    ended = len(study.trials) - len(study.running())
    best = study.best()
    found = f"best {metric} {best[0].value:.4f} (trial {best[0].number})" if best else "none done"
    left = f", {about((total - ended) * pace)} left" if ended < total else ""
    console().print(f"  {ended} of {total} trials, {found}{left}", soft_wrap=True)


def show_end(
    folder: Path, study: SearchStudy, metric: str, rest: list[str], stopped: Mapping[int, str]
) -> str | None:
    """Print the best trials, the importances, a command to repeat the best, and the failures.

    Args:
        rest: the overrides of the command line without the space.
        stopped: for the number of each trial that began and did not end, the reason.

    Returns:
        A line about the trials that have no value; None if all have one.
    """
    out = console()
    where = os.path.relpath(folder)
    best = study.best()
    if best:
        out.print(_best_table(study, metric))
        importances = study.importances()
        if importances:
            shares = ", ".join(f"{key} {share:.2f}" for key, share in importances.items())
            out.print(f"importance for being in the best quarter: {shares}", soft_wrap=True)
        out.print("to train the best with several seeds and test it:", soft_wrap=True)
        out.print(Text(f"  {command(study, best[0], rest)}"), soft_wrap=True)
        out.print(f"{where}/report.html, .md, .csv, .tex", soft_wrap=True)
    failed = [trial for trial in study.trials if trial.state is TrialState.FAIL]
    for trial in [*failed, *study.running()]:
        reason = trial.user_attrs["error"] if trial in failed else stopped[trial.number]
        name = trial.user_attrs.get("folder")
        log = f"\n    log: {where}/{name}/run.log" if name else ""
        out.print(Text(printable(f"  trial {trial.number}: {reason}{log}")), soft_wrap=True)
    counts = [
        *([f"{len(failed)} failed (a larger hydra.sweeper.trials adds others)"] if failed else []),
        *(
            [f"{len(study.running())} stopped (the same command continues them)"]
            if study.running()
            else []
        ),
    ]
    return f"{len(best)} done, {', '.join(counts)}" if counts else None


def command(study: SearchStudy, trial: FrozenTrial, rest: list[str]) -> str:
    """Return a command that trains the settings of ``trial`` with several seeds and tests."""
    kept = [word.removeprefix("++") for word in rest]
    kept = [word for word in kept if word.split("=")[0] not in ("seed", "test")]
    found = [f"{p.key}={p.text(trial.params[p.key])}" for p in study.space]
    return shlex.join(["python", "train.py", "-m", *kept, *found, _SEEDS])


def _best_table(study: SearchStudy, metric: str) -> Table:
    table = Table()
    for name in ("trial", *(p.key for p in study.space), metric, "folder"):
        table.add_column(as_cell(name), justify="left" if name == "folder" else "right")
    for trial in study.best()[:_BEST]:
        drawn = [p.text(trial.params[p.key]) for p in study.space]
        cells = [str(trial.number), *drawn, f"{trial.value:.4f}", trial.user_attrs["folder"]]
        table.add_row(*map(as_cell, cells))
    return table
