"""Write a table for the terminal and in Markdown."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from ablab.report.forms.cells import Column, columns_of
from ablab.report.forms.conclusion_lines import conclusion_lines
from ablab.report.forms.notes import notes_of
from ablab.report.table.conclusion import conclude
from ablab.report.table.tables import ReportTable
from ablab.safety.printable import in_a_line, printable

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from ablab.report.pictures.picture import Picture

# A narrow terminal leaves these columns out, in this order.
_DISPENSABLE = ("device-hours", "hours", "s / run", "difference")
_LINK = re.compile(r"\](?=[(\[:])")  # other brackets, such as an interval's, make no link
_MARKDOWN = {
    **{character: f"\\{character}" for character in "\\|*`"},
    "<": "&lt;",
    "\n": " ",
    "\r": " ",
}


def terminal(table: ReportTable, *, width: int | None = None) -> "RichTable":
    """Return the table for ``rich``.

    With ``width`` (characters), columns that do not fit are left out and named below the table:
    first those of cost, then differences. The others stay, and fold if they must.
    """
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    every = columns_of(table)
    columns = every if width is None else _narrowed(every, width)
    shown = RichTable(
        box=box.SIMPLE_HEAD, title=Text(in_a_line(table.comparison.title)), title_justify="left"
    )
    if len(columns) < len(every):
        left_out = ", ".join(column.title for column in every if column not in columns)
        shown.caption, shown.caption_justify = Text(f"too narrow for: {left_out}"), "left"
    for column in columns:
        right = column.kind in ("metric", "cost")
        shown.add_column(
            Text(in_a_line(column.heading)), justify="right" if right else "left", overflow="fold"
        )
    for index in range(len(table.rows)):
        shown.add_row(*(Text(in_a_line(_starred(c, index)), _style(c, index)) for c in columns))
    return shown


def terminal_conclusion(table: ReportTable, *, unfinished: bool = True) -> "RichTable":
    """Return the conclusion for ``rich``, with or without the jobs that are not done."""
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable.grid(padding=(0, 2))
    shown.add_column(no_wrap=True, style="bold")
    shown.add_column(overflow="fold")
    for line in conclusion_lines(table, conclude(table)):
        if line.label == "unfinished" and not unfinished:
            continue
        mark = f"{line.mark}: " if line.mark else ""
        text = [f"{mark}{line.text}", *(f"- {below}" for below in line.below)]
        shown.add_row(Text(line.label), Text("\n".join(map(in_a_line, text))))
    return shown


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


def _narrowed(columns: Sequence[Column], width: int) -> list[Column]:
    from rich.cells import cell_len

    def needed(column: Column) -> int:
        lines = (column.heading, *(_starred(column, index) for index in range(len(column.cells))))
        return 3 + max(map(cell_len, lines))  # with the gap between columns

    kept = list(columns)
    for dispensable in _DISPENSABLE:
        if 1 + sum(map(needed, kept)) <= width:
            break
        kept = [column for column in kept if dispensable not in (column.title, column.kind)]
    return kept


def _starred(column: Column, index: int) -> str:
    if not column.best:
        return column.cells[index]
    if index in column.best:
        return f"{column.cells[index]} *"
    return column.marked(index) if index in column.near else f"{column.cells[index]}  "


def _style(column: Column, index: int) -> str:
    return "bold" if index in column.best else ""


def _around(column: Column, index: int, text: str, before: str, after: str | None = None) -> str:
    return f"{before}{text}{before if after is None else after}" if index in column.best else text


def _escaped(text: str) -> str:
    """Return ``text`` so that Markdown shows it as it is, without markup or links."""
    return _LINK.sub(r"\]", _replaced(text, _MARKDOWN))


def _replaced(text: str, replacements: dict[str, str]) -> str:
    return "".join(replacements.get(character, character) for character in printable(text))
