"""Series of sines with noise, in loaders of pytorch-forecasting's own."""

from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch import LightningDataModule
from pytorch_forecasting import TimeSeriesDataSet

PAST, FUTURE = 24, 6


class Waves(LightningDataModule):
    """Batches are pytorch-forecasting's: a dict of inputs, and (target, weight)."""

    @property
    def sizes(self) -> dict[str, int]:
        return {"context_length": PAST, "prediction_length": FUTURE}

    def setup(self, stage: str) -> None:
        random, time = np.random.default_rng(0), np.arange(90)
        waves = [np.sin(time / 3 + start) + 3 + random.normal(0, 0.1, 90) for start in range(4)]
        series = [
            pd.DataFrame({"time": time, "value": wave, "series": str(number)})
            for number, wave in enumerate(waves)
        ]
        frame = pd.concat(series, ignore_index=True)
        self.training = TimeSeriesDataSet(
            frame[frame["time"] < 70],
            time_idx="time",
            target="value",
            group_ids=["series"],
            max_encoder_length=PAST,
            max_prediction_length=FUTURE,
            time_varying_unknown_reals=["value"],
        )
        self.later = {
            part: TimeSeriesDataSet.from_dataset(
                self.training, frame[frame["time"] < end], min_prediction_idx=start
            )
            for part, start, end in (("val", 70, 80), ("test", 80, 90))
        }

    def train_dataloader(self) -> Any:
        return self.training.to_dataloader(train=True, batch_size=32, num_workers=0)

    def val_dataloader(self) -> Any:
        return self.later["val"].to_dataloader(train=False, batch_size=32, num_workers=0)

    def test_dataloader(self) -> Any:
        return self.later["test"].to_dataloader(train=False, batch_size=32, num_workers=0)
