"""All pictures that a table has something to show in."""

from lab.figures import styled
from lab.report.pictures.curve import curves
from lab.report.pictures.heat_map import heat_maps
from lab.report.pictures.learning_curves import learning_curves
from lab.report.pictures.scatter import scatters
from lab.report.pictures.strip import strips
from lab.report.pictures.style import Picture
from lab.report.tables import Table


def draw(table: Table) -> list[Picture]:
    """For each metric in turn, and the learning curves last."""
    with styled():
        drawn = [
            kind(table, metric)
            for metric in table.comparison.metrics
            for kind in (heat_maps, scatters, curves, strips)
        ]
        drawn.append(learning_curves(table))
    return [picture for picture in drawn if picture is not None]
