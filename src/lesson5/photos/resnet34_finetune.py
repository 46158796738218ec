"""Fine-tuning of a ResNet34 (He et al. 2016) with fastai's head and layer groups."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

from ablab.config.schema import Count, Flag, Fraction, Text
from ablab.errors import CheckpointError, DataError
from ablab.runs.checkpoint_files import load_state, read_tensors
from ablab.runs.checkpoints import load_checkpoint
from ablab.runs.find import chosen_checkpoint, saved_config
from ablab.runs.record import RunRecord
from ablab.training.module import SupervisedModule

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
BODY_FEATURES = 512
BODY_PARTS = 8  # conv1, bn1, relu, maxpool, layer1 … layer4
SPLIT = 6  # layer1 and layer2 end the early half


class AdaptiveConcatPool2d(nn.Module):
    """Maximum, then mean, over all positions: (B, C, H, W) -> (B, 2C, 1, 1)."""

    def forward(self, features: Tensor) -> Tensor:
        pooled = [nn.functional.adaptive_max_pool2d(features, 1), features.mean((2, 3), True)]
        return torch.cat(pooled, dim=1)


class ResNet34Finetune(SupervisedModule):
    """torchvision's resnet34 without its last two layers, under the head of fastai 1.0.

    The layer groups are fastai's three: the body before ``layer3``, the rest of it, and the head.

    Args:
        n_classes: number of logits.
        weights: of the body: ``imagenet`` (torchvision's, downloaded once and checked), ``none``,
            the folder of another run of this model, or a file with the state dict of a resnet34.
        dropout: before the last linear layer; before the first it is half as high.
        channels_last: keep images and body in the memory order that GPUs convolve fastest.
        compile: compile the forward pass with ``torch.compile``; names in checkpoints stay.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        n_classes: Count,
        weights: Text = "imagenet",
        dropout: Fraction = 0.5,
        channels_last: Flag = True,
        compile: Flag = False,
    ) -> None:
        super().__init__()
        from torchvision.models import resnet34  # imported here: most runs have no images

        self.weights = weights
        layers = list(resnet34().children())[:BODY_PARTS]
        self.body = nn.Sequential(*layers)
        self.head = _head(2 * BODY_FEATURES, n_classes, dropout)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.body.to(memory_format=self.memory_format)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        if compile:
            # As a whole: compiled apart, body and head would share a limit of recompilations.
            self.compile()

    def layer_groups(self) -> Mapping[str, Sequence[nn.Module]]:
        body = list(self.body)
        return {"body_early": body[:SPLIT], "body_late": body[SPLIT:], "head": [self.head]}

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W), uint8 or float in 0..1 -> logits (B, n_classes)."""
        if images.dtype == torch.uint8:
            images = images / 255
        images = ((images - self.mean) / self.std).contiguous(memory_format=self.memory_format)
        return self.head(self.body(images))

    def load_pretrained(self) -> None:
        """Load the body that ``weights`` names; the head keeps its random values.

        Raises:
            DataError: ImageNet's weights cannot be downloaded.
            CheckpointError: there is no such file or run, it holds more than tensors, or they are
                not those of a resnet34.
        """
        if self.weights == "none":
            return
        state = _imagenet_state() if self.weights == "imagenet" else _state_at(Path(self.weights))
        try:
            load_state(self.body, _body_state(state, self.body), finite=True)
        except (CheckpointError, KeyError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise CheckpointError(
                f"model.weights: {self.weights}: is not of a resnet34 ({reason})"
            ) from error


def _head(n_features: int, n_classes: int, dropout: float) -> nn.Sequential:
    head = nn.Sequential(
        AdaptiveConcatPool2d(),
        nn.Flatten(),
        nn.BatchNorm1d(n_features),
        nn.Dropout(dropout / 2),
        nn.Linear(n_features, 512),
        nn.ReLU(),
        nn.BatchNorm1d(512),
        nn.Dropout(dropout),
        nn.Linear(512, n_classes),
    )
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return head


def _imagenet_state() -> dict[str, Tensor]:
    from torchvision.models import ResNet34_Weights

    try:
        return dict(
            ResNet34_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True, weights_only=True)
        )
    except (URLError, OSError, RuntimeError) as error:
        raise DataError(
            f"model.weights: ImageNet's weights cannot be downloaded ({error}); set it to a file "
            f"with a resnet34's state dict, to the folder of another run, or to none"
        ) from error


def _state_at(path: Path) -> Mapping[str, Tensor]:
    if path.is_dir():
        if RunRecord.read(path).checkpoints.get("chosen") is None:
            raise CheckpointError(f"model.weights: {path}: the run has not finished")
        chosen = chosen_checkpoint(saved_config(path), path)
        return load_checkpoint(path / "checkpoints" / chosen.file)["state_dict"]
    try:
        state = read_tensors(path)
    except CheckpointError as error:
        raise CheckpointError(f"model.weights: {error}") from error
    if not isinstance(state, Mapping):
        raise CheckpointError(f"model.weights: {path}: is not a state dict")
    return state


def _body_state(state: Mapping[str, Tensor], body: nn.Sequential) -> dict[str, Tensor]:
    """Return the tensors of ``state`` by the names that they have in ``body``.

    In ``state`` they have our names (``body.4.0.conv1.weight``) or torchvision's
    (``layer1.0.conv1.weight``).

    Raises:
        KeyError: a tensor of the body is missing.
    """
    if any(name.startswith("body.") for name in state):
        return {name: state[f"body.{name}"] for name in body.state_dict()}
    children = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
    renamed = {}
    for name in body.state_dict():
        index, _, rest = name.partition(".")
        renamed[name] = state[f"{children[int(index)]}.{rest}"]
    return renamed
