"""Write a table and its conclusion for the terminal, in as many columns as there is room for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ablab.report.forms.cells import Column, columns_of, short_keys
from ablab.report.forms.conclusion_lines import conclusion_lines
from ablab.report.table.conclusion import conclude
from ablab.report.table.tables import ReportTable
from ablab.safety.printable import in_a_line

if TYPE_CHECKING:
    from rich.table import Table as RichTable

_FOLDED = 8  # characters of a setting's column that is folded so that a difference is not left out


@dataclass(frozen=True)
class _Shown:
    """A column with its heading of one or two lines."""

    column: Column
    heading: str
    below: str = ""

    @property
    def width(self) -> int:
        from rich.cells import cell_len

        cells = (_starred(self.column, index) for index in range(len(self.column.cells)))
        return max(map(cell_len, (self.heading, self.below, *cells)))


def terminal(table: ReportTable, *, width: int | None = None) -> "RichTable":
    """Return the table for ``rich``.

    With ``width`` (characters), a table that does not fit has shorter keys and says once how many
    seeds there are. Then columns are left out and named below it: first the cost, then the
    differences of all metrics but the first, then these metrics, and last the first difference.
    The others fold if they must.
    """
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    every = [_Shown(column, column.heading) for column in columns_of(table)]
    columns = every if width is None else _fitting(table, every, width)
    title = Text(in_a_line(table.comparison.title))
    shown = RichTable(
        box=box.SIMPLE_HEAD,
        padding=(0, 1) if columns is every else (0, 0, 0, 1),
        title=title,
        title_justify="left",
        min_width=min(title.cell_len, width or title.cell_len),  # else a long name is folded
    )
    kept = {column.column.title for column in columns}
    if left_out := [c.column.title for c in every if c.column.title not in kept]:
        caption = f"too narrow for: {', '.join(left_out)}"
        shown.caption, shown.caption_justify = Text(in_a_line(caption)), "left"
    for column in columns:
        lines = [in_a_line(line) for line in (column.heading, column.below) if line]
        right = column.column.kind in ("metric", "cost")
        shown.add_column(
            Text("\n".join(lines)),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=width is not None and column.column.kind == "difference",
        )
    for index in range(len(table.rows)):
        cells = [(_starred(c.column, index), index in c.column.best) for c in columns]
        shown.add_row(*(Text(in_a_line(text), "bold" if best else "") for text, best in cells))
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


def _fitting(table: ReportTable, every: list[_Shown], width: int) -> list[_Shown]:
    """Return the most columns that ``width`` has room for, or the fewest that are shown."""

    def needed(columns: Sequence[_Shown], *, folded: bool = False) -> int:
        return sum(
            2 + (min(one.width, _FOLDED) if folded and one.column.kind == "setting" else one.width)
            for one in columns
        )

    if needed(every) + len(every) < width:  # which have wider gaps
        return every
    *most, fewest = _ever_fewer(table, every)
    fitting = (columns for columns in most if needed(columns) < width)
    if (columns := next(fitting, None)) is not None:
        return columns
    return most[-1] if needed(most[-1], folded=True) < width else fewest


def _ever_fewer(table: ReportTable, every: list[_Shown]) -> Iterator[list[_Shown]]:
    columns = _compact(table, every)
    yield columns
    of_kind = {
        kind: [shown for shown in columns if shown.column.kind == kind]
        for kind in ("cost", "difference", "runs", "metric")
    }
    dispensable = [
        *reversed(of_kind["cost"]),
        *reversed(of_kind["difference"][1:]),
        *(shown for shown in of_kind["runs"] if len(set(shown.column.cells)) == 1),
        *reversed(of_kind["metric"][1:]),
    ]
    for dropped in dispensable:
        columns = [shown for shown in columns if shown is not dropped]
        yield columns
    yield [shown for shown in columns if shown.column.kind != "difference"]


def _compact(table: ReportTable, every: Sequence[_Shown]) -> list[_Shown]:
    """Return columns with short keys, and with what all cells have in common in the heading."""
    keys = short_keys(table.comparison.keys)
    columns = []
    for shown in every:
        column, heading, below = shown.column, shown.heading, ""
        if column.kind == "setting":
            above, _, last = keys[column.title].rpartition(".")
            heading, below = (above, last) if above else (last, "")
        elif column.kind == "difference":
            heading, _, below = heading.rpartition(" [")
            below = f"[{below}"
        elif column.kind == "metric":
            spreads = [(row.metrics.get(column.title), row.seeds) for row in table.rows]
            counts = {(spread.n, seeds) for spread, seeds in spreads if spread is not None}
            n, seeds = counts.pop() if len(counts) == 1 else (0, -1)
            if n == seeds:
                cells = tuple(cell.removesuffix(f" ({n})") for cell in column.cells)
                column, below = replace(column, cells=cells), f"n = {n}"
        columns.append(_Shown(column, heading, below))
    return columns


def _starred(column: Column, index: int) -> str:
    if not column.best:
        return column.cells[index]
    if index in column.best:
        return f"{column.cells[index]} *"
    return column.marked(index) if index in column.near else f"{column.cells[index]}  "
