"""The columns of a table of predictions, made of what ``predict_step`` returned for each batch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ablab.errors import ConfigError


def columns_of(model: str, batches: Sequence[Any]) -> dict[str, list[Any]]:
    """Return a column for each number of a row.

    Args:
        model: name of its class, for a message.
        batches: tensors (N,) or (N, C), or dictionaries of them.

    Raises:
        ConfigError: they are something else.
    """
    named = [batch if isinstance(batch, dict) else {"prediction": batch} for batch in batches]
    columns: dict[str, list[Any]] = {}
    for name in named[0]:
        parts = [batch.get(name) for batch in named]
        if not all(isinstance(part, Tensor) and 1 <= part.dim() <= 2 for part in parts):
            raise ConfigError(
                f"task: a table of predictions has rows of numbers, and predict_step of {model} "
                f"returns {_described(parts[0])}; return tensors (rows,) or (rows, columns), or a "
                f"dictionary of them"
            )
        values = torch.cat([part for part in parts if part is not None]).cpu()
        if values.dim() == 1:
            columns[name] = values.tolist()
        else:
            of_columns = zip(*values.tolist(), strict=True)
            columns |= {f"{name}_{i}": list(column) for i, column in enumerate(of_columns)}
    return columns


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of {value.dim()} dimensions"
    return f"a {type(value).__name__}"
