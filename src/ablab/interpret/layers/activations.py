"""Activations of a layer over a part of the data.

The layer that is looked at by default is the input of the last linear layer: what the classes are
told apart by. It is the pooled and reduced features of a ResNet34, the hidden layer of MnistNN
after its ReLU, and the pixels themselves for logistic regression.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ablab.config.schema import Text
from ablab.config.suggestions import suggestion
from ablab.data.batches import TensorLoader
from ablab.data.module import TensorDataModule
from ablab.errors import UserError
from ablab.training.module import SupervisedModule, uncompiled

_NO_LAYERS = ("loss_function", "evaluation_loss", "evaluation_metrics")  # of SupervisedModule


@contextmanager
def recorded(model: nn.Module, layer: Text | None = None) -> Iterator[list[Tensor]]:
    """Within it, each forward pass adds what ``layer`` gave, (B, …), on the CPU.

    The hook is gone at its end, also after an exception. Compiled models run uncompiled within it,
    since compiled code calls no hooks.

    Args:
        layer: dotted name as in ``named_modules``, whose output is recorded; None for the input of
            the last linear layer.

    Raises:
        UserError: no layer has that name, or there is no linear layer; or, at a forward pass, the
            layer gives something else than a tensor.
    """
    records: list[Tensor] = []

    def record(given: object) -> None:
        if not isinstance(given, Tensor):
            raise UserError(f"{described(layer)}: is a {type(given).__name__}, not a tensor")
        records.append(given.detach().to("cpu", copy=True))  # a ReLU after it may work in place

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
    return "input of the last linear layer" if layer is None else f"output of {layer}"


def named_layer(model: nn.Module, name: str) -> nn.Module:
    """Raises UserError, which names the layers, if there is none of this name."""
    layers = {
        path: module
        for path, module in model.named_modules()
        if path and path.partition(".")[0] not in _NO_LAYERS
    }
    if isinstance(layers.get(name), nn.ModuleList | nn.ModuleDict):
        first = next((path for path in layers if path.startswith(f"{name}.")), name)
        raise UserError(
            f"'{name}' holds layers and gives nothing itself; take one, such as {first}"
        )
    if name in layers:
        return layers[name]
    told = suggestion(name, list(layers))
    if not told:  # too many to list
        told = suggestion(name, [path for path in layers if path.count(".") <= 1])
    raise UserError(f"{type(model).__name__} has no layer '{name}'{told}")


def last_linear(model: nn.Module) -> nn.Linear:
    """The one that is defined last. Raises UserError if there is none."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise UserError(f"{type(model).__name__} has no linear layer; name a layer of it")
    return linear[-1]


@torch.no_grad()
def outputs(model: SupervisedModule, data: TensorDataModule, part: str) -> Tensor:
    """Of the last layer, for the rows of a part, (N, …), in batches of ``data.eval_batch_size``.

    After a fit on the device of its trainer, else where the model is; it is then in eval mode.
    """
    home = model.device
    device = model.trainer.strategy.root_device if model._trainer is not None else home
    model.eval().to(device)
    try:
        batches = [
            model(*(tensor.to(device) for tensor in inputs)).cpu()
            for *inputs, _ in TensorLoader(data.parts[part], data.eval_batch_size)
        ]
    finally:
        model.to(home)
    return torch.cat(batches)


def activations(
    model: SupervisedModule, data: TensorDataModule, part: str, layer: Text | None = None
) -> Tensor:
    """What ``layer`` gives for the rows of a part, flattened, (N, n_features); see ``recorded``.

    Raises:
        UserError: there is no such layer, or it does not give one row for each of the data's.
    """
    with recorded(model, layer) as records:
        outputs(model, data, part)
    return as_rows(records, len(data.parts[part][-1]), layer)


def as_rows(records: list[Tensor], n_rows: int, layer: str | None) -> Tensor:
    """Raises UserError unless the batches that were recorded hold ``n_rows`` rows."""
    found = sum(len(batch) for batch in records)
    if found != n_rows:
        raise UserError(
            f"{described(layer)}: {found} rows for {n_rows} of the data; a layer that is called "
            f"once for each batch, with the rows first, would have as many"
        )
    return torch.cat([batch.reshape(len(batch), -1) for batch in records]).float()
