"""Build metrics, name the numbers that they give, and one that torchmetrics has not."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from hydra.errors import InstantiationException
from torch import Tensor
from torchmetrics import Metric

from ablab.config.instantiate import instantiate
from ablab.config.targets import component_signature
from ablab.errors import ConfigError, first_line


class Quotient(Metric):
    """The sum of the numerators over the sum of the denominators; nan stays nan.

    torchmetrics' ``MeanMetric`` ignores the weights when it is told to let nan through.
    """

    full_state_update = False
    numerator: Tensor
    denominator: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("numerator", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("denominator", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, numerator: Tensor, denominator: Tensor | int) -> None:
        self.numerator += numerator
        self.denominator += denominator

    def compute(self) -> Tensor:
        return self.numerator / self.denominator


def sizes_for_metrics(sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data's sizes by torchmetrics' names for them, ``num_…`` for ``n_…``."""
    named = {f"num_{key[2:]}": size for key, size in sizes.items() if key.startswith("n_")}
    task = "multiclass" if "num_classes" in named else "binary"
    return {**named, "task": task}


def build_metric(name: str, node: Mapping[str, Any], sizes: Mapping[str, Any]) -> Metric:
    """Return the metric of a node; what it needs and the node leaves out is taken from ``sizes``.

    Args:
        name: of the metric, for errors.
        sizes: of the data, as ``sizes_for_metrics`` has them.

    Raises:
        ConfigError: it cannot be built.
    """
    inner = {
        key: build_metric(name, value, sizes)
        for key, value in node.items()
        if isinstance(value, dict) and "_target_" in value
    }
    given = {key: value for key, value in node.items() if key not in inner}
    signature = component_signature(node["_target_"])
    offered = {k: v for k, v in sizes.items() if k in signature.types and k not in node}
    if not signature.required - node.keys():
        try:
            return instantiate(given, **inner)
        except InstantiationException:  # It may need a size for this average, say.
            if not offered:
                raise
    try:
        return instantiate({**offered, **given}, **inner)
    except InstantiationException as error:
        raise ConfigError(
            f"objective.metrics.{name}: {first_line(error.__cause__ or error)} (the data offer "
            f"{', '.join(f'{key}={value}' for key, value in sizes.items())})"
        ) from error


def named_values(name: str, value: Any, class_names: Sequence[str] = ()) -> dict[str, float]:
    """Return what a metric has measured as numbers: ``name``, or ``name/PART`` for each of several.

    Parts of a vector with a number for each class have the names of the classes, others are
    counted; a matrix has a name for each axis: ``confusion/cat/dog``. Those of a dictionary have
    its keys.
    """
    if isinstance(value, Mapping):
        parts = {_part(str(key), class_names): part for key, part in value.items()}
    elif isinstance(value, Sequence) or (isinstance(value, Tensor) and value.dim() > 0):
        names = class_names if len(class_names) == len(value) else range(len(value))
        parts = dict(zip(map(str, names), value, strict=True))
        if len(parts) == 1:
            return {name: float(value[0])}
    else:
        return {name: float(value)}
    return {
        inner: number
        for part, of_part in parts.items()
        for inner, number in named_values(f"{name}/{part}", of_part, class_names).items()
    }


def _part(key: str, class_names: Sequence[str]) -> str:
    """Return the class of a key of ``ClasswiseWrapper``, which is ``multiclassrecall_3``."""
    number = re.fullmatch(r"[a-z0-9]+_(\d+)", key)
    counted = number is not None and int(number[1]) < len(class_names)
    return class_names[int(number[1])] if counted else key  # type: ignore[index]
