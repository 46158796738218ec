"""What a job takes of a machine, and what the machine has."""

from pathlib import Path
from typing import Any

import pytest

from ablab.ablation.launch.devices import Needs, needs_of
from ablab.errors import ConfigError
from ablab.training.machine import gpus_here


@pytest.mark.parametrize(
    ("trainer", "n_gpus", "needs"),
    [
        ({}, 4, Needs(4, 4)),
        ({"devices": 1}, 4, Needs(1, 1)),
        ({"devices": "2", "accelerator": "gpu"}, 4, Needs(2, 2)),
        ({"devices": -1, "accelerator": "cuda"}, 3, Needs(3, 3)),
        ({"devices": 2, "accelerator": "cpu"}, 4, Needs(2, 0)),
        ({"devices": 2}, 0, Needs(2, 0)),
        ({"devices": "auto"}, 0, Needs(1, 0)),
    ],
)
def test_what_a_job_takes(trainer: dict[str, Any], n_gpus: int, needs: Needs) -> None:
    assert needs_of(trainer, n_gpus) == needs


@pytest.mark.parametrize(
    ("trainer", "told"),
    [
        ({"devices": 3}, "3 GPUs are asked for, and there are 2"),
        ({"devices": [0, 1]}, "give their number"),
        ({"devices": "0,1"}, "give their number"),
        ({"devices": 1, "num_nodes": 2}, "2 machines"),
    ],
)
def test_what_a_job_may_not_ask_for(trainer: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        needs_of(trainer, 2)


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [("0,1", ["0", "1"]), ("3, GPU-ab", ["3", "GPU-ab"]), ("", []), ("-1", [])],
)
def test_gpus_that_the_user_has_chosen(visible: str, gpus: list[str]) -> None:
    assert gpus_here({"CUDA_VISIBLE_DEVICES": visible}) == gpus


@pytest.mark.parametrize(
    ("program", "gpus"), [("echo 0; echo 1", ["0", "1"]), ("exit 9", []), (None, [])]
)
def test_gpus_of_nvidia_smi(
    program: str | None, gpus: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if program is not None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus_here({}) == gpus
