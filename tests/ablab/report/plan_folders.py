"""Plan folders as a plan leaves them, written without running anything, and their tables."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ablab.report.forms.cells import columns_of
from ablab.report.table.comparison import compare
from ablab.report.table.tables import ReportTable, build_table
from ablab.runs.record import RunRecord

Metrics = dict[str, float] | str  # of the test part; or the status of a job that has none
LEVEL = {"none": 0.95, "l2": 0.92, "decoupled": 0.90}


def config_of(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    config: dict[str, Any] = {
        "name": "n",
        "seed": seed,
        "seeds": {"split": 42, "init": seed, "order": seed},
        "data": {"root": "data", "split": "u1"},
        "optim": {"lr": 0.1},
        "objective": {"metric": "rmse", "mode": "min"},
        "paths": {"runs": "runs", "data": "data"},
    }
    for key, value in settings.items():
        node = config
        *path, last = key.split(".")
        for name in path:
            node = node.setdefault(name, {})
        node[last] = value
    return config


def write_plan(
    folder: Path,
    result: Callable[[str | None, dict[str, Any], int], Metrics],
    *,
    variants: Sequence[str | None] = (None,),
    grid: Sequence[dict[str, Any]] = ({},),
    seeds: Sequence[int] = (0, 1, 2),
    same_as: dict[str, list[str]] | None = None,
    **plan: Any,
) -> Path:
    """A folder of ``variants`` × ``grid`` × ``seeds``, whose jobs end as ``result`` says.

    ``result`` gets variant, settings and seed, and gives test metrics, or a status; ``missing``
    leaves no folder. ``plan`` holds further fields of ``plan.json``.
    """
    folder.mkdir(parents=True)
    jobs = []
    for variant in variants:
        for settings in grid:
            for seed in seeds:
                named = "_".join(f"{value}" for value in (variant, *settings.values()))
                name = f"{named}_seed{seed}".replace("/", "").replace("<", "")
                jobs.append(
                    {
                        "folder": name,
                        "variant": variant,
                        "same_as": (same_as or {}).get(str(variant), []),
                        "settings": settings,
                        "seed": seed,
                        "config_hash": name,
                    }
                )
                write_job(folder / name, variant, settings, seed, result(variant, settings, seed))
    content = {
        "schema": 1,
        "name": "weight_decay",
        "baseline": {},
        "average": [],
        "axes": list(dict.fromkeys(key for settings in grid for key in settings)),
        "metrics": ["test/rmse"],
        "git": {"commit": "a" * 40, "dirty": False},
        "started": "2026-01-01T00:00:00",
        "jobs": jobs,
        **plan,
    }
    (folder / "plan.json").write_text(json.dumps(content))
    return folder


def write_job(
    folder: Path, variant: str | None, settings: dict[str, Any], seed: int, result: Metrics
) -> None:
    if result == "missing":
        return
    record = RunRecord.planned(config_of(settings, seed), [])
    record.begin()
    record.git = {"commit": "a" * 40, "dirty": False}
    record.plan = {"name": "weight_decay", "variant": variant, "settings": settings}
    record.directions = {"rmse": "min", "mae": "min", "accuracy": "max", "loss": "min"}
    record.device = "cpu x 1"
    if isinstance(result, str):
        record.status = result  # type: ignore[assignment]
        if result == "failed":
            record.error = {
                "type": "TrainingError",
                "message": "the loss is nan\nmore",
                "traceback": "",
            }
    else:
        record.status = "done"
        record.seconds = {"fit": 3.0, "total": 3.6}
        record.metrics = {"test": result, "chosen": {"val/rmse": result.get("rmse", 0.0) + 0.01}}
    folder.mkdir(parents=True)
    record.write(folder)


def rmse(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
    return {"rmse": LEVEL[variant or "none"] + 0.01 * seed}


def table_of(folder: Path) -> ReportTable:
    return build_table(compare([folder]))


def cells(table: ReportTable, title: str) -> tuple[str, ...]:
    (column,) = (column for column in columns_of(table) if column.title == title)
    return column.cells


def change(folder: Path, **fields: Any) -> None:
    record = RunRecord.read(folder)
    for name, value in fields.items():
        setattr(record, name, value)
    record.write(folder)
