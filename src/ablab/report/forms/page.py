"""The HTML page of a table: one file with its pictures, without scripts or network."""

import base64
from importlib.resources import files
from typing import Any

from ablab.report.forms.cells import Column, columns_of
from ablab.report.forms.notes import failures_of, notes_of
from ablab.report.table.tables import ReportTable

TEMPLATE = "page.html.jinja"


def page(table: ReportTable) -> str:
    """Return the page; every name from a config or a folder is escaped."""
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
    """Return the overrides that all runs share, in the order of the first run."""
    each = [job.record.overrides for job in table.comparison.jobs if job.record is not None]
    return [word for word in each[0] if all(word in words for words in each)] if each else []


def _pictures(table: ReportTable) -> list[dict[str, str]]:
    from ablab.report.pictures.every import draw  # imported here, since it imports matplotlib

    return [
        {
            "title": picture.title,
            "caption": picture.caption,
            "source": f"data:image/svg+xml;base64,{base64.b64encode(picture.svg).decode()}",
        }
        for picture in draw(table)
    ]
