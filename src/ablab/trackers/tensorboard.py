"""Log to TensorBoard: event files in the run folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablab.trackers.any_logger import LoggerTracker
from ablab.trackers.base import RunInfo


class TensorBoardTracker(LoggerTracker):
    """Lightning's ``TensorBoardLogger``; a continued run hides what it logs again."""

    once_more = ""

    def arguments(self, info: RunInfo, folder: Path) -> dict[str, Any]:
        # The run folder is a version of its own already.
        return {
            **super().arguments(info, folder),
            "name": "",
            "version": "",
            "default_hp_metric": False,
        }

    def opened(self, logger: Any, info: RunInfo) -> dict[str, Any]:
        self._config = info.config
        if self.name in info.earlier:
            logger._kwargs["purge_step"] = info.from_step + 1  # an argument of its SummaryWriter
        logger.log_hyperparams(info.config)
        logger.save()
        return {"folder": logger.log_dir}

    def send_summary(self, logger: Any, values: Mapping[str, float], step: int) -> None:
        logger.log_hyperparams(self._config, metrics=dict(values), step=step)
        logger.save()

    def send_table(self, logger: Any, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        lines = [columns, ["---"] * len(columns), *rows]
        cells = [[str(cell).replace("|", r"\|") for cell in line] for line in lines]
        text = "\n".join(f"| {' | '.join(line)} |" for line in cells)
        logger.experiment.add_text(name, text, self._step)

    def send_picture(self, logger: Any, name: str, path: Path, step: int) -> None:
        import numpy as np
        from PIL import Image

        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        logger.experiment.add_image(name, pixels, step, dataformats="HWC")
