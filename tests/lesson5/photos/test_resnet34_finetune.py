"""ResNet34 under fastai's head: its groups, what freezing means, and which weights it takes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx import GraphModule
from torchvision import models
from torchvision.models import resnet34
from torchvision.models.resnet import BasicBlock

from ablab.errors import CheckpointError, ConfigError
from ablab.interpret.layers.activations import recorded
from ablab.runs.checkpoint_files import write_checkpoint
from ablab.runs.checkpoints import Entry, Manifest
from ablab.runs.record import RunRecord
from ablab.runs.slim import slim
from ablab.training.trial import uncompiled
from lesson5.photos.resnet34_finetune import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    AdaptiveConcatPool2d,
    ResNet34Finetune,
)
from tests.checks import checked


@pytest.fixture(scope="module")
def model() -> ResNet34Finetune:
    torch.manual_seed(0)
    return ResNet34Finetune(n_classes=2, weights="none")


def counts(modules: list[nn.Module]) -> tuple[int, int, int, int]:
    """Parameters, tensors, and those of batch norms."""
    whole = [p for m in modules for p in m.parameters()]
    layers = [layer for m in modules for layer in m.modules()]
    norm = [
        p for m in layers if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d) for p in m.parameters()
    ]
    return sum(p.numel() for p in whole), len(whole), sum(p.numel() for p in norm), len(norm)


def test_groups_are_those_of_fastai(model: ResNet34Finetune) -> None:
    groups = model.layer_groups()
    assert list(groups) == ["body_early", "body_late", "head"]
    assert counts(list(groups["body_early"])) == (1_347_904, 48, 3_200, 32)
    assert counts(list(groups["body_late"])) == (19_936_768, 60, 13_824, 40)


@pytest.mark.parametrize(("n_classes", "parameters"), [(2, 528_898), (10, 533_002), (37, 546_853)])
def test_the_head_is_that_of_fastai_1(n_classes: int, parameters: int) -> None:
    head = ResNet34Finetune(n_classes=n_classes, weights="none").head
    assert sum(p.numel() for p in head.parameters()) == parameters
    kinds = [type(layer).__name__ for layer in head]
    assert kinds == [
        "AdaptiveConcatPool2d",
        "Flatten",
        *("BatchNorm1d", "Dropout", "Linear", "ReLU"),
        *("BatchNorm1d", "Dropout", "Linear"),
    ]
    assert [layer.p for layer in head if isinstance(layer, nn.Dropout)] == [0.25, 0.5]


def test_concat_pooling_has_the_maximum_first() -> None:
    features = torch.randn(2, 3, 4, 5)
    pooled = AdaptiveConcatPool2d()(features)
    assert pooled.shape == (2, 6, 1, 1)
    torch.testing.assert_close(pooled[:, :3, 0, 0], features.amax((2, 3)))
    torch.testing.assert_close(pooled[:, 3:, 0, 0], features.mean((2, 3)))


def test_the_body_is_torchvisions_and_takes_raw_pixels(tmp_path: Path) -> None:
    """uint8 in, normalised as ImageNet is, the same features as torchvision's own network."""
    torch.manual_seed(1)
    original = resnet34().eval()
    torch.save(original.state_dict(), tmp_path / "resnet34.pth")
    model = ResNet34Finetune(n_classes=3, weights=str(tmp_path / "resnet34.pth"))
    model.load_pretrained()
    model.eval()
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    images = (pixels / 255 - mean) / std
    with torch.no_grad():
        features = original.conv1(images)
        features = original.maxpool(original.relu(original.bn1(features)))
        for layer in (original.layer1, original.layer2, original.layer3, original.layer4):
            features = layer(features)
        torch.testing.assert_close(model(pixels), model.head(features), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model(pixels), model(pixels / 255))


def test_activations_are_by_default_the_features_before_the_logits() -> None:
    model = ResNet34Finetune(n_classes=3, weights="none").eval()
    with recorded(model) as records, torch.no_grad():
        logits = model(torch.zeros(2, 3, 32, 32))
    assert records[0].shape == (2, 512)
    torch.testing.assert_close(model.head[-1](records[0]), logits)


