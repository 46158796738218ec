"""Write reports to files and to the terminal."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablab.errors import RunFolderError
from ablab.report.forms import numbers
from ablab.report.forms.latex import Paper, latex
from ablab.report.forms.markdown import markdown
from ablab.report.forms.notes import notes_of
from ablab.report.forms.terminal import terminal, terminal_conclusion
from ablab.report.pictures.forest import forest
from ablab.report.table.comparison import compare
from ablab.report.table.conclusion import conclude
from ablab.report.table.tables import ReportTable, build_table
from ablab.safety.atomic_files import atomic_write
from ablab.safety.printable import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

FORMATS = {
    "terminal": ".txt",
    "markdown": ".md",
    "csv": ".csv",
    "latex": ".tex",
    "html": ".html",
    "json": ".json",
}
_FILE_WIDTH = 300  # characters; for a file, rich would fold to 80 columns


def write_tables(folder: Path) -> None:
    """Write ``report.md`` with its picture, ``.csv`` and ``.tex`` of a plan, each atomically.

    Raises:
        RunFolderError: there is no readable plan, or a file cannot be written.
    """
    _write(folder, ("markdown", "csv", "latex"))


def write_reports(folder: Path) -> None:
    """Write the same tables and ``report.html`` with its pictures. Raise RunFolderError."""
    _write(folder, ("markdown", "csv", "latex", "html"))


def plan_numbers(folder: Path) -> tuple[list[str], list[list[Any]]]:
    """Return columns and rows of ``report.csv`` for a tracker's table; None for empty cells."""
    return numbers.tidy(build_table(compare([folder])))


def rendered(table: ReportTable, form: str, base: Path = Path(), paper: Paper | None = None) -> str:
    """Return ``table`` in the form ``form``, one of ``FORMATS``, for a file in folder ``base``.

    ``paper`` says how it looks in LaTeX.
    """
    match form:
        case "markdown":
            return markdown(table)
        case "csv":
            return numbers.tidy_csv(table)
        case "latex":
            return latex(table, paper or Paper())
        case "json":
            from ablab.report.describe import report_document
            from ablab.report.documents import as_json

            return as_json(report_document(table)) + "\n"
        case "html":
            from ablab.report.forms.page import page

            return page(table, base)
    return _as_text(table)


def save_figures(folder: Path, table: ReportTable, width: float) -> list[Path]:
    """Write the pictures of the page for a paper into ``folder``, as SVG and PDF, by their titles.

    Each is ``width`` inches wide.

    Raises:
        RunFolderError: a file cannot be written.
    """
    from ablab.report.pictures.every import draw_for_paper  # it imports matplotlib

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"{folder}: cannot be created ({error.strerror})") from error
    paths = []
    for title, svg, pdf in draw_for_paper(table, width):
        name = re.sub(r"[^0-9A-Za-z]+", "_", title).strip("_")
        for path, content in ((folder / f"{name}.svg", svg), (folder / f"{name}.pdf", pdf)):
            save(path, content)
            paths.append(path)
    return paths


def save_report(path: Path, table: ReportTable, form: str, paper: Paper | None = None) -> None:
    """Write ``table`` to a file, beside it the picture of a report in Markdown.

    Raises:
        RunFolderError: a file cannot be written.
    """
    if form == "markdown" and (picture := forest(table, conclude(table))):
        beside = path.with_suffix(".svg")
        save(path, markdown(table, (beside.name, picture)))
        save(beside, picture.svg)
    else:
        save(path, rendered(table, form, path.parent, paper))


def _write(folder: Path, forms: Sequence[str]) -> None:
    table = build_table(compare([folder]))
    for form in forms:
        save_report(folder / f"report{FORMATS[form]}", table, form)


def save(path: Path, content: str | bytes) -> None:
    """Write a file atomically. Raise RunFolderError if it cannot be written."""
    try:
        with atomic_write(path) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written ({error.strerror})") from error


def console() -> "Console":
    """Return a rich console for standard output, wide enough for any table if that is a file."""
    from rich.console import Console

    found = Console(markup=False)  # brackets in a folder's name are not markup
    return found if found.is_terminal else Console(width=_FILE_WIDTH, markup=False)


def print_plan(folder: Path, target: "Console") -> None:
    """Print the conclusion and table of the plan in ``folder``; its end lists the failures."""
    print_table(build_table(compare([folder])), target, unfinished=False)


def print_table(table: ReportTable, target: "Console", *, unfinished: bool = True) -> None:
    """Print the conclusion of ``table``, the table and its notes."""
    for shown in (
        terminal_conclusion(table, unfinished=unfinished),
        terminal(table, width=target.width),
    ):
        target.print(shown if target.is_terminal else _without_padding(shown, target.width))
    for line in notes_of(table):
        soft_wrap = not target.is_terminal  # where it is one, lines end between words
        target.print(printable(line), markup=False, highlight=False, soft_wrap=soft_wrap)


def _without_padding(shown: "RichTable", width: int) -> "Text":
    """Return a table as lines that end with their last letter, for a file or a pipe."""
    from rich.console import Console
    from rich.text import Text

    plain = Console(width=width, no_color=True, force_terminal=False)
    with plain.capture() as captured:
        plain.print(shown)
    return Text("\n".join(line.rstrip() for line in captured.get().splitlines()), end="\n")


def _as_text(table: ReportTable) -> str:
    from rich.console import Console

    plain = Console(width=_FILE_WIDTH, no_color=True, force_terminal=False)
    with plain.capture() as captured:
        print_table(table, plain)
    return captured.get()
