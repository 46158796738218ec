"""The HTML page of a table: one file with its pictures, a script of ours, and no network.

A strict Content-Security-Policy lets only that script and style run, by their hashes. The results
lie in the page as the JSON document of a report, so that the script can compare with any row.
"""

import base64
import hashlib
import os
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from ablab.report.describe import report_document
from ablab.report.documents import as_json
from ablab.report.forms.cells import Column, columns_of, decimals
from ablab.report.forms.conclusion_lines import conclusion_lines
from ablab.report.forms.notes import failures_of, notes_of
from ablab.report.pictures.forest import forest
from ablab.report.table.conclusion import conclude
from ablab.report.table.tables import ReportTable


def page(table: ReportTable, base: Path) -> str:
    """Return the page, with links that are relative to the folder ``base`` in which it will lie.

    Every name from a config or a folder is escaped.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_file("page.html.jinja"))
    style, script = _file("page.css"), _script()
    conclusion = conclude(table)
    differences = forest(table, conclusion, style="")
    return template.render(
        title=table.comparison.title,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        data=_data(table, base),
        conclusion=conclusion_lines(table, conclusion),
        forest=differences,
        forest_svg=differences.svg.decode() if differences else "",
        overrides=" ".join(_common_overrides(table)),
        columns=_columns(table),
        compared=any(baseline is not None for baseline in table.baselines),
        rows=range(len(table.rows)),
        notes=notes_of(table),
        failures=failures_of(table.comparison.jobs),
        pictures=_pictures(table),
    )


def _file(name: str) -> str:
    return files("ablab.report.forms").joinpath(name).read_text("utf-8")


def _script() -> str:
    """Return the files of the script as one block, which does nothing on a page without a table."""
    inside = "".join(map(_file, ("page.js", "page.statistics.js", "page.parallel.js")))
    return f'"use strict";\nif (document.querySelector("table.rows")) {{\n{inside}}}\n'


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _data(table: ReportTable, base: Path) -> str:
    """Return the report as JSON in which no name can end the element that it stands in."""
    document = report_document(table)
    jobs = [replace(job, folder=os.path.relpath(job.folder, base)) for job in document.jobs]
    # The page shows the conclusion itself.
    text = as_json(replace(document, jobs=tuple(jobs), conclusion=()), indent=None)
    return text.replace("<", "\\u003c")


def _columns(table: ReportTable) -> list[dict[str, Any]]:
    """Return the columns; without a baseline, hidden ones for differences to a chosen row."""
    columns = columns_of(table)
    metrics = table.comparison.metrics
    if not any(column.kind == "difference" for column in columns):
        after = len(table.comparison.keys) + len(metrics)
        empty = tuple("" for _ in table.rows)
        columns[after:after] = [
            Column(f"Δ {metric} [95 %]", "difference", empty) for metric in metrics
        ]
    by_kind: dict[str, int] = {}
    shown = []
    for column in columns:
        number = by_kind[column.kind] = by_kind.get(column.kind, -1) + 1
        metric = metrics[number] if column.kind in ("metric", "difference") else ""
        shown.append(
            {
                "title": column.heading,
                "kind": column.kind,
                "metric": metric,
                "digits": decimals(table.rows, metric) if metric else "",
                "cells": [column.marked(index) for index in range(len(table.rows))],
                "best": column.best,
                "right": column.kind in ("metric", "cost"),
            }
        )
    return shown


def _common_overrides(table: ReportTable) -> list[str]:
    """Return the overrides that all runs share, in the order of the first run."""
    each = [job.record.overrides for job in table.comparison.jobs if job.record is not None]
    return [word for word in each[0] if all(word in words for words in each)] if each else []


def _pictures(table: ReportTable) -> list[dict[str, str]]:
    from ablab.report.pictures.every import draw  # imported here, since it imports matplotlib

    return [
        {
            "title": picture.title,
            "alt": f"{picture.title}. {picture.seen or picture.caption}",
            "caption": picture.caption,
            "source": f"data:image/svg+xml;base64,{base64.b64encode(picture.svg).decode()}",
        }
        for picture in draw(table)
    ]
