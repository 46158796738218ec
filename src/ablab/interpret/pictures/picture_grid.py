"""Pictures with captions, in rows and columns."""

from typing import Any

from matplotlib.axes import Axes
from numpy.typing import NDArray

from ablab.figures import COLOURS

RIGHT, WRONG = "✓", "✗"


def draw_picture(axes: Axes, picture: NDArray[Any], caption: str, *, right: bool | None) -> None:
    """``picture`` (H, W) or (H, W, 3), uint8 or float in 0..1, grey ones dark on white.

    The frame is solid where ``right``, dashed where not, and thin where neither is said.
    """
    whole = 255 if picture.dtype.kind == "u" else 1
    axes.imshow(picture, cmap="gray_r", vmin=0, vmax=whole, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(caption, fontsize=7, labelpad=3)
    colour = "0.6" if right is None else COLOURS[0] if right else COLOURS[1]
    axes.spines[:].set(
        color=colour,
        linewidth=0.6 if right is None else 2.0,
        linestyle=(0, (2, 1.2)) if right is False else "-",
        capstyle="butt",  # else the ends of the dashes meet
    )


def shortened(name: str, length: int) -> str:
    """Its end, which tells files of a folder apart, where it is longer than ``length``."""
    return name if len(name) <= length else f"…{name[1 - length :]}"
