"""``python -m benchmarks.images FOLDER``: images per second after each of several improvements.

ResNet34Finetune trains on a folder of images with: files decoded in each epoch and augmented one by
one (torchvision's ImageFolder with a DataLoader); files decoded once to uint8 in memory; batches
augmented on the device; channels_last; bf16 autocast; torch.compile; a frozen body with trainable
norms; a fully frozen body. Each rung of this ladder keeps what the rungs before it have. The input
pipeline and the training step (forward, backward, AdamW) are timed separately, since a DataLoader's
workers overlap the two and share the cores with the step. Rungs take turns within a round, so that
other load on the machine slows all of them alike. The extra time of a rung's first step, mostly
compilation, has its own column.
"""

import argparse
import csv
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ablab.data.batches import TensorLoader
from ablab.data.images.batch_transforms import RandomLight, RandomWarp
from ablab.data.images.files import IMAGE_FILES
from ablab.data.images.folder import ImageFolder
from ablab.errors import DataError, UserError
from benchmarks.arguments import count
from lesson5.photos.resnet34_finetune import ResNet34Finetune

SCALE, JITTER = (0.5, 1.0), 0.2  # as in conf/data/image_folder.yaml


@dataclass(frozen=True)
class Rung:
    """A configuration to time; ``freeze_to`` and ``train_norm`` mean the same as in a phase."""

    name: str
    inputs: str
    channels_last: bool = False
    bf16: bool = False
    compile: bool = False
    freeze_to: int = 0
    train_norm: bool = True

    @property
    def step(self) -> tuple[Any, ...]:
        """The settings of the training step; rungs that share them are timed once."""
        return self.channels_last, self.bf16, self.compile, self.freeze_to, self.train_norm


def ladder(*, compiled: bool) -> list[Rung]:
    kept: dict[str, Any] = {"inputs": "batches", "channels_last": True, "bf16": True}
    rungs = [
        Rung("decoded in each epoch, changed one by one", "files"),
        Rung("decoded once, uint8 in memory", "images"),
        Rung("changed in batches on the device", "batches"),
        Rung("channels_last", "batches", channels_last=True),
        Rung("bf16 autocast", **kept),
    ]
    if compiled:
        kept["compile"] = True
        rungs.append(Rung("torch.compile", **kept))
    frozen = {**kept, "freeze_to": -1}
    return [
        *rungs,
        Rung("frozen body, its norms learn", **frozen),
        Rung("frozen body, nothing of it learns", **frozen, train_norm=False),
    ]


def inputs(
    root: Path, size: int, batch_size: int, workers: int, cache: Path, device: torch.device
) -> dict[str, Iterable[Any]]:
    """Return iterables over an epoch of (images, labels) on ``device``, by kind of pipeline.

    Raises:
        DataError: there are no images, or they cannot be decoded.
    """
    from torchvision.transforms import v2

    of_images = {
        "crop": v2.RandomResizedCrop(size, scale=SCALE, antialias=True),
        "flip": v2.RandomHorizontalFlip(),
        "light": v2.ColorJitter(brightness=JITTER, contrast=JITTER),
    }
    of_batches = {"warp": RandomWarp(SCALE), "light": RandomLight(JITTER, JITTER)}
    memory = {
        kind: _in_memory(root, size, batch_size, cache, device, augmentation)
        for kind, augmentation in (("images", of_images), ("batches", of_batches))
    }
    files = _files(root, list(of_images.values()), batch_size, workers)
    return {"files": _Moved(files, device), **memory}


def _in_memory(
    root: Path,
    size: int,
    batch_size: int,
    cache: Path,
    device: torch.device,
    augmentation: dict[str, Any],
) -> Iterable[Any]:
    data = ImageFolder(
        root=str(root),
        size=size,
        cache=str(cache),
        augmentation=augmentation,
        test_fraction=0.2,
        validation_fraction=0.0,
    ).configure(batch_size=batch_size, split_seed=0)
    data.setup("fit")
    tensors = [tensor.to(device) for tensor in data.parts["train"]]
    settings = {"seed": data.order_seed, "augment": data.augmentation()}
    return TensorLoader(tensors, data.batch_size, **settings)


