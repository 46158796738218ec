"""Draw a picture with its caption."""

from typing import Any

from matplotlib.axes import Axes
from numpy.typing import NDArray

from ablab.figures import COLOURS

RIGHT, WRONG = "✓", "✗"


def draw_picture(axes: Axes, picture: NDArray[Any], caption: str, *, right: bool | None) -> None:
    """Draw ``picture`` into ``axes``.

    Args:
        axes: place of the picture.
        picture: (H, W) or (H, W, 3), uint8 or float in 0..1; grey ones are drawn dark on white.
        caption: below the picture.
        right: True for a solid frame, False for a dashed one, None for a thin one.
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
        capstyle="butt",  # other ends would close the gaps between dashes
    )


def shortened(name: str, length: int) -> str:
    """Return the last ``length`` letters of a longer name: there, files of a folder differ."""
    return name if len(name) <= length else f"…{name[1 - length :]}"
