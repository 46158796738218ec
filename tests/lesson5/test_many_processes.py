"""Two processes (DDP or FSDP on CPUs, under torchrun) learn what one process learns."""

import json
import subprocess
from pathlib import Path

import pytest
import torch

from tests.launch import ROOT, environment, torchrun
from tests.lesson5.few_steps import BAD, everything

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),  # two cores may have other work
]


@pytest.fixture(scope="module")
def alone() -> dict[str, dict[str, torch.Tensor]]:
    return everything("auto")


@pytest.mark.usefixtures("warm_starts")
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_does_with_their_batches_together(
    alone: dict[str, dict[str, torch.Tensor]], tmp_path: Path, strategy: str
) -> None:
    """In float64, where sums in another order are all that differs."""
    made = subprocess.run(
        torchrun("-m", "tests.lesson5.few_steps", strategy, str(tmp_path)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        env=environment(),
    )
    assert made.returncode == 0, made.stderr
    together = torch.load(tmp_path / "learned.pt", weights_only=True)
    assert together.keys() | {"phases"} == alone.keys()
    greatest = max(
        float((together[case][name] - value).abs().max())
        for case in together
        for name, value in alone[case].items()
    )
    assert greatest < 1e-9
    first, second = (json.loads((tmp_path / f"told_{r}.json").read_text()) for r in range(2))
    start_of_loss = f"the training loss is nan at step {BAD};"
    start_of_gradients = f"step {BAD} has gradients that are not finite"
    for told in (first, second):  # both ranks, of what only one of them has met
        assert told["loss"].startswith(start_of_loss)
        assert told["gradients"].startswith(start_of_gradients)