def _files(
    root: Path, transforms: list[nn.Module], batch_size: int, workers: int
) -> DataLoader[Any]:
    from torchvision.datasets import ImageFolder as Files
    from torchvision.transforms import v2

    part = root / "train" if (root / "train").is_dir() else root
    files = Files(
        str(part),
        transform=v2.Compose([*transforms, v2.PILToTensor()]),
        is_valid_file=lambda name: Path(name).suffix.lower() in IMAGE_FILES,
    )
    return DataLoader(
        files,
        batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


@dataclass
class _Moved:
    loader: Iterable[Any]
    device: torch.device

    def __iter__(self) -> Any:
        for images, labels in self.loader:
            yield images.to(self.device, non_blocking=True), labels.to(self.device)


class TrainingStep:
    """A training step on a fixed batch: forward, backward, AdamW."""

    def __init__(self, rung: Rung, batch: tuple[Tensor, Tensor], n_classes: int) -> None:
        self.images, self.labels = batch
        torch.manual_seed(0)
        self.model = ResNet34Finetune(
            n_classes, "none", channels_last=rung.channels_last, compile=rung.compile
        ).to(self.images.device)
        self.model.freeze_to(rung.freeze_to, train_norm=rung.train_norm)
        self.model.train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.autocast = torch.autocast(self.images.device.type, torch.bfloat16, enabled=rung.bf16)

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        with self.autocast:
            loss = nn.functional.cross_entropy(self.model(self.images), self.labels)
        loss.backward()
        self.optimizer.step()


def seconds(work: Callable[[], object]) -> float:
    _synchronize()
    start = time.perf_counter()
    work()
    _synchronize()
    return time.perf_counter() - start


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(
    rungs: list[Rung],
    pipelines: dict[str, Iterable[Any]],
    rounds: int,
    steps: int,
    say: Callable[[str], object] = lambda _: None,
) -> list[dict[str, Any]]:
    """Return a row for each rung: images per second (median, min, max) of input and step.

    Args:
        steps: training steps of each rung in a round.
    """
    counts: dict[str, int] = {}
    for kind in dict.fromkeys(rung.inputs for rung in rungs):  # an epoch that warms up
        counts[kind] = sum(len(labels) for _, labels in pipelines[kind])
    batch = next(iter(pipelines["batches"]))
    n_classes = max(int(labels.max()) for _, labels in pipelines["batches"]) + 1
    trained: dict[tuple[Any, ...], TrainingStep] = {}
    first: dict[tuple[Any, ...], float] = {}
    for rung in rungs:
        if rung.step not in trained:
            step = trained[rung.step] = TrainingStep(rung, batch, n_classes)
            first[rung.step] = seconds(step)
            step()
            say(f"{rung.name}: first step {first[rung.step]:.1f} s")
    input_rates: dict[str, list[float]] = {kind: [] for kind in counts}
    step_rates: dict[tuple[Any, ...], list[float]] = {key: [] for key in trained}
    for _ in range(rounds):
        for kind, rates in input_rates.items():
            pipeline = pipelines[kind]
            rates.append(counts[kind] / seconds(lambda p=pipeline: sum(1 for _ in p)))
        for key, step in trained.items():
            taken = seconds(lambda s=step: [s() for _ in range(steps)])
            step_rates[key].append(steps * len(batch[1]) / taken)
    rows = []
    for rung in rungs:
        later = len(batch[1]) / statistics.median(step_rates[rung.step])
        rows.append(
            {
                "rung": rung.name,
                **_spread("input", input_rates[rung.inputs]),
                **_spread("step", step_rates[rung.step]),
                "first_step_extra_s": max(0.0, first[rung.step] - later),
            }
        )
    return rows


def _spread(name: str, rates: list[float]) -> dict[str, float]:
    return {
        f"{name}_median": statistics.median(rates),
        f"{name}_min": min(rates),
        f"{name}_max": max(rates),
    }


def machine(device: torch.device) -> str:
    """Return a line that describes the machine and the versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU alone (no GPU)"
    return (
        f"{name}; {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )


def cells(row: dict[str, Any]) -> list[str]:
    shown = []
    for of, digits in (("input", 0), ("step", 1)):
        median, least, most = (
            f"{row[f'{of}_{name}']:,.{digits}f}" for name in ("median", "min", "max")
        )
        shown.append(f"{median} ({least} to {most})")
    return [row["rung"], *shown, f"{row['first_step_extra_s']:.1f}"]


HEADS = ["each with those above", "input, images/s", "step, images/s", "first step, s more"]


def write(folder: Path, rows: list[dict[str, Any]], about: str) -> None:
    """Write ``images.csv`` and ``images.md`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "images.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    lines = [HEADS, ["---", "---:", "---:", "---:"], *map(cells, rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    (folder / "images.md").write_text(f"{about}\n\n{table}\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="a folder with a subfolder for each class")
    parser.add_argument("--size", type=count, default=128, help="of the images, in pixels")
    parser.add_argument("--batch-size", type=count, default=32)
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--steps", type=count, default=3, help="steps of a rung in a round")
    parser.add_argument(
        "--workers",
        type=int,
        choices=range(64),
        metavar="N",
        default=2,
        help="of the DataLoader",
    )
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile")
    parser.add_argument("--cache", type=Path, default=Path("data/decoded"))
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args(arguments)
    console = Console()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        if not options.folder.is_dir():
            raise DataError(f"{options.folder}: no such folder")
        pipelines = inputs(
            options.folder, options.size, options.batch_size, options.workers, options.cache, device
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    rungs = ladder(compiled=not options.no_compile)
    rows = measure(rungs, pipelines, options.rounds, options.steps, console.print)
    about = (
        f"{machine(device)}. {options.size} px, batches of {options.batch_size}; "
        f"median (min to max) of {options.rounds} rounds, each an epoch of input and "
        f"{options.steps} steps; {options.workers} workers of the DataLoader"
    )
    table = Table()
    for head in HEADS:
        table.add_column(head, justify="left" if head == HEADS[0] else "right")
    for row in rows:
        table.add_row(*cells(row))
    console.print(about)
    console.print(table)
    write(options.out, rows, about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
