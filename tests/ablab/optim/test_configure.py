"""``configure_optimizers`` in a LightningModule that knows nothing else of this package."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import ablab
from ablab.errors import ConfigError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
]
MUON_AND_ADAMW = {
    "_target_": "torch.optim.AdamW",
    "lr": 1e-2,
    "weight_decay": {"mode": "cautious", "value": 0.1, "skip": ["bias"]},
    "rules": [{"match": {"name": "body.*weight"}, "optimizer": {"_target_": "torch.optim.Muon"}}],
}


class Theirs(LightningModule):
    """A module as anybody writes it; its optimiser is the one line of ours."""

    def __init__(self, optim: Any, schedule: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(5, 5), nn.Linear(5, 1)
        self.optim, self.schedule = optim, schedule
        self.rates: list[float] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        self.rates.append(self.trainer.optimizers[0].param_groups[-1]["lr"])
        return (self.head(self.body(batch[0]).relu()) - batch[1]).square().mean()

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/loss", torch.tensor(1.0))  # never better

    def configure_optimizers(self) -> Any:
        steps = self.trainer.estimated_stepping_batches
        return ablab.configure_optimizers(self, self.optim, self.schedule, steps)


def fit(module: Theirs, folder: Path, epochs: int = 2, **options: Any) -> Trainer:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(32, 5, generator=generator), torch.randn(32, 1, generator=generator)
    rows = DataLoader(TensorDataset(x, y), batch_size=8)
    ckpt_path = options.pop("ckpt_path", None)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **options,
    )
    trainer.fit(module, rows, rows, ckpt_path=ckpt_path)
    return trainer


def test_it_trains_and_goes_on_bitwise(tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
    whole = Theirs(MUON_AND_ADAMW, "warmup_cosine")
    fit(whole, tmp_path, callbacks=[keep])
    assert len(set(whole.rates)) == 8
    second = Theirs(MUON_AND_ADAMW, "warmup_cosine")
    fit(second, tmp_path, ckpt_path=tmp_path / "step=4.ckpt", enable_checkpointing=False)
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_plateau_follows_what_the_module_logs(tmp_path: Path) -> None:
    plateau = {"name": "plateau", "patience": 0, "monitor": "val/loss", "mode": "min"}
    module = Theirs({"name": "sgd", "lr": 0.1, "weight_decay": {"mode": "none"}}, plateau)
    fit(module, tmp_path, epochs=3, enable_checkpointing=False, num_sanity_val_steps=0)
    assert module.rates[::4] == pytest.approx([0.1, 0.1, 0.01])


class Halving(torch.optim.SGD):
    """A class of the caller's own, which no package holds."""


def test_a_class_and_a_function_of_the_callers(tmp_path: Path) -> None:
    optim = {"_target_": Halving, "lr": 1.0, "weight_decay": {"mode": "l2", "value": 0.1}}
    built = ablab.configure_optimizers(
        nn.Linear(2, 2), optim, {"_target_": lambda step, total_steps: 1 - step / total_steps}, 4
    )
    optimizer, scheduler = built["optimizer"], built["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, Halving)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    ("change", "schedule", "steps", "told"),
    [
        ({"lr": -1}, "constant", 4, r"optim.lr: should be greater than 0"),
        ({"lrr": 1}, "constant", 4, r"optim.lrr: unknown key; did you mean 'optim.lr'"),
        ({"_target_": "torch.optim.LBFGS"}, "constant", 4, "a closure"),
        ({"_target_": "os.system"}, "constant", 4, "may not be built"),
        ({"weight_decay": {"mode": "l2_loss"}}, "constant", 4, "only SupervisedModule"),
        ({}, "one_cylce", 4, r"schedule.name: 'one_cylce' is not known; did you mean 'one_cycle'"),
        ({}, "plateau", 4, "monitor and mode"),
        ({}, "constant", float("inf"), "known length"),
    ],
)
def test_faults_are_told_as_a_configs(
    change: dict[str, Any], schedule: str, steps: float, told: str
) -> None:
    optim = {"name": "sgd", "lr": 0.1, "weight_decay": {"mode": "none"}}
    with pytest.raises(ConfigError, match=told):
        ablab.configure_optimizers(nn.Linear(2, 2), {**optim, **change}, schedule, steps)
