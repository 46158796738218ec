"""The forms that a table takes: terminal, Markdown, LaTeX."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lab.printable import in_a_line, printable
from lab.report.cells import Column, columns_of
from lab.report.grid import valley_lines
from lab.report.notes import Failure, failures_of, notes_of
from lab.report.tables import Table

if TYPE_CHECKING:
    from rich.table import Table as RichTable

# Which columns a narrow terminal does without, first to last
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
    "[": "{[}",  # at a row's beginning it would be an option of the row before
    "\n": " ",
    "\r": " ",
}
_LINK = re.compile(r"\](?=[(\[:])")  # other brackets, as of an interval, make none
_MARKDOWN = {
    **{character: f"\\{character}" for character in "\\|*`"},
    "<": "&lt;",
    "\n": " ",
    "\r": " ",
}


def terminal(table: Table, *, width: int | None = None) -> "RichTable":
    """For ``rich``. With ``width`` (characters), columns that would not fit are left out and named
    below, those of cost first; setting, metric and run columns stay, folded if they must be."""
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


def notes(table: Table) -> list[str]:
    """What stands under a table but the failures."""
    return [*notes_of(table), *valley_lines(table)]


def notes_and_failures(table: Table) -> list[str]:
    """What stands under a table."""
    failures = failures_of(table.comparison.jobs)
    lines = notes(table)
    lines += map(_failure, failures[:_MOST_FAILURES])
    if len(failures) > _MOST_FAILURES:
        lines.append(f"and {len(failures) - _MOST_FAILURES} more that failed")
    return lines


def markdown(table: Table) -> str:
    """The table, its notes, and above them what a plan says of itself."""
    plan = table.comparison.plan
    head = "" if plan is None else f"# {_escaped(plan.name)}\n\n"
    if plan is not None and plan.claim:
        head += f"{_escaped(plan.claim)}\n\n"
    lines = [f"- {_escaped(line)}\n" for line in notes_and_failures(table)]
    return f"{head}{_markdown_table(table)}\n{''.join(lines)}"


def latex(table: Table) -> str:
    """A ``tabular`` with the rules of booktabs."""
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


def _markdown_table(table: Table) -> str:
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
        return 3 + max(map(cell_len, lines))  # with the gap to the next

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
    """Return ``text`` as Markdown shows it: no markup, and no link to wherever a name says."""
    return _LINK.sub(r"\]", _replaced(text, _MARKDOWN))


def _replaced(text: str, replacements: dict[str, str]) -> str:
    return "".join(replacements.get(character, character) for character in printable(text))


def _failure(failure: Failure) -> str:
    told = f" {failure.error};" if failure.error else ""
    return f"{failure.status}: {failure.folder.name}:{told} see {failure.log}"
