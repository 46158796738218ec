"""``python -m benchmarks.datasets FOLDER``: our loader of data sets against torch's own.

The same photos are decoded by the same data set with as many workers: by ``DatasetLoader``, whose
order, position and random draws resume exactly, and by a hand-written loop over a shuffling
``DataLoader``. They take turns; the ratio is of two times of the same round.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from ablab.data.datasets import DatasetLoader
from ablab.data.images.files import ImageFiles, list_images
from ablab.data.reading import Reading
from ablab.safety.streams import prepare_streams
from benchmarks.arguments import count


def main(arguments: list[str] | None = None) -> int:
    """Print the median seconds of an epoch of each, and their ratio with its spread."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.datasets", description=__doc__)
    parser.add_argument("folder", type=Path, help="class folders of images")
    parser.add_argument("--rounds", type=count, default=7)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=count, default=64)
    options = parser.parse_args(arguments)
    files, _ = list_images(options.folder)
    dataset = ImageFiles(files, torch.zeros(len(files), dtype=torch.int64), options.size)
    workers = {"num_workers": options.workers, "persistent_workers": options.workers > 0}
    loaders = {
        "ours": DatasetLoader(dataset, 32, Reading(options.workers), seed=0),
        "by hand": DataLoader(dataset, 32, shuffle=True, **workers),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loaders}
    for number in range(options.rounds + 1):
        for name in sorted(loaders, reverse=number % 2 == 1):
            started = time.perf_counter()
            rows = sum(len(labels) for _, labels in loaders[name])
            if number:  # the first round starts the workers and fills the system's cache
                seconds[name].append(time.perf_counter() - started)
            assert rows == len(files)
    ratios = [ours / other for ours, other in zip(*seconds.values(), strict=True)]
    for name, taken in seconds.items():
        print(f"{name}: {statistics.median(taken):.3f} s for {len(files):,} photos")  # noqa: T201
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}, {len(ratios)} rounds"
    print(f"ours / by hand: {statistics.median(ratios):.3f} ({spread})")  # noqa: T201
    return 0


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
