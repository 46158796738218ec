"""What the embeddings of a collaborative filter have learned."""

import csv
import io
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.atomic import atomic_write
from lab.config.schema import Count
from lab.data.ratings import RatingsDataModule
from lab.models.collab import CollabEnsemble, CollabFilter


@dataclass(frozen=True)
class ItemBias:
    """An item's bias (in units of the sigmoid's argument) beside what its training ratings say."""

    title: str
    bias: float
    mean_rating: float
    ratings: int


def items_by_bias(
    model: CollabFilter | CollabEnsemble, data: RatingsDataModule, folder: Path, *, top: Count = 10
) -> list[ItemBias]:
    """Items from best to worst by bias: liked or disliked whoever rates them (lesson 5).

    Shows the ``top`` best and worst, and writes all of them to ``items_by_bias.csv`` in ``folder``.
    """
    with torch.no_grad():
        biases = model.i_bias.weight[1:].mean(dim=1).tolist()  # of the members; row 0 is unknown
    rows = [
        ItemBias(title, bias, mean, count)
        for title, bias, mean, count in zip(
            data.item_names[1:],
            biases,
            data.item_mean_rating[1:].tolist(),
            data.item_rating_count[1:].tolist(),
            strict=True,
        )
    ]
    rows.sort(key=lambda row: row.bias, reverse=True)
    _write_csv(folder / "items_by_bias.csv", rows)
    console = Console()
    console.print(_table(f"The {top} best movies by bias", rows[:top]))
    console.print(_table(f"The {top} worst movies by bias", rows[: -top - 1 : -1]))
    return rows


def _table(title: str, rows: list[ItemBias]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("bias", justify="right")
    table.add_column("title", overflow="fold")
    table.add_column("mean rating", justify="right")
    table.add_column("ratings", justify="right")
    for row in rows:
        table.add_row(
            f"{row.bias:+.3f}", Text(row.title), f"{row.mean_rating:.2f}", str(row.ratings)
        )
    return table


def _write_csv(path: Path, rows: list[ItemBias]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(asdict(rows[0])))
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
