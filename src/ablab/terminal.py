"""What a run shows at the terminal; rank 0 only."""

from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from ablab.safety.printable import printable

_console = Console(highlight=False)


@rank_zero_only
def say(text: str) -> None:
    _console.print(printable(text), markup=False, soft_wrap=True)
