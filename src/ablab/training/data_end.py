"""The end of the data, which Lightning knows by StopIteration: errors that would pass for it."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from lightning.pytorch import Trainer

from ablab.errors import DataError

_STEPS = ("training_step", "validation_step", "test_step", "predict_step")


def guard_steps(trainer: Trainer) -> None:
    """Make StopIteration in a step an error, where Lightning would end the epoch."""
    for name in _STEPS:
        setattr(trainer.strategy, name, partial(_guarded, getattr(trainer.strategy, name)))


def _guarded(step: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    try:
        return step(*arguments, **named)
    except StopIteration as error:
        if arguments and isinstance(arguments[0], Iterator):  # The step reads the loader itself.
            raise
        raise RuntimeError(
            f"{step.__name__} raised StopIteration, as next(…) does at the end of an iterator; "
            f"Lightning would take it for the end of the data"
        ) from error


def refuse_empty_epoch(trainer: Trainer) -> None:
    """Raise DataError if the epoch that ends has had no batch."""
    if trainer.fit_loop.epoch_loop.batch_progress.current.ready == 0:
        raise DataError(
            f"data: there is no batch in epoch {trainer.current_epoch + 1}; the training loader "
            f"has to give its batches anew in each epoch, which a generator does not"
        )


def refuse_no_batches(trainer: Trainer) -> None:
    """Raise DataError if the training loader has no batch, for which Lightning skips a fit."""
    if trainer.num_training_batches == 0:
        raise DataError(
            "data: the training loader has no batch: it has no rows, or drop_last leaves out the "
            "only batch, or trainer.limit_train_batches leaves none"
        )
