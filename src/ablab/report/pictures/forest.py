"""Draw paired differences with their intervals and a zero line, as SVG whose text is text.

It is written without matplotlib: so it takes milliseconds after each job of a plan, follows the
reader's light or dark theme, and is a few kilobytes. The script of the page draws the same picture
for another baseline.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ablab.report.forms.cells import row_name
from ablab.report.forms.conclusion_lines import difference_text
from ablab.report.pictures.picture import Picture, shortened
from ablab.report.table.claim import named
from ablab.report.table.conclusion import Conclusion, Standing
from ablab.report.table.contest import Against
from ablab.report.table.paired import CONFIDENCE
from ablab.report.table.tables import ReportTable
from ablab.safety.printable import in_a_line

MOST_ROWS = 20
_WIDTH, _ROW, _LETTER = 760, 24, 7.0  # pixels; a letter's width is an estimate on the safe side
STYLE = """
.forest text{font:12px system-ui,sans-serif;fill:#111}
.forest .faint{fill:#555}.forest .end{text-anchor:end}.forest .mid{text-anchor:middle}
.forest line{stroke:#0072b2;stroke-width:1.3}.forest .thick{stroke-width:4}
.forest .axis{stroke:#999;stroke-width:1}.forest .zero{stroke:#111;stroke-width:1.2}
.forest .unclear{stroke:#888}.forest .dot{fill:#0072b2}.forest .dot.unclear{fill:#888}
@media (prefers-color-scheme:dark){.forest text{fill:#eee}.forest .faint{fill:#aaa}
.forest line{stroke:#56b4e9}.forest .axis{stroke:#777}.forest .zero{stroke:#eee}
.forest .unclear{stroke:#999}.forest .dot{fill:#56b4e9}.forest .dot.unclear{fill:#999}}
"""


@dataclass(frozen=True)
class Line:
    """A row of the picture: its name, its difference, and that as text."""

    name: str
    against: Against
    text: str
    bound: float = 0.0  # the difference that a claim asks for


@dataclass(frozen=True)
class Axis:
    """Map values to pixels; ``broken`` says that 0 lies beyond the values, behind a break."""

    low: float
    high: float
    left: float
    right: float
    broken: bool

    def x(self, value: float) -> float:
        within = min(max(value, self.low), self.high)
        return self.left + (self.right - self.left) * (within - self.low) / (self.high - self.low)

    @property
    def zero(self) -> float:
        if not self.broken:
            return self.x(0.0)
        return self.left - 26 if self.low > 0 else self.right + 26


def forest(table: ReportTable, conclusion: Conclusion, *, style: str = STYLE) -> Picture | None:
    """Return the first metric's differences to the baseline, after those of its claims.

    Without a baseline, the others are compared with the best. Return None without a difference.
    ``style`` is written into the picture; a page that has these rules itself passes none.
    """
    if not conclusion.standings:
        return None
    standing = conclusion.standings[0]
    claims, rows = lines_of(table, conclusion)
    if not claims and not rows:
        return None
    parts: list[str] = []
    y = 0.0
    if claims:
        y = _panel(parts, y, f"Δ {standing.metric}, what the claim says", claims, standing)
    if rows:
        other = row_name(table.rows[rows[0].against.other])
        y = _panel(parts, y, f"Δ {standing.metric} to {other}", rows, standing)
    seen = _seen([*claims, *rows])
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="forest" role="img" '
        f'viewBox="0 0 {_WIDTH} {y:.0f}" width="{_WIDTH}" height="{y:.0f}">'
        f"<title>{_escaped(seen)}</title>"
        f"{f'<style>{style}</style>' if style else ''}{''.join(parts)}</svg>\n"
    )
    caption = (
        f"The mean difference over seeds, its {100 * CONFIDENCE:.0f} % interval (thick) and that "
        "corrected for the number of comparisons (thin; Holm). Grey: not separable."
    )
    if any(line.bound for line in claims):
        caption += " A short bar is the difference that the claim asks for."
    if len(standing.drawn) > len(rows):
        caption += f" The best {len(rows)} of {len(standing.drawn)}."
    return Picture(f"Differences in {standing.metric}", caption, svg.encode(), seen)


def lines_of(table: ReportTable, conclusion: Conclusion) -> tuple[list[Line], list[Line]]:
    """Return the differences of the claims about the first metric, and those of the rows."""
    standing = conclusion.standings[0]
    claims = [
        Line(
            f"{named(verdict.expectation.better)} − {named(verdict.expectation.than)}",
            verdict.against,
            difference_text(table, standing.metric, verdict.against),
            (-1 if standing.direction == "min" else 1) * verdict.expectation.by,
        )
        for verdict in conclusion.verdicts
        if verdict.against is not None and verdict.expectation.metric == standing.metric
    ]
    rows = [
        Line(row_name(table.rows[one.row]), one, difference_text(table, standing.metric, one))
        for one in standing.drawn[:MOST_ROWS]
    ]
    kept = ([line for line in lines if _finite(line)] for lines in (claims, rows))
    return next(kept), next(kept)


def _finite(line: Line) -> bool:
    return math.isfinite(line.against.found.difference.mean)


def _panel(
    parts: list[str], top: float, title: str, lines: Sequence[Line], standing: Standing
) -> float:
    """Append the panel's elements to ``parts``; return where it ends."""
    names = [shortened(line.name) for line in lines]
    left = 12 + _LETTER * min(max(map(len, names)), 44)
    right = _WIDTH - 12 - _LETTER * max(len(line.text) for line in lines)
    axis = axis_of(lines, left + 34, max(right - 40, left + 200))
    bottom = top + 26 + _ROW * len(lines)
    parts.append(f'<text x="0" y="{top + 15:.0f}" font-weight="bold">{_escaped(title)}</text>')
    parts.append(_drawn_line(axis.left, bottom, axis.right, bottom, "axis"))
    parts.append(_drawn_line(axis.zero, top + 22, axis.zero, bottom, "zero"))
    if axis.broken:
        beside = (axis.zero + (axis.left if axis.low > 0 else axis.right)) / 2
        for x in (beside - 5, beside - 1):
            parts.append(_drawn_line(x, bottom + 5, x + 5, bottom - 5, "axis"))
        parts.append(_tick(axis.zero, bottom, "0"))
    for value in _ticks(axis.low, axis.high, math.floor((axis.right - axis.left) / 64)):
        parts.append(_tick(axis.x(value), bottom, f"{value:g}"))
    for index, (name, line) in enumerate(zip(names, lines, strict=True)):
        y = top + 36 + _ROW * index
        own = line.against.found
        plain = own.difference
        kind = "" if own.separable else "unclear"
        parts.append(f'<text class="end" x="{left:.1f}" y="{y + 4:.0f}">{_escaped(name)}</text>')
        if not math.isnan(plain.low):
            for low, high, width in ((own.low, own.high, ""), (plain.low, plain.high, "thick")):
                parts.append(
                    _drawn_line(axis.x(low), y, axis.x(high), y, f"{kind} {width}".strip())
                )
        if line.bound and axis.low < line.bound < axis.high:
            x = axis.x(line.bound)
            parts.append(_drawn_line(x, y - 7, x, y + 7, "axis"))
        x = axis.x(plain.mean)
        if x in (axis.left, axis.right):  # an arrow: the mean lies beyond the axis
            turn = 4 if x == axis.right else -4
            shape = f"M{x:.1f} {y:.0f}l{-turn} -4v8z"
        else:
            shape = f"M{x - 4:.1f} {y:.0f}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z"
        parts.append(f'<path class="dot {kind}" d="{shape}"/>')
        text = f'<text class="end faint" x="{_WIDTH}" y="{y + 4:.0f}">{_escaped(line.text)}</text>'
        parts.append(text)
    better = "← lower is better" if standing.direction == "min" else "higher is better →"
    middle = (axis.left + axis.right) / 2
    parts.append(f'<text class="faint mid" x="{middle:.0f}" y="{bottom + 32:.0f}">{better}</text>')
    return bottom + 46


def axis_of(lines: Sequence[Line], left: float, right: float) -> Axis:
    """Return an axis that the rows fill: a far row or a far zero must not flatten the others."""
    founds = [line.against.found for line in lines]
    pairs = [(found.difference.low, found.difference.high) for found in founds]
    ends = [end for pair in pairs for end in pair if math.isfinite(end)]
    means = sorted(found.difference.mean for found in founds)
    middle = means[len(means) // 2]
    distances = sorted(abs(end - middle) for end in (ends or means))
    # What a claim allows is the scale on which its parts are judged.
    bounds = [line.bound for line in lines if line.bound]
    reach = max(10 * distances[len(distances) // 2], *(3 * abs(bound) for bound in bounds), 0.0)
    reach = reach or abs(middle) or 1.0
    ends += [end for found in founds for end in (found.low, found.high) if math.isfinite(end)]
    values = [value for value in (*ends, *means, *bounds) if abs(value - middle) <= reach]
    low, high = min(values), max(values)
    broken = (low > 0 or high < 0) and min(abs(low), abs(high)) > 1.5 * (high - low) > 0
    if not broken:
        low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.06 * (high - low) or abs(low) or 1.0
    return Axis(low - margin, high + margin, left, right, broken)


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most ``most`` round numbers within a range."""
    least = (high - low) / max(most, 2)
    step = 10 ** math.floor(math.log10(least))
    step *= next(factor for factor in (1, 2, 5, 10) if step * factor >= least)
    first = math.ceil(low / step)
    return [round(step * i, 12) + 0.0 for i in range(first, math.floor(high / step) + 1)]


def _drawn_line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<line{named} x1="{x1:.1f}" y1="{y1:.0f}" x2="{x2:.1f}" y2="{y2:.0f}"/>'


def _tick(x: float, y: float, text: str) -> str:
    line = _drawn_line(x, y, x, y + 4, "axis")
    return f'{line}<text class="faint mid" x="{x:.1f}" y="{y + 17:.0f}">{text}</text>'


def _seen(lines: Sequence[Line]) -> str:
    """Return what the picture shows, for those who cannot see it."""
    return "; ".join(f"{line.name}: {line.text}" for line in lines)


def _escaped(text: str) -> str:
    return escape(in_a_line(text))
