"""Write a table for a paper: booktabs, minus signs, no wider than the text of an article."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ablab.config.suggestions import suggestion
from ablab.errors import UserError
from ablab.report.forms.cells import Column, columns_of, scaled, short_keys
from ablab.report.forms.notes import notes_of
from ablab.report.table.tables import ReportTable
from ablab.safety.printable import printable

_WIDTH = 345.0  # points: the width of text in LaTeX's article
_LETTER, _GAP = 4.4, 8.0  # points, on the safe side: a letter in \footnotesize, and between columns
_LONG = 35  # rows; more do not fit on a page
_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "≈": r"$\approx$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "[": "{[}",  # at the start of a row, it would be an option of the row before
    "\n": " ",
    "\r": " ",
}


@dataclass(frozen=True)
class Paper:
    """The settings of a table for a paper.

    ``columns`` are titles, in their order; without them, all but costs that fit into the width of
    an article. ``digits`` are decimals; ``percent`` multiplies metrics by 100. With ``label`` the
    table floats, with a caption that names the number of seeds.
    """

    columns: Sequence[str] = ()
    digits: int | None = None
    percent: bool = False
    label: str | None = None


def latex(table: ReportTable, paper: Paper = Paper()) -> str:
    """Return a ``tabular``, or a ``longtable`` if it is longer than a page.

    Raises:
        UserError: the table has no such column.
    """
    every = columns_of(scaled(table, 100.0) if paper.percent else table, paper.digits)
    columns, seeds = _without_seeds(every)
    headings = short_keys(table.comparison.keys)
    columns, left_out = _chosen(columns, paper.columns, headings)
    long = len(table.rows) > _LONG
    caption = _escaped(_caption(table, columns, seeds, paper))
    packages = r"\usepackage{booktabs,longtable}" if long else r"\usepackage{booktabs}"
    notes = [*notes_of(table), *([f"left out: {', '.join(left_out)}"] if left_out else [])]
    lines = [f"% {packages}", *("% " + " ".join(note.split()) for note in notes)]
    body = _body(columns, headings, len(table.rows))
    alignment = "".join("r" if c.kind in ("metric", "cost") else "l" for c in columns)
    begin = r"\begingroup\footnotesize\setlength{\tabcolsep}{4pt}"
    place = f"@{{}}{alignment}@{{}}"
    if long:
        head = [*body[:3], r"\endhead"]
        if paper.label:  # on the first page alone, since a label is defined once
            title = rf"\caption{{{caption}}}\label{{{paper.label}}}\\"
            head = [title, *body[:3], r"\endfirsthead", *head]
        inside = [rf"\begin{{longtable}}{{{place}}}", *head, *body[3:], r"\end{longtable}"]
        lines += [begin, *inside, r"\endgroup"]
    else:
        inside = [begin, rf"\begin{{tabular}}{{{place}}}", *body, r"\end{tabular}", r"\endgroup"]
        if paper.label:
            title = rf"\caption{{{caption}}}\label{{{paper.label}}}\smallskip"
            inside = [r"\begin{table}", r"\centering", title, *inside, r"\end{table}"]
        lines += inside
    return "\n".join([*lines, ""])


def _body(columns: Sequence[Column], headings: Mapping[str, str], rows: int) -> list[str]:
    head = " & ".join(_escaped(headings.get(c.title, c.heading)) for c in columns)
    lines = [r"\toprule", rf"{head} \\", r"\midrule"]
    for index in range(rows):
        cells = []
        for column in columns:
            text = _numbers(_escaped(column.marked(index)))
            cells.append(rf"\textbf{{{text}}}" if index in column.best else text)
        lines.append(" & ".join(cells) + r" \\")
    return [*lines, r"\bottomrule"]


def _without_seeds(columns: Sequence[Column]) -> tuple[list[Column], str | None]:
    """Take the number of seeds out of the cells if it is the same in all; return it as well."""
    cells = [cell for column in columns if column.kind == "metric" for cell in column.cells]
    found = {match and match[1] for cell in cells for match in [re.search(r" \((\d+)\)$", cell)]}
    seeds = found.pop() if len(found) == 1 else None
    if seeds is None:  # some cells are "… (4 of 5)", or have no value
        return list(columns), None
    short = [
        replace(c, cells=tuple(cell.removesuffix(f" ({seeds})") for cell in c.cells))
        if c.kind == "metric"
        else c
        for c in columns
    ]
    return [column for column in short if column.kind != "runs"], seeds


def _chosen(
    columns: Sequence[Column], titles: Sequence[str], headings: Mapping[str, str]
) -> tuple[list[Column], list[str]]:
    """Return the columns asked for; else those that fit, and the titles of the others."""
    if titles:
        by_title = {column.title.removesuffix(" [95 %]"): column for column in columns}
        for title in titles:
            if title not in by_title:
                told = suggestion(title, list(by_title))
                raise UserError(f"--columns: the table has no column '{title}'{told}")
        return [by_title[title] for title in titles], []
    kept = [column for column in columns if column.kind != "cost"]
    for kind in ("difference", "metric", "difference", "runs"):
        own = [column for column in kept if column.kind == kind]
        least = 1 if kind != "runs" else 0
        while _width(kept, headings) > _WIDTH and len(own) > least:
            kept.remove(own.pop())
        if kind == "metric" and _width(kept, headings) > _WIDTH:  # then differences go altogether
            kept = [column for column in kept if column.kind != "difference"]
    return kept, [c.title for c in columns if c not in kept and c.kind != "cost"]


def _width(columns: Sequence[Column], headings: Mapping[str, str]) -> float:
    longest = [
        max(
            len(headings.get(c.title, c.heading)),
            *(len(c.marked(i)) for i in range(len(c.cells))),
            1,
        )
        for c in columns
    ]
    return sum(_LETTER * n + _GAP for n in longest) - _GAP


def _caption(table: ReportTable, columns: Sequence[Column], seeds: str | None, paper: Paper) -> str:
    parts = [f"{table.comparison.title}: mean ± standard deviation"]
    if seeds:
        parts[0] += f" over {seeds} seed{'s' if seeds != '1' else ''}"
    if paper.percent:
        parts.append("in percent")
    if any(column.best for column in columns):
        parts.append("the best is bold, ≈ is not separable from it (Holm)")
    if any(column.kind == "difference" for column in columns):
        name = ", ".join(table.comparison.baseline.values())
        parts.append(f"Δ is the paired difference to {name} with its 95 % interval")
    return "; ".join(parts) + "."


def _numbers(text: str) -> str:
    """Write the hyphens before numbers as minus signs."""
    return re.sub(r"(?<![\w.$-])-(?=\d)", "$-$", text)


def _escaped(text: str) -> str:
    return "".join(_ESCAPED.get(character, character) for character in printable(text))
