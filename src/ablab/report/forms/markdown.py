"""Write a table in Markdown."""

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from ablab.report.forms.cells import Column, columns_of
from ablab.report.forms.conclusion_lines import conclusion_lines
from ablab.report.forms.notes import notes_of
from ablab.report.table.conclusion import conclude
from ablab.report.table.tables import ReportTable
from ablab.safety.printable import printable

if TYPE_CHECKING:
    from ablab.report.pictures.picture import Picture

_LINK = re.compile(r"\](?=[(\[:])")  # other brackets, such as an interval's, make no link
_MARKDOWN = {
    **{character: f"\\{character}" for character in "\\|*`"},
    "<": "&lt;",
    "\n": " ",
    "\r": " ",
}


def markdown(table: ReportTable, picture: "tuple[str, Picture] | None" = None) -> str:
    """Return name and conclusion of a plan, a picture, the table and its notes.

    ``picture`` is the name of a file beside this one, and the picture in it.
    """
    plan = table.comparison.plan
    parts = [] if plan is None else [f"# {_escaped(plan.name)}\n\n"]
    for line in conclusion_lines(table, conclude(table)):
        mark = f"**{line.mark}**: " if line.mark else ""
        parts.append(f"- **{line.label}**: {mark}{_escaped(line.text)}\n")
        parts += [f"  - {_escaped(below)}\n" for below in line.below]
    if picture is not None:
        name, drawn = picture
        parts.append(f"\n![{_escaped(drawn.seen)}]({quote(name)})\n\n{_escaped(drawn.caption)}\n")
    parts.append(f"\n{_markdown_table(table)}\n")
    parts += [f"- {_escaped(line)}\n" for line in notes_of(table)]
    return "".join(parts)


def _markdown_table(table: ReportTable) -> str:
    columns = columns_of(table)
    lines = [
        [_escaped(column.heading) for column in columns],
        ["---:" if column.kind in ("metric", "cost") else "---" for column in columns],
    ]
    for index in range(len(table.rows)):
        cells = [_escaped(column.marked(index)) for column in columns]
        lines.append([_around(c, index, t, "**") for c, t in zip(columns, cells, strict=True)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _around(column: Column, index: int, text: str, before: str, after: str | None = None) -> str:
    return f"{before}{text}{before if after is None else after}" if index in column.best else text


def _escaped(text: str) -> str:
    """Return ``text`` so that Markdown shows it as it is, without markup or links."""
    return _LINK.sub(r"\]", _replaced(text, _MARKDOWN))


def _replaced(text: str, replacements: dict[str, str]) -> str:
    return "".join(replacements.get(character, character) for character in printable(text))
