"""Draw every picture for which a table has something to show."""

from collections.abc import Iterator

from ablab.figures import styled
from ablab.report.pictures.curve import curves
from ablab.report.pictures.heat_map import heat_maps
from ablab.report.pictures.learning_curves import learning_curves
from ablab.report.pictures.paper_forest import paper_forest
from ablab.report.pictures.picture import PAGE, Picture
from ablab.report.pictures.profile import profiles
from ablab.report.pictures.scatter import scatters
from ablab.report.pictures.strip import strips
from ablab.report.table.tables import ReportTable


def draw(table: ReportTable) -> list[Picture]:
    """Return the pictures of each metric in turn, then the learning curves."""
    with styled():
        return _drawn(table, PAGE)


def draw_for_paper(table: ReportTable, width: float) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield title, SVG and PDF of the differences and of each picture, ``width`` inches wide."""
    with styled(7):
        differences = paper_forest(table, width)
        for picture in [*([differences] if differences else []), *_drawn(table, width)]:
            yield picture.title, picture.svg, picture.pdf()


def _drawn(table: ReportTable, width: float) -> list[Picture]:
    drawn = [
        kind(table, metric, width)
        for metric in table.comparison.metrics
        for kind in (heat_maps, scatters, curves, strips, profiles)
    ]
    drawn.append(learning_curves(table, width))
    return [picture for picture in drawn if picture is not None]
