"""DDP: each process holds the whole model and trains it on rows of its own."""

from datetime import timedelta

from lightning.pytorch.strategies import DDPStrategy

from ablab.config.schema.values import Flag, Positive


class Replicated(DDPStrategy):
    """Lightning's strategy for DDP, with a time limit that a config can set.

    Args:
        timeout_s: how long a process waits for another one before the run fails.
        find_unused_parameters: needed if a loss does not use all parameters that are trained.
    """

    def __init__(self, timeout_s: Positive = 600.0, find_unused_parameters: Flag = False) -> None:
        super().__init__(
            timeout=timedelta(seconds=timeout_s), find_unused_parameters=find_unused_parameters
        )
