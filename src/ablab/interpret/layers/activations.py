"""Record the activations of a layer over a part of the data.

The default is the input of the last linear layer, from which a classifier computes its logits: the
features of a deep network, and the data themselves in logistic regression.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ablab.config.schema import Text
from ablab.config.suggestions import suggestion
from ablab.data.module import PartsDataModule
from ablab.errors import UserError
from ablab.training.module import SupervisedModule
from ablab.training.trial import uncompiled

_NO_LAYERS = ("loss_function", "evaluation_loss", "evaluation_metrics")  # of SupervisedModule


@contextmanager
def recorded(model: nn.Module, layer: Text | None = None) -> Iterator[list[Tensor]]:
    """Collect the activations (B, …) of ``layer`` in each forward pass within the block.

    They are kept on the CPU. Compiled models run uncompiled in the block, since compiled code calls
    no hooks.

    Args:
        model: with the layer.
        layer: the dotted name of a layer, as in ``named_modules``, whose output is recorded; None
            for the input of the last linear layer.

    Yields:
        The list to which each forward pass adds a tensor.

    Raises:
        UserError: no layer has this name, or there is no linear layer; in a forward pass, the layer
            returns something else than a tensor.
    """
    records: list[Tensor] = []

    def record(given: object) -> None:
        if not isinstance(given, Tensor):
            raise UserError(f"{described(layer)}: is a {type(given).__name__}, not a tensor")
        records.append(given.detach().to("cpu", copy=True))  # a ReLU may change it in place

    if layer is None:
        hook = last_linear(model).register_forward_pre_hook(lambda _, inputs: record(inputs[0]))
    else:
        hook = named_layer(model, layer).register_forward_hook(lambda _, __, given: record(given))
    try:
        with uncompiled(model):
            yield records
    finally:
        hook.remove()


def described(layer: str | None) -> str:
    """Return what is recorded of ``layer``, in words."""
    return "input of the last linear layer" if layer is None else f"output of {layer}"


def named_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the layer of this name.

    Raises:
        UserError: there is none, or it only holds other layers; the message names some that exist.
    """
    layers = {
        path: module
        for path, module in model.named_modules()
        if path and path.partition(".")[0] not in _NO_LAYERS
    }
    if isinstance(layers.get(name), nn.ModuleList | nn.ModuleDict):
        first = next((path for path in layers if path.startswith(f"{name}.")), name)
        raise UserError(
            f"'{name}' only holds layers and has no output; choose one of them, such as {first}"
        )
    if name in layers:
        return layers[name]
    hint = suggestion(name, list(layers))
    if not hint:  # too many to list
        hint = suggestion(name, [path for path in layers if path.count(".") <= 1])
    raise UserError(f"{type(model).__name__} has no layer '{name}'{hint}")


def last_linear(model: nn.Module) -> nn.Linear:
    """Return the linear layer that is defined last. Raises UserError if there is none."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise UserError(f"{type(model).__name__} has no linear layer; choose a layer by name")
    return linear[-1]


@torch.no_grad()
def outputs(model: SupervisedModule, data: PartsDataModule, part: str) -> Tensor:
    """Return the model's output for the rows of a part, (N, …), on the CPU.

    It runs in eval mode and in batches of ``data.eval_batch_size``, on the device of its trainer
    after a fit, else where the model is.
    """
    home = model.device
    device = model.trainer.strategy.root_device if model._trainer is not None else home
    model.eval().to(device)
    try:
        batches = [
            model(*(tensor.to(device) for tensor in inputs)).cpu()
            for *inputs, _ in data.batches(part)
        ]
    finally:
        model.to(home)
    return torch.cat(batches)


def activations(
    model: SupervisedModule, data: PartsDataModule, part: str, layer: Text | None = None
) -> Tensor:
    """Return the activations of ``layer`` for the rows of a part, flattened, (N, n_features).

    Raises:
        UserError: there is no such layer (``recorded``), or it has not one row for each row of the
            data.
    """
    with recorded(model, layer) as records:
        rows = len(outputs(model, data, part))
    return as_rows(records, rows, layer)


def as_rows(records: list[Tensor], n_rows: int, layer: str | None) -> Tensor:
    """Join the recorded batches to (n_rows, n_features).

    Raises:
        UserError: they have another number of rows.
    """
    found = sum(len(batch) for batch in records)
    if found != n_rows:
        raise UserError(
            f"{described(layer)}: has {found} rows for {n_rows} rows of the data; choose a layer "
            f"that is called once for each batch and has the rows in its first dimension"
        )
    return torch.cat([batch.reshape(len(batch), -1) for batch in records]).float()
