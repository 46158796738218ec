"""A few steps of every model, and of one in every mode of decay, alone or as a rank of several.

``python -m torch.distributed.run --nproc-per-node=2 -m tests.lesson5.few_steps ddp FOLDER`` leaves
the parameters that rank 0 has learned, and what each rank was told of a loss that is not finite.
"""

import json
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.resnet import BasicBlock, ResNet

from ablab.config.schema.optimiser import Adam, WeightDecay
from ablab.config.schema.schedule import Constant
from ablab.data.batches import Tensors
from ablab.data.module import TensorDataModule
from ablab.errors import TrainingError
from ablab.runs.checkpoints import Progress
from ablab.training.module import SupervisedModule
from ablab.training.phases import PhasePlan, StepPlan
from ablab.training.sharding import FullySharded
from lesson5.digits.models import MnistLogistic, MnistNN
from lesson5.photos.resnet34_finetune import ResNet34Finetune
from lesson5.ratings.collab_filter import CollabFilter
from lesson5.tables.entity_embedding import EntityEmbedding

ROWS, BATCH, CLASSES = 20, 8, 3  # batches of 8, 8 and 4 rows over all ranks
MODES = ("none", "l2_loss", "l2", "decoupled", "independent")
BAD = 2  # the step with the loss that is not finite


def random(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def indices(high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(2))


def shallow_resnet() -> ResNet34Finetune:
    """With 4 of its 16 blocks, and so a quarter of the parameters: one of every kind is enough."""
    with patch("torchvision.models.resnet34", partial(ResNet, BasicBlock, [1, 1, 1, 1])):
        return ResNet34Finetune(CLASSES, weights="none", dropout=0.0)


LABELS, NUMBERS = indices(CLASSES, ROWS), random(ROWS)
CASES: dict[str, tuple[Callable[[], SupervisedModule], Tensors]] = {
    "logistic": (lambda: MnistLogistic(6, CLASSES), (random(ROWS, 6), LABELS)),
    "nn": (lambda: MnistNN(6, CLASSES, n_hidden=5), (random(ROWS, 6), LABELS)),
    "nn_norm": (lambda: MnistNN(6, CLASSES, 5, batch_norm=True), (random(ROWS, 6), LABELS)),
    "collab": (lambda: CollabFilter(7, 9, 4), (indices(7, ROWS), indices(9, ROWS), NUMBERS)),
    "tabular": (
        lambda: EntityEmbedding([4, 5], 2, [6, 4], [0.0, 0.0]),
        (indices(4, ROWS, 2), random(ROWS, 2), NUMBERS),
    ),
    "resnet": (shallow_resnet, (random(ROWS, 3, 32, 32), LABELS)),
}


class Rows(TensorDataModule):
    def __init__(self, tensors: Tensors, batch_size: int) -> None:
        super().__init__()
        self.configure(batch_size=batch_size, eval_batch_size=batch_size)
        self.parts = {"train": tensors}


def phase(mode: str, freeze_to: int = 0) -> PhasePlan:
    decay = WeightDecay.model_validate({"mode": mode, "value": 0.0 if mode == "none" else 0.01})
    optim = Adam(name="adam", lr=0.01, weight_decay=decay)
    schedule = Constant(name="constant")
    return PhasePlan("fit", 1, freeze_to, True, optim, schedule, StepPlan(steps_per_execution=2))


def trained(
    case: str, phases: Sequence[PhasePlan], strategy: str, check: str = "loss"
) -> dict[str, Tensor]:
    """In float64. Batch norm has the statistics of its own rank's rows, which several ranks cannot
    have in common on CPUs; here it is held, and normalises by what it has."""
    build, tensors = CASES[case]
    torch.manual_seed(0)
    model = build().double()
    loss = nn.CrossEntropyLoss() if tensors[-1] is LABELS else nn.MSELoss()
    model.prepare_training(loss=loss, metrics={}, order_seed=0, error_if_nonfinite=check)  # type: ignore[arg-type]
    ranks = 1 if strategy == "auto" else 2
    data = Rows(tensors, BATCH // ranks)
    before = Progress()
    for plan in phases:
        model.begin_phase(plan, before)
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.requires_grad_(False)
        model.train()
        data.first_epoch, data.batches_per_execution = before.epochs, 2
        trainer = Trainer(
            strategy=FullySharded() if strategy == "fsdp" else strategy,
            accelerator="cpu",
            devices=ranks,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        with warnings.catch_warnings(action="ignore"):  # of Lightning's, which a run filters too
            trainer.fit(model, datamodule=data)
        before = Progress(before.phase + 1, model.total_steps, model.total_epochs)
    return {
        name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        for name, tensor in model.state_dict().items()
    }


def everything(strategy: str) -> dict[str, dict[str, Tensor]]:
    """State dicts by ``MODEL MODE``; ``frozen``: the last group learns alone, and in ``phases``
    all of them after that."""
    learned = {
        f"{case} {mode}": trained(case, [phase(mode)], strategy)
        for case in CASES
        for mode in MODES
        if case == "collab" or mode == "decoupled"  # A mode knows no model.
    }
    frozen = phase("decoupled", freeze_to=-1)
    learned["frozen"] = trained("nn_norm", [frozen], strategy)
    if strategy != "fsdp":  # the check of a config refuses them
        learned["phases"] = trained("nn_norm", [frozen, phase("decoupled")], strategy)
    return learned


def told_of_a_bad_loss(rank: int, strategy: str, check: str) -> str:
    """What this rank is told when only the last one's loss is not finite."""
    ordinary = MnistLogistic.training_loss

    def training_loss(self: MnistLogistic, inputs: Sequence[Tensor], target: Tensor) -> Tensor:
        bad = rank == 1 and self.total_steps + 1 == BAD
        return ordinary(self, inputs, target) * (torch.nan if bad else 1.0)

    MnistLogistic.training_loss = training_loss  # type: ignore[method-assign]
    try:
        trained("logistic", [phase("none")], strategy, check)
    except TrainingError as error:
        return str(error)
    finally:
        MnistLogistic.training_loss = ordinary  # type: ignore[method-assign]
    return "nothing"


if __name__ == "__main__":
    torch.set_num_threads(1)
    strategy, folder = sys.argv[1], Path(sys.argv[2])
    learned = everything(strategy)
    rank = torch.distributed.get_rank()
    told = {check: told_of_a_bad_loss(rank, strategy, check) for check in ("loss", "gradients")}
    (folder / f"told_{rank}.json").write_text(json.dumps(told))
    if rank == 0:
        torch.save(learned, folder / "learned.pt")
    torch.distributed.destroy_process_group()