def test_weights_that_are_not_of_a_resnet34_are_refused(tmp_path: Path) -> None:
    torch.save({"lin.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 cut short")
    body = resnet34().state_dict()
    torch.save({**body, "conv1.weight": body["conv1.weight"] * torch.nan}, tmp_path / "nan.pth")
    torch.save(nn.Linear(2, 2), tmp_path / "pickle.pth")  # a whole module: loading it runs code
    told = {
        "other.pth": "not of a resnet34",
        "nan.pth": "0.weight is not finite in 9,408 of 9,408 values",
        "cut.pth": "damaged",
        "pickle.pth": "more than tensors",
        "missing.pth": "No such file",
    }
    for name, expected in told.items():
        with pytest.raises(CheckpointError, match=expected):
            ResNet34Finetune(n_classes=2, weights=str(tmp_path / name)).load_pretrained()


def test_the_weights_of_a_slimmed_run_are_found(tmp_path: Path) -> None:
    config = checked(["data=synthetic_ratings"]).model_dump(mode="json")
    record = RunRecord.planned(config, [])
    record.status, record.checkpoints = "done", {"chosen": "epoch=1.ckpt"}
    record.write(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    file = tmp_path / "checkpoints" / "epoch=1.ckpt"
    digest = write_checkpoint({"state_dict": {"x": torch.zeros(1)}}, file)
    Manifest(file.parent).add(Entry(file.name, digest, 1, 1, {}))
    slim(tmp_path, "weights")
    with pytest.raises(CheckpointError, match="not of a resnet34"):  # so they have been read
        ResNet34Finetune(n_classes=2, weights=str(tmp_path)).load_pretrained()


def trainable(model: ResNet34Finetune) -> dict[str, int]:
    """Tensors that learn, by group."""
    return {
        name: sum(p.requires_grad for part in parts for p in part.parameters())
        for name, parts in model.layer_groups().items()
    }


def test_freeze_to(model: ResNet34Finetune) -> None:
    head = 8
    model.freeze_to(-1)
    assert trainable(model) == {"body_early": 32, "body_late": 40, "head": head}
    model.freeze_to(-1, train_norm=False)
    assert trainable(model) == {"body_early": 0, "body_late": 0, "head": head}
    model.freeze_to(1, train_norm=False)
    assert trainable(model) == {"body_early": 0, "body_late": 60, "head": head}
    model.freeze_to(0)
    assert trainable(model) == {"body_early": 48, "body_late": 60, "head": head}
    with pytest.raises(ConfigError, match="no layer group 3; the model has 0 body_early"):
        model.freeze_to(3)


def graph_reaches_the_body(model: ResNet34Finetune) -> list[bool]:
    """Whether each part of the body gives a tensor that autograd would go through."""
    reached: list[bool] = []
    hooks = [
        part.register_forward_hook(lambda _, __, given: reached.append(given.requires_grad))
        for part in model.body
    ]
    model(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    for hook in hooks:
        hook.remove()
    return reached


def test_no_gradient_goes_below_what_learns() -> None:
    model = ResNet34Finetune(n_classes=2, weights="none")
    model.freeze_to(-1, train_norm=False)
    model.train()
    assert graph_reaches_the_body(model) == [False] * 8
    kept: list[torch.Size] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        model(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).sum().backward()
    assert kept
    assert all(len(shape) <= 2 for shape in kept)  # the head's; the body's are (B, C, H, W)
    model.freeze_to(1, train_norm=False)
    assert graph_reaches_the_body(model) == [False] * 6 + [True] * 2
    model.freeze_to(-1)  # the norms of the body learn, the first of them right after conv1
    model.train()
    assert graph_reaches_the_body(model) == [False] + [True] * 7


@pytest.mark.parametrize("train_norm", [True, False])
def test_statistics_of_frozen_norms_move_only_with_train_norm(train_norm: bool) -> None:
    model = ResNet34Finetune(n_classes=2, weights="none")
    model.freeze_to(-1, train_norm=train_norm)
    model.train()
    early = model.body[1]
    assert isinstance(early, nn.BatchNorm2d)
    before = early.running_mean.clone()  # type: ignore[union-attr]
    model(torch.rand(4, 3, 32, 32)).sum().backward()
    assert torch.equal(before, early.running_mean) != train_norm  # type: ignore[arg-type]
    assert (early.weight.grad is not None) == train_norm
    assert model.body[0].weight.grad is None
    assert model.head[2].training


def test_gradients_return_when_a_group_is_unfrozen() -> None:
    model = ResNet34Finetune(n_classes=2, weights="none")
    for n in (-1, 0):
        model.freeze_to(n, train_norm=False)
        model.train()
        model(torch.rand(4, 3, 32, 32)).sum().backward()
        assert (model.body[0].weight.grad is not None) == (n == 0)


def test_compiling_leaves_names_and_waits_for_a_call() -> None:
    torch.manual_seed(0)
    plain = ResNet34Finetune(n_classes=2, weights="none").eval()
    compiled = ResNet34Finetune(n_classes=2, weights="none", compile=True).eval()
    assert list(compiled.state_dict()) == list(plain.state_dict())
    compiled.load_state_dict(plain.state_dict())
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with uncompiled(compiled), torch.no_grad():
        assert torch.equal(compiled(images), plain(images))


@pytest.mark.slow
def test_short_batches_and_phases_are_compiled_a_few_times_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A block a layer: more of them take longer, and are compiled as often.
    monkeypatch.setattr(models, "resnet34", lambda: models.ResNet(BasicBlock, [1, 1, 1, 1]))
    graphs: list[GraphModule] = []

    def keep(graph: GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    model = ResNet34Finetune(n_classes=2, weights="none")
    model.compile(backend=keep)

    def fit_and_test() -> None:
        for freeze_to in (-1, 0):
            model.freeze_to(freeze_to)
            model.train()
            for rows in (8, 5, 8, 7):  # a short batch at the end of each epoch
                model(torch.zeros(rows, 3, 32, 32, dtype=torch.uint8)).sum().backward()
        model.eval()
        with torch.no_grad():
            for rows in (16, 3):
                model(torch.zeros(rows, 3, 32, 32, dtype=torch.uint8))

    fit_and_test()
    assert 0 < len(graphs) <= 5  # for each phase and the test, and of any length
    before = len(graphs)
    fit_and_test()
    assert len(graphs) == before
