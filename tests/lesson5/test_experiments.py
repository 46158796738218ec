"""Every experiment file is a record, composes, and runs; a new one needs an entry in TINY_RUNS."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.models.resnet import BasicBlock, ResNet

from ablab.runs.record import RunRecord
from tests.checks import checked
from tests.launch import ROOT, launch

EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))

RATINGS = ["data=synthetic_ratings", "~data.split", "model.n_factors=4", "trainer.max_epochs=1"]
DIGITS = ["data=synthetic_digits", "trainer.max_epochs=1"]
TABLE = ["data=synthetic_table", "data.n_rows=400", "~data.split", "trainer.max_epochs=1"]
PHOTOS = ["data=image_folder", "data.root=PHOTOS", "data.size=32", "model.weights=BODY"]
NOT_OF_PHOTOS = ["~data.classes", "~data.train_rows"]
ONLY_THE_RUN = ["interpret=none"]  # another of the same data is looked into, which takes a second
COLUMNS = ["~data.categorical", "~data.continuous", "~data.binned"]

# What makes each small and free of the network; PHOTOS and BODY are files that the test makes.
TINY_RUNS = {
    "bikeshare": TABLE,
    "bikeshare_embeddings": [*TABLE, *COLUMNS, "interpret.embedding_features.trees=3"],
    "bikeshare_time": TABLE,
    "collab": RATINGS,
    "collab_best": RATINGS,
    "collab_fast": RATINGS,
    "digits_pretrain": [*PHOTOS, *ONLY_THE_RUN, "~data.classes", "trainer.max_epochs=1"],
    "digits_scratch": [*PHOTOS, *NOT_OF_PHOTOS, *ONLY_THE_RUN, "trainer.max_epochs=1"],
    "digits_transfer": [
        *PHOTOS,
        *NOT_OF_PHOTOS,
        *ONLY_THE_RUN,
        "phases.head.epochs=1",
        "phases.all.epochs=1",
    ],
    "finetune": [*PHOTOS, "phases.head.epochs=1", "phases.all.epochs=1"],
    "mnist_logistic": [*DIGITS, *ONLY_THE_RUN],
    "mnist_nn": DIGITS,
    "mnist_sgd_l2": [*DIGITS, *ONLY_THE_RUN],
}


def shallow_resnet() -> ResNet:
    """One block where a resnet34 has three to six: a quarter of what each checkpoint takes."""
    return ResNet(BasicBlock, [1, 1, 1, 1])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Photos of two classes, and the weights of a body."""
    root = tmp_path_factory.mktemp("files")
    random = np.random.default_rng(0)
    for name in ("ants", "bees"):
        for number in range(10):
            path = root / "photos" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (36, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
    torch.manual_seed(0)
    torch.save(shallow_resnet().state_dict(), root / "body.pth")
    return {"PHOTOS": str(root / "photos"), "BODY": str(root / "body.pth")}


def tiny(experiment: str, files: dict[str, str]) -> list[str]:
    overrides = [f"experiment={experiment}", *TINY_RUNS[experiment]]
    for placeholder, path in files.items():
        overrides = [o.replace(f"={placeholder}", f"={path}") for o in overrides]
    return [*overrides, "logger=csv", "trainer.accelerator=cpu"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_runs_from_end_to_end(
    experiment: str,
    files: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(torchvision.models, "resnet34", shallow_resnet)
    cache = [f"paths.data={tmp_path / 'data'}"]
    launch([*tiny(experiment, files), *cache], tmp_path / "run")
    record = RunRecord.read(tmp_path / "run")
    assert (record.status, record.name) == ("done", experiment)
    assert all(np.isfinite(value) for value in record.metrics["test"].values())
    names = {name for row in record.baselines.values() for name in row}
    assert "interpret." not in caplog.text  # a step that failed would be told
    assert names <= set(record.metrics["test"])  # each baseline stands beside a metric


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_is_a_record(experiment: str) -> None:
    """Its header claims, cites, and has a command that is this experiment and composes."""
    text = (ROOT / "conf" / "experiment" / f"{experiment}.yaml").read_text()
    header = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    for word in ("Claim:", "Source:", "Command:", "Expected:"):
        assert f"# {word}" in header, f"{experiment} has no {word}"
    commands = re.findall(r"python train\.py ([^\n]+)", header)
    assert commands
    for command in commands:
        overrides = [o for o in command.split("  ")[0].split() if o != "-m"]
        single = [o if "[" in o else o.split(",")[0] for o in overrides]
        assert checked(single).name == experiment
