"""One HTML page of a table: no script, no network, pictures within."""

import base64
from importlib.resources import files
from typing import Any

from ablab.report.forms.cells import Column, columns_of
from ablab.report.forms.notes import failures_of, notes_of
from ablab.report.table.tables import ReportTable

TEMPLATE = "page.html.jinja"


def page(table: ReportTable) -> str:
    """The page as text; every name that comes from a config or a folder is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        files("ablab.report.forms").joinpath(TEMPLATE).read_text("utf-8")
    )
    comparison = table.comparison
    return template.render(
        title=comparison.title,
        claim=comparison.plan.claim if comparison.plan else None,
        command=comparison.plan.command if comparison.plan else None,
        overrides=" ".join(_common_overrides(table)),
        columns=[_shown(column) for column in columns_of(table)],
        rows=range(len(table.rows)),
        notes=notes_of(table),
        failures=failures_of(comparison.jobs),
        pictures=_pictures(table),
    )


def _shown(column: Column) -> dict[str, Any]:
    right = column.kind in ("metric", "cost")
    return {"title": column.title, "cells": column.cells, "best": column.best, "right": right}


def _common_overrides(table: ReportTable) -> list[str]:
    """What all runs were told, in the words of the first."""
    said = [job.record.overrides for job in table.comparison.jobs if job.record is not None]
    return [o for o in said[0] if all(o in overrides for overrides in said)] if said else []


def _pictures(table: ReportTable) -> list[dict[str, str]]:
    from ablab.report.pictures.every import draw  # imports matplotlib

    return [
        {
            "title": picture.title,
            "caption": picture.caption,
            "source": f"data:image/svg+xml;base64,{base64.b64encode(picture.svg).decode()}",
        }
        for picture in draw(table)
    ]
