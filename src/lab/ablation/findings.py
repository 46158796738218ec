"""What a search shows at the terminal: where it stands, and in the end what it has found."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState
from rich.table import Table
from rich.text import Text

from lab.ablation.listing import duration
from lab.ablation.study import SearchStudy
from lab.printable import as_cell, printable
from lab.report.write import console

_BEST = 5
_SEEDS = "seed=0,1,2,3,4"


def show_start(folder: Path, study: SearchStudy, total: int) -> None:
    told = len(study.trials) - len(study.running())
    begun = f", {len(study.running())} to go on with" if study.running() else ""
    before = f" ({told} ended before{begun})" if told or begun else ""
    console().print(f"search: {total} trials{before}; {os.path.relpath(folder)}", soft_wrap=True)


def show_progress(study: SearchStudy, metric: str, total: int, pace: float) -> None:
    """A line: how many trials have ended, the best so far, the time left at ``pace`` s a trial."""
    ended = len(study.trials) - len(study.running())
    best = study.best()
    found = f"best {metric} {best[0].value:.4f} (trial {best[0].number})" if best else "none done"
    left = f", about {duration((total - ended) * pace)} left" if ended < total else ""
    console().print(f"  {ended} of {total} trials, {found}{left}", soft_wrap=True)


def show_end(
    folder: Path, study: SearchStudy, metric: str, said: list[str], stopped: Mapping[int, str]
) -> str | None:
    """The best trials, what mattered, the command to go on with; then what has no value, and why.

    Args:
        said: the command line without the space.
        stopped: numbers of trials that have begun and have no end, and why.

    Returns:
        A line about trials that have no value, None if all have one.
    """
    out = console()
    where = os.path.relpath(folder)
    best = study.best()
    if best:
        out.print(_best_table(study, metric))
        importances = study.importances()
        if importances:
            told = ", ".join(f"{key} {share:.2f}" for key, share in importances.items())
            out.print(f"what decided over being among the best quarter: {told}", soft_wrap=True)
        out.print("the best, with several seeds and tested:", soft_wrap=True)
        out.print(Text(f"  {command(study, best[0], said)}"), soft_wrap=True)
        out.print(f"{where}/report.html, .md, .csv, .tex", soft_wrap=True)
    failed = [trial for trial in study.trials if trial.state is TrialState.FAIL]
    for trial in [*failed, *study.running()]:
        told = trial.user_attrs["error"] if trial in failed else stopped[trial.number]
        name = trial.user_attrs.get("folder")
        log = f"\n    log: {where}/{name}/run.log" if name else ""
        out.print(Text(printable(f"  trial {trial.number}: {told}{log}")), soft_wrap=True)
    counts = [
        *([f"{len(failed)} failed (hydra.sweeper.trials=… adds others)"] if failed else []),
        *(
            [f"{len(study.running())} stopped (the same command goes on)"]
            if study.running()
            else []
        ),
    ]
    return f"{len(best)} done, {', '.join(counts)}" if counts else None


def command(study: SearchStudy, trial: FrozenTrial, said: list[str]) -> str:
    """Trains with the settings of ``trial`` and several seeds, and tests."""
    kept = [word.removeprefix("++") for word in said]
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
