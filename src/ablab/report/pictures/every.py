"""Draw every picture for which a table has something to show."""

from ablab.figures import styled
from ablab.report.pictures.curve import curves
from ablab.report.pictures.heat_map import heat_maps
from ablab.report.pictures.learning_curves import learning_curves
from ablab.report.pictures.picture import Picture
from ablab.report.pictures.scatter import scatters
from ablab.report.pictures.strip import strips
from ablab.report.table.tables import ReportTable


def draw(table: ReportTable) -> list[Picture]:
    """Return the pictures of each metric in turn, then the learning curves."""
    with styled():
        drawn = [
            kind(table, metric)
            for metric in table.comparison.metrics
            for kind in (heat_maps, scatters, curves, strips)
        ]
        drawn.append(learning_curves(table))
    return [picture for picture in drawn if picture is not None]
