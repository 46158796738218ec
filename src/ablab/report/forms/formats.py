"""Write a table for the terminal, in Markdown and in LaTeX."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ablab.report.forms.cells import Column, columns_of
from ablab.report.forms.notes import Failure, failures_of, notes_of
from ablab.report.table.tables import ReportTable
from ablab.safety.printable import in_a_line, printable

if TYPE_CHECKING:
    from rich.table import Table as RichTable

# A narrow terminal leaves these columns out, in this order.
_DISPENSABLE = ("device-hours", "hours", "s / run", "difference")
_MOST_FAILURES = 10
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "[": "{[}",  # at the start of a row, it would be an option of the row before
    "\n": " ",
    "\r": " ",
}
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
            Text(in_a_line(column.title)), justify="right" if right else "left", overflow="fold"
        )
    for index in range(len(table.rows)):
        shown.add_row(*(Text(in_a_line(_starred(c, index)), _style(c, index)) for c in columns))
    return shown


def notes_and_failures(table: ReportTable) -> list[str]:
    """Return the lines under a table: its notes, then its first failures."""
    failures = failures_of(table.comparison.jobs)
    lines = notes_of(table)
    lines += map(_failure, failures[:_MOST_FAILURES])
    if len(failures) > _MOST_FAILURES:
        lines.append(f"and {len(failures) - _MOST_FAILURES} more failures")
    return lines


def markdown(table: ReportTable) -> str:
    """Return the name and claim of the plan, the table and its notes."""
    plan = table.comparison.plan
    head = "" if plan is None else f"# {_escaped(plan.name)}\n\n"
    if plan is not None and plan.claim:
        head += f"{_escaped(plan.claim)}\n\n"
    lines = [f"- {_escaped(line)}\n" for line in notes_and_failures(table)]
    return f"{head}{_markdown_table(table)}\n{''.join(lines)}"


def latex(table: ReportTable) -> str:
    """Return a ``tabular`` with the rules of booktabs."""
    columns = columns_of(table)
    alignment = "".join("r" if c.kind in ("metric", "cost") else "l" for c in columns)
    lines = [r"% \usepackage{booktabs}"]
    lines += ["% " + " ".join(note.split()) for note in notes_of(table)]
    lines += [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule"]
    lines += [" & ".join(_replaced(c.title, _LATEX) for c in columns) + r" \\", r"\midrule"]
    for index in range(len(table.rows)):
        cells = [_replaced(column.cells[index], _LATEX) for column in columns]
        pairs = zip(columns, cells, strict=True)
        marked = [_around(column, index, text, r"\textbf{", "}") for column, text in pairs]
        lines.append(" & ".join(marked) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _markdown_table(table: ReportTable) -> str:
    columns = columns_of(table)
    lines = [
        [_escaped(column.title) for column in columns],
        ["---:" if column.kind in ("metric", "cost") else "---" for column in columns],
    ]
    for index in range(len(table.rows)):
        cells = [_escaped(column.cells[index]) for column in columns]
        lines.append([_around(c, index, t, "**") for c, t in zip(columns, cells, strict=True)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _narrowed(columns: Sequence[Column], width: int) -> list[Column]:
    from rich.cells import cell_len

    def needed(column: Column) -> int:
        lines = (column.title, *(_starred(column, index) for index in range(len(column.cells))))
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
    return f"{column.cells[index]} {'*' if index in column.best else ' '}"


def _style(column: Column, index: int) -> str:
    return "bold" if index in column.best else ""


def _around(column: Column, index: int, text: str, before: str, after: str | None = None) -> str:
    return f"{before}{text}{before if after is None else after}" if index in column.best else text


def _escaped(text: str) -> str:
    """Return ``text`` so that Markdown shows it as it is, without markup or links."""
    return _LINK.sub(r"\]", _replaced(text, _MARKDOWN))


def _replaced(text: str, replacements: dict[str, str]) -> str:
    return "".join(replacements.get(character, character) for character in printable(text))


def _failure(failure: Failure) -> str:
    error = f" {failure.error};" if failure.error else ""
    return f"{failure.status}: {failure.folder.name}:{error} see {failure.log}"
