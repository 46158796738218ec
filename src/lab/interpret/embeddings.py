"""What the embeddings of a collaborative filter have learned."""

import csv
import io
from collections.abc import Sequence
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


@dataclass(frozen=True)
class CountDecile:
    """A tenth of the items, by how often training rates them; ``rmse`` is nan without rows."""

    decile: int
    fewest_ratings: int
    most_ratings: int
    mean_norm: float
    rows: int
    rmse: float


def items_by_count(model: CollabFilter, data: RatingsDataModule, folder: Path) -> list[CountDecile]:
    """Error and mean |q_i| of the items, from their rarest tenth to their commonest.

    On the validation part, where there is one, else on the test part. Under Adam, L2 shrinks rows
    that few batches meet whatever its strength: their gradient is the decay alone, which Adam
    scales to the learning rate (Loshchilov & Hutter 2019, section 3). Writes
    ``items_by_count.csv`` in ``folder``.
    """
    users, items, ratings = data.parts["val" if "val" in data.parts else "test"]
    with torch.no_grad():
        squared_errors = (model(users, items) - ratings).square()
        norms = model.i_weight.weight.norm(dim=1)
    counts = torch.from_numpy(data.item_rating_count)
    by_count = 1 + torch.argsort(counts[1:], stable=True)  # row 0 is the unknown item
    rows = []
    for number, members in enumerate(by_count.tensor_split(10), 1):
        errors = squared_errors[torch.isin(items, members)]
        rows.append(
            CountDecile(
                number,
                int(counts[members].min()),
                int(counts[members].max()),
                float(norms[members].mean()),
                len(errors),
                float(errors.mean().sqrt()),
            )
        )
    _write_csv(folder / "items_by_count.csv", rows)
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


def _write_csv(path: Path, rows: Sequence[ItemBias | CountDecile]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(asdict(rows[0])))
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
