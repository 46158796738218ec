"""The contract of data with the engine: a ``LightningDataModule`` and a few facts beside it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from lightning.fabric.utilities.data import sized_len
from lightning.pytorch import LightningDataModule
from torch import Tensor

from ablab.errors import CheckpointError, DataError

Resumes = Literal["exact in mid-epoch", "from the epoch's start"]
NOT_FINGERPRINTED = "not fingerprinted"


class RunDataModule(LightningDataModule):
    """Data of a run. All that Lightning does not ask for has a default that may be overridden.

    Attributes:
        batch_size: rows of a training batch on each process.
        eval_batch_size: rows of a batch in validation, test and prediction.
        split_seed: seed of the split, fixed for all runs of a plan.
        order_seed: seed of the order of the training batches.
        first_epoch: number of epochs that earlier phases have seen.
        batches_per_execution: batches that Lightning is given at a time, as a list; None for single
            batches, which any LightningModule takes.
        workers: processes that read samples; data in memory need none.
        pin_memory: whether batches go through memory from which a GPU reads faster; None for a run
            on a GPU.
        persistent_workers: whether workers stay from one epoch to the next.
    """

    batch_size = 64
    eval_batch_size = 16384
    split_seed = 42
    order_seed = 0
    first_epoch = 0
    batches_per_execution: int | None = 1
    workers = 0
    pin_memory: bool | None = None
    persistent_workers = True

    def __init__(self) -> None:
        super().__init__()
        self._training_loader: Any = None
        self._position: dict[str, Any] | None = None

    def configure(
        self,
        *,
        batch_size: int | None = None,
        eval_batch_size: int | None = None,
        split_seed: int | None = None,
        order_seed: int | None = None,
        workers: int | None = None,
        pin_memory: bool | None = None,
        persistent_workers: bool | None = None,
    ) -> Self:
        """Set the attributes of these names, before ``setup``; None leaves one as it is."""
        settings = {name: value for name, value in locals().items() if name != "self"}
        for name, value in settings.items():
            if value is not None:
                setattr(self, name, value)
        return self

    def begin_phase(self, first_epoch: int, batches_per_execution: int | None) -> None:
        """Prepare for the fit of a phase; the arguments are the attributes of these names."""
        self.first_epoch = first_epoch
        self.batches_per_execution = batches_per_execution

    @property
    def own(self) -> LightningDataModule:
        """Return the data module that the user has written, where this one only adapts it."""
        return self

    @property
    def sizes(self) -> dict[str, Any]:
        """Return what a model must know of the data (users, classes), by constructor argument.

        Values are integers or lists of them.
        """
        return {}

    @property
    def has_validation(self) -> bool:
        """Return whether there is a validation part."""
        return True

    @property
    def has_test(self) -> bool:
        """Return whether there is a test part."""
        return True

    @property
    def resumes(self) -> Resumes:
        """Return where a killed run continues; mid-epoch only if no batch is lost or repeated."""
        return "from the epoch's start"

    def fingerprints(self) -> dict[str, dict[str, Any]]:
        """Return for each part what tells it from other data: rows, digests.

        A run is only continued with data of the same fingerprints.
        """
        return {"data": {"fingerprint": NOT_FINGERPRINTED}}

    def trial_batch(self) -> Any:
        """Return a training batch of two rows, or None if it cannot be had without side effects."""
        return None

    def training_targets(self) -> Tensor | None:
        """Return the targets of all training rows, or None where they would have to be read."""
        return None

    @contextmanager
    def test_hidden(self) -> Iterator[None]:
        """Keep interpretations in the block from the test part, where that is possible."""
        yield

    def train_loader(self) -> Any:
        """Return the training batches outside of a fit."""
        raise NotImplementedError

    def training_part(self) -> Any:
        """Return the batches of the training part for an evaluation of it."""
        return self.train_loader()

    def summary(self) -> str:
        """Return one line: the data, its split, and the rows of each part."""
        return type(self.own).__name__

    def baselines(self) -> dict[str, dict[str, float]]:
        """Return test metrics of simple models that are fitted on the training rows, by name."""
        return {}

    def test_table(self) -> dict[str, Sequence[Any]]:
        """Return columns that describe the test rows, in the order of the test part."""
        return {}

    def predict_from(self, path: Path) -> None:
        """Make the rows of another file those that are predicted, and those of ``test_table``.

        Raises:
            DataError: it cannot be read, or these data do not come from such a file.
        """
        raise DataError(
            f"data.path: {type(self.own).__name__} reads no new rows; leave it out, and the test "
            f"part is predicted"
        )

    def class_names(self, n_classes: int) -> list[str]:
        """Return the names of the classes, in the order of a classifier's output columns."""
        return [str(index) for index in range(n_classes)]

    def prediction_columns(self, predictions: Tensor) -> dict[str, Sequence[Any]]:
        """Return the columns to write: predictions (N,) as they are, or for probabilities (N, C)
        the most probable class and its probability."""
        if predictions.dim() == 1:
            return {"prediction": predictions.tolist()}
        probability, index = predictions.float().max(dim=1)
        names = self.class_names(predictions.shape[1])
        return {"prediction": [names[i] for i in index], "probability": probability.tolist()}

    def restore(self, loader: Any) -> None:
        """Let a training loader go on where the checkpoint says, and save its state in the next.

        Lightning's fit loop would lose it when ``configure_optimizers`` asks for the length of the
        run (Lightning issue 20550).
        """
        if self._position is not None:
            loader.load_state_dict(self._position)
            self._position = None
        self._training_loader = loader

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the training loader."""
        return {} if self._training_loader is None else self._training_loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._training_loader is None:
            self._position = state_dict
        elif sized_len(self._training_loader) is None:
            raise CheckpointError(
                "a sharded run cannot be continued on training data without a length; give them one"
            )
        else:  # Lightning restores a sharded fit only after its loader has been made
            self._training_loader.load_state_dict(state_dict)
