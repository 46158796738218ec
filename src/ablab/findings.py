"""The result of an interpretation: tables and figures to print, to save and to track."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from ablab.safety.atomic_files import atomic_write
from ablab.safety.printable import in_a_line
from ablab.terminal import console

if TYPE_CHECKING:  # slow to import, and a run without interpretations needs neither
    import polars as pl
    from matplotlib.figure import Figure

FOLDER = "interpret"  # in a run folder
DPI = 150


@dataclass(frozen=True)
class Findings:
    """The tables and figures of an interpretation.

    Attributes:
        tables: whole tables by the names of their CSV files in the run folder, without ending.
        figures: figures by the names of their PNG files in the run folder, without ending.
        extracts: the parts of the tables that are printed, by their titles.
    """

    tables: "dict[str, pl.DataFrame]" = field(default_factory=dict)
    figures: "dict[str, Figure]" = field(default_factory=dict)
    extracts: "dict[str, pl.DataFrame]" = field(default_factory=dict)

    def show(self) -> None:
        """Print the extracts."""
        for title, frame in self.extracts.items():
            console().print(as_rich_table(title, frame))

    def write(self, folder: Path) -> list[Path]:
        """Write tables and figures into ``folder``; return the files. No file is half-written.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name, frame in self.tables.items():
            written.append(folder / f"{name}.csv")
            with atomic_write(written[-1]) as file:
                frame.write_csv(file)
        for name, figure in self.figures.items():
            from ablab.figures import styled

            written.append(folder / f"{name}.png")
            # styled() as when it was drawn, since matplotlib lays out names only while saving.
            with atomic_write(written[-1]) as file, styled():
                figure.savefig(file, format="png", dpi=DPI)
        return written


def as_rich_table(title: str, frame: "pl.DataFrame") -> Table:
    """Return a table for the terminal: numbers on the right, floats with three decimals.

    Missing values are empty cells.
    """
    table = Table(title=Text(in_a_line(title), style="italic"), title_justify="left")
    for name, kind in frame.schema.items():
        number = kind.is_numeric()
        table.add_column(
            Text(in_a_line(name).replace("_", " ")),
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=number,
        )
    for row in frame.iter_rows():
        table.add_row(*(Text(_cell(value)) for value in row))
    return table


def _cell(value: object) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else in_a_line(str(value))
