"""The values that a checkpoint may hold: tensors and plain ones, which run no code when read."""

import logging
from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import Any

import torch

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.Size, torch.dtype, torch.device)
_TENSORS = (torch.Tensor, torch.nn.Parameter)
_ARGUMENTS = ("hyper_parameters", "datamodule_hyper_parameters")
log = logging.getLogger(__name__)


def other_values(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the place and the class of what ``torch.load`` with ``weights_only=True`` refuses."""
    if type(value) in (dict, OrderedDict, Counter):
        for key, inner in value.items():
            yield from other_values(key, f"{place} (a key)")
            yield from other_values(inner, f"{place}.{key}".lstrip("."))
    elif type(value) in (list, tuple, set):
        for index, inner in enumerate(value):
            yield from other_values(inner, f"{place}[{index}]")
    elif type(value) not in _PLAIN and not isinstance(value, _TENSORS):
        yield place, f"{type(value).__module__}.{type(value).__qualname__}"


def leave_out_arguments(checkpoint: dict[str, Any]) -> None:
    """Leave out of a checkpoint what ``save_hyperparameters`` has saved that is no plain value.

    A run builds its model from its config, not from these.
    """
    for section in _ARGUMENTS:
        saved = checkpoint.get(section)
        if not isinstance(saved, dict):  # of OmegaConf, say
            if checkpoint.pop(section, None) is not None:
                _tell(section)
            continue
        for name in [name for name, value in saved.items() if any(other_values(value))]:
            del saved[name]
            _tell(name)
    checkpoint.pop("hparams_type", None)  # a class


_told: set[str] = set()


def _tell(name: str) -> None:
    if name not in _told:
        _told.add(name)
        log.warning(
            "save_hyperparameters: '%s' is no plain value, so checkpoints leave it out; the run "
            "has it from its config",
            name,
        )
