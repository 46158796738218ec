"""``python -m lesson5.ratings.lesson_movies FOLDER…``: compare a run's movies with the lesson's.

The command reads the ``items_by_bias.csv`` of the finished runs under each folder.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ablab.errors import RunFolderError
from ablab.findings import FOLDER
from ablab.report.table.collect import collect
from ablab.report.table.rows import Spread
from ablab.safety.commands import as_command
from ablab.safety.printable import printable

FILE = f"{FOLDER}/items_by_bias.csv"
MIN_RATINGS = 15  # in training; the lesson takes the 1,000 most rated movies, and 993 have these

# The first fifteen of each end by bias, in fast.ai's course-v3, lesson4-collab.ipynb (2019).
BEST = (
    "Schindler's List (1993)",
    "Titanic (1997)",
    "Silence of the Lambs, The (1991)",
    "Shawshank Redemption, The (1994)",
    "Star Wars (1977)",
    "L.A. Confidential (1997)",
    "As Good As It Gets (1997)",
    "Rear Window (1954)",
    "Good Will Hunting (1997)",
    "Apt Pupil (1998)",
    "Casablanca (1942)",
    "Usual Suspects, The (1995)",
    "Close Shave, A (1995)",
    "Boot, Das (1981)",
    "Vertigo (1958)",
)
WORST = (
    "Children of the Corn: The Gathering (1996)",
    "Mortal Kombat: Annihilation (1997)",
    "Striptease (1996)",
    "Lawnmower Man 2: Beyond Cyberspace (1996)",
    "Cable Guy, The (1996)",
    "Free Willy 3: The Rescue (1997)",
    "Grease 2 (1982)",
    "Barb Wire (1996)",
    "Bio-Dome (1996)",
    "Island of Dr. Moreau, The (1996)",
    "Crow: City of Angels, The (1996)",
    "Joe's Apartment (1996)",
    "Leave It to Beaver (1997)",
    "Lawnmower Man, The (1992)",
    "Stephen King's The Langoliers (1995)",
)


@dataclass(frozen=True)
class Overlap:
    """Count the movies of a list at the same end of two rankings, and those by chance.

    ``missed`` are those that the ranking by bias does not have there.
    """

    by_bias: int
    by_mean_rating: int
    by_chance: float
    missed: tuple[str, ...]


def overlaps(items: pl.DataFrame, *, min_ratings: int = MIN_RATINGS) -> dict[str, Overlap]:
    """Compare BEST and WORST with as many items of each end of a ranking.

    The number by chance is the mean of the hypergeometric distribution: items drawn blindly.

    Args:
        items: the columns title, bias, mean_rating and ratings.
        min_ratings: items with fewer ratings are left out.

    Returns:
        The overlaps of "best" and "worst".
    """
    rated = items.filter(pl.col("ratings") >= min_ratings)
    found = {}
    for name, movies, falling in (("best", BEST, True), ("worst", WORST, False)):
        by_bias, by_mean = (
            set(rated.sort(column, descending=falling, maintain_order=True)["title"][: len(movies)])
            for column in ("bias", "mean_rating")
        )
        found[name] = Overlap(
            len(by_bias & set(movies)),
            len(by_mean & set(movies)),
            len(movies) * min(1.0, len(movies) / max(len(rated), 1)),
            tuple(movie for movie in movies if movie not in by_bias),
        )
    return found


def read_tables(folders: Sequence[Path]) -> Iterator[pl.DataFrame]:
    """Yield the table of each finished run that has one.

    Raises:
        RunFolderError: a folder has no run.
    """
    for run in collect(list(folders)):
        if run.record.status == "done" and (run.folder / FILE).is_file():
            yield pl.read_csv(run.folder / FILE)


@as_command
def main(arguments: list[str]) -> int:
    """Print the overlaps of the runs; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lesson5.ratings.lesson_movies",
        description="Print how many of the lesson's 15 best and 15 worst movies by bias are among "
        "a run's own, mean ± std over runs; the same by mean rating, and by chance.",
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--min-ratings", type=int, default=MIN_RATINGS, metavar="N")
    options = parser.parse_args(arguments)
    found = [overlaps(t, min_ratings=options.min_ratings) for t in read_tables(options.folders)]
    if not found:
        raise RunFolderError(
            f"no finished run has {FILE}; ablab interpret items_by_bias RUN writes it"
        )
    console = Console()
    table = Table(title=f"of the lesson's 15, {len(found)} runs", title_justify="left")
    for name in ("", "by bias", "by mean rating", "by chance"):
        table.add_column(name, justify="right" if name else "left")
    for end in ("best", "worst"):
        of = [overlap[end] for overlap in found]
        spreads = [Spread.of([getattr(o, c) for o in of]) for c in ("by_bias", "by_mean_rating")]
        cells = [f"{s.mean:.1f} ± {s.std:.1f}" if s.n > 1 else f"{s.mean:.0f}" for s in spreads]
        table.add_row(end, *cells, f"{of[0].by_chance:.2f}")
    console.print(table)
    for end in ("best", "worst"):
        missed = Counter(movie for overlap in found for movie in overlap[end].missed)
        named = ", ".join(f"{movie} {n}" for movie, n in missed.most_common())
        console.print(Text(printable(f"missed of the {end}, in how many runs: {named or 'none'}")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
