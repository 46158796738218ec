"""Reasons against a stack that only show when data and models are there."""

from torch import nn
from torch.utils.data import Dataset

from ablab.data.contract import RunDataModule
from ablab.data.module import PartsDataModule
from ablab.trackers import CSVTracker, Tracker
from ablab.trackers.weights_and_biases import WandbTracker
from ablab.training.module import SupervisedModule

# Methods of SupervisedModule that a model may have of its own: a stack calls them as a run does.
_FREE = {
    *("forward", "layer_groups", "output_range", "load_pretrained"),
    *("training_loss", "split_batch", "predict_step"),
}
_LOADING = ("train_dataloader", "train_loader", "augmentation", "_loader", "state_dict", "batches")
_RANDOM = (nn.modules.dropout._DropoutNd, nn.RReLU)  # but for nn.Dropout


class NotStackable(Exception):  # noqa: N818  # The jobs have no error: they run one by one.
    """Jobs cannot be trained as one model, for the reason given."""


def refuse_data(data: RunDataModule) -> None:
    """Raise NotStackable for data whose parts are not tensors in memory."""
    kind = type(data)
    if not isinstance(data, PartsDataModule) or any(
        isinstance(part, Dataset) for part in data.parts.values()
    ):
        raise NotStackable(f"{kind.__name__} does not hold its rows as tensors in memory")
    own = [name for name in _LOADING if getattr(kind, name) is not getattr(PartsDataModule, name)]
    if own:
        raise NotStackable(f"{kind.__name__}.{own[0]} makes batches of its own")


def refuse_model(model: object) -> None:
    """Raise NotStackable for a model that does more in training than its forward pass."""
    name = type(model).__name__
    if not isinstance(model, SupervisedModule):
        raise NotStackable(f"{name} has training steps of its own")
    for kind in type(model).__mro__[: type(model).__mro__.index(SupervisedModule)]:
        own = (attribute for attribute in vars(kind) if not attribute.startswith("__"))
        for attribute in own:
            if attribute not in _FREE and callable(getattr(SupervisedModule, attribute, None)):
                raise NotStackable(f"{name}.{attribute} is its own")
    for module in model.modules():
        draws = isinstance(module, _RANDOM) and type(module) is not nn.Dropout
        if draws and getattr(module, "p", 1.0) > 0:
            raise NotStackable(f"{name} draws random numbers in training ({type(module).__name__})")
        if module._compiled_call_impl is not None:
            raise NotStackable(f"{name} is compiled")


def refuse_trackers(trackers: list[Tracker]) -> None:
    """Raise NotStackable for a tracker that cannot log several runs at a time."""
    for tracker in trackers:
        if not isinstance(tracker, CSVTracker | WandbTracker):
            raise NotStackable(f"{tracker.name} logs one run of a process at a time")
