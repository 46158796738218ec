"""The style that the matplotlib pictures of a report share: ticks and SVG."""

import io
import math
import re
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from ablab.report.pictures.picture import Picture

MOST_LINES = 12
MOST_BANDS = 6  # more bands would cover each other
# matplotlib writes colours into style attributes, and none for black. Numbers in coloured cells
# are not turned: they are of "white" or of `BLACK`, whose background stays as it is.
BLACK = "#010101"
_DARK = b"""<style>@media (prefers-color-scheme: dark) {
text:not([style*="fill"]), use:not([style*="fill"]) { fill: #eee }
[style*="fill: #ffffff"]:not(text) { fill: #16181b !important }
[style*="stroke: #000000"] { stroke: #eee !important }
[style*="stroke: #ebebeb"] { stroke: #3a3a3a !important }
[style*="stroke: #bfbfbf"] { stroke: #666 !important }
[style*="fill: #ededed"] { fill: #3a3a3a !important }
}</style></defs>"""


def drawn(title: str, caption: str, figure: Figure) -> Picture:
    """Return the figure as a picture."""
    return Picture(title, caption, _file(figure, "svg"), pdf=partial(_file, figure, "pdf"))


def _file(figure: Figure, form: str) -> bytes:
    """Return the content of a file, without a date, so that the same figure is the same file."""
    content = io.BytesIO()
    date = {"svg": "Date", "pdf": "CreationDate"}[form]
    # Text stays text, to be read and found; fonts of type 42 are what publishers ask for.
    with matplotlib.rc_context({"svg.fonttype": "none", "pdf.fonttype": 42}):
        figure.savefig(content, format=form, metadata={date: None})
    if form == "pdf":
        return content.getvalue()
    # A hundredth of a point is enough; six decimals are a third of the file.
    short = re.sub(
        rb'(?<= )(?:d|x|y|transform)="[^"]+"',
        lambda found: re.sub(rb"(\.\d\d)\d+", rb"\1", found[0]),
        content.getvalue(),
    )
    return short.replace(b"</defs>", _DARK, 1)


def rows_id(indices: Iterable[int], part: str) -> str:
    """Return the id of what shows these rows, by which the script of the page finds it."""
    return f"rows-{'-'.join(map(str, indices))}.{part}"


def is_geometric(values: Sequence[float]) -> bool:
    """Return whether sorted values have ratios that are more alike than their differences."""
    if len(values) < 3 or values[0] <= 0:
        return False
    ratios = [math.log(b / a) for a, b in pairwise(values)]
    steps = [b - a for a, b in pairwise(values)]
    return max(ratios) / min(ratios) < max(steps) / min(steps)


def scale_x(axes: Axes, values: Sequence[float]) -> None:
    """Put ticks at ``values``, on a logarithmic axis if they are spaced geometrically."""
    if is_geometric(values):
        axes.set_xscale("log")
    every = math.ceil(len(values) / 10)
    shown = list(values)[::every]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(shown, tick_texts(shown))


def tick_texts(values: Sequence[float]) -> list[str]:
    """Return numbers to four digits, all of them in powers of ten if one has to be."""
    texts = [f"{value:.4g}" for value in values]
    if not any("e" in text for text in texts):
        return texts
    parts = [f"{value:.3e}".partition("e") for value in values]
    return [f"{float(number):g}e{int(power)}" for number, _, power in parts]
