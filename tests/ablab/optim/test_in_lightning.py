"""The optimiser as Lightning drives it: closures, schedules, freezing, gradient clipping."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ablab.config.schema import optimiser as schema
from ablab.config.schema.optimiser import WeightDecay
from ablab.config.schema.schedule import OneCycle
from ablab.optim.optimizers import build_optimizer
from ablab.optim.scheduler import GroupScheduler
from ablab.training.module import SupervisedModule

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated"),
]
STEPS = 24
DECAY = 2.0  # strong, so that where it is applied shows
OPTIM = schema.Adam(
    name="adam",
    lr=1e-2,
    lr_spread=schema.FlatSpread(kind="flat", div=10),
    betas=(0.9, 0.99),
    weight_decay=WeightDecay(mode="decoupled", value=DECAY),
)


class Net(LightningModule):
    def __init__(self, optimizers: Callable[["Net"], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(5, 5), nn.Linear(5, 1)
        self.optimizers_of = optimizers

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        return {"body": [self.body], "head": [self.head]}

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return (self.head(self.body(batch[0]).relu()) - batch[1]).square().mean()

    def configure_optimizers(self) -> Any:
        optimizer, scheduler = self.optimizers_of(self)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def ours(net: Net) -> Any:
    optimizer = build_optimizer(net, OPTIM)
    return optimizer, GroupScheduler(optimizer, OneCycle(name="one_cycle"), STEPS)


def torchs(net: Net, *, pre_hook: bool = False) -> Any:
    groups = [
        {"params": net.body.parameters(), "lr": 1e-3},
        {"params": net.head.parameters(), "lr": 1e-2},
    ]
    if pre_hook:
        optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))

        def shrink(optimizer: Any, args: Any, kwargs: Any) -> None:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.data.mul_(1 - group["lr"] * DECAY)

        optimizer.register_step_pre_hook(shrink)
    else:
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=DECAY)
    return optimizer, FollowTorch(optimizer, [1e-3, 1e-2], STEPS)


class FollowTorch(torch.optim.lr_scheduler.OneCycleLR):
    """torch's OneCycleLR; the step that Lightning takes after the last batch is left out."""

    def __init__(self, optimizer: Any, peaks: list[float], total_steps: int) -> None:
        super().__init__(optimizer, max_lr=peaks, total_steps=total_steps)

    def step(self, epoch: int | None = None) -> None:
        if self.last_epoch + 1 < self.total_steps:
            super().step()


def fit(optimizers: Callable[[Net], Any], tmp_path: Path) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(64, 5, generator=generator), torch.randn(64, 1, generator=generator)
    net = Net(optimizers)
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(net, DataLoader(TensorDataset(x, y), batch_size=8))
    assert trainer.global_step == STEPS
    return [p.detach().clone() for p in net.parameters()]


def test_two_groups_under_one_cycle_are_adamw_bitwise(tmp_path: Path) -> None:
    mine, theirs = fit(ours, tmp_path), fit(torchs, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_decay_in_a_pre_step_hook_is_something_else(tmp_path: Path) -> None:
    mine = fit(ours, tmp_path)
    hooked = fit(lambda net: torchs(net, pre_hook=True), tmp_path)
    assert max((a - b).abs().max() for a, b in zip(mine, hooked, strict=True)) > 1e-4


def test_supervised_module_names_its_default_group() -> None:
    assert list(SupervisedModule().layer_groups()) == ["all"]
