"""The ladder of the image path: what its rungs are and what is written, not how long they take."""

import csv
import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.images import TrainingStep, inputs, ladder, main
from PIL import Image
from torchvision import models
from torchvision.models.resnet import BasicBlock


def photos(root: Path) -> Path:
    for label, name in enumerate(("ants", "bees")):
        for number in range(5):
            path = root / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(10 * label + number).integers(0, 256, (36, 40, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root


def test_each_rung_keeps_what_those_before_it_have() -> None:
    rungs = ladder(compiled=True)
    for before, after in itertools.pairwise(rungs):
        for kept in ("channels_last", "bf16", "compile"):
            assert getattr(after, kept) >= getattr(before, kept)
        assert (before.inputs, before.step) != (after.inputs, after.step)
    assert [rung.inputs for rung in rungs[:3]] == ["files", "images", "batches"]
    assert sum(rung.compile for rung in ladder(compiled=False)) == 0


def test_all_pipelines_give_uint8_batches(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    pipelines = inputs(photos(tmp_path / "photos"), 32, 4, 0, tmp_path / "cache", cpu)
    rows = dict.fromkeys(pipelines, 0)
    for kind, pipeline in pipelines.items():
        for images, labels in pipeline:
            assert (images.dtype, images.shape[1:]) == (torch.uint8, (3, 32, 32))
            rows[kind] += len(labels)
    assert rows == {"files": 10, "images": 8, "batches": 8}  # 2 are kept for a test part


def test_a_step_changes_what_learns_alone() -> None:
    batch = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8), torch.tensor([0, 1, 0, 1])
    step = TrainingStep(ladder(compiled=False)[-1], batch, 2)
    before = {name: value.clone() for name, value in step.model.state_dict().items()}
    step()
    changed = {
        name for name, value in step.model.state_dict().items() if (value != before[name]).any()
    }
    assert {name.partition(".")[0] for name in changed} == {"head"}


@pytest.mark.slow
def test_a_row_for_each_rung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shallow = partial(models.ResNet, BasicBlock, [1, 1, 1, 1])
    monkeypatch.setattr(models, "resnet34", shallow)
    root, out = photos(tmp_path / "photos"), tmp_path / "out"
    few = ["--size", "32", "--batch-size", "4", "--rounds", "1", "--steps", "1", "--workers", "0"]
    cache = ["--cache", str(tmp_path / "cache"), "--out", str(out), "--no-compile"]
    assert main([str(root), *few, *cache]) == 0
    with (out / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["rung"] for row in rows] == [rung.name for rung in ladder(compiled=False)]
    assert (out / "images.md").read_text().count("\n|") == len(rows) + 2
    assert main([str(tmp_path / "none")]) == 2
