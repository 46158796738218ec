"""Stacked runs: each member ends as it does alone, whatever else is in its stack."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ablab.ablation.launch.job_lines import JobLines, Reached
from ablab.ablation.launch.stacked import build, memory, stack, train
from ablab.ablation.launch.stacked.batches import batches_of
from ablab.ablation.launch.stacked.describe import describe
from ablab.ablation.launch.stacked.partition import partition, reason_against
from ablab.ablation.launch.stacked.refusals import NotStackable, refuse_data, refuse_model
from ablab.ablation.launch.stacked.stack import Learner, Stack
from ablab.ablation.launch.stacked.stacks import run_stacks
from ablab.ablation.launch.stacked.trust import refuse_other_results
from ablab.config.check import read_section
from ablab.config.schema.optimiser import Optim
from ablab.config.schema.schedule import Schedule
from ablab.data.batches import TensorLoader
from ablab.data.module import PartsDataModule
from ablab.errors import ConfigError
from ablab.optim.decay import weight_penalty
from ablab.optim.optimizers import build_optimizer
from ablab.optim.scheduler import build_scheduler
from ablab.runs.record import RunRecord
from ablab.safety.folder_lock import locked
from ablab.training.module import SupervisedModule
from ablab.training.randomness import reseed_torch
from hydra_plugins.ablation_lab.stacked_launcher import StackedLauncher
from tests.checks import checked
from toy.models import Factors, Net

STEPS = 14
POINTS = [torch.randn(100, 6, generator=torch.Generator().manual_seed(0)), torch.arange(100) % 3]
DECAYS = ("none", "l2", "l2_loss", "decoupled", "independent", "corrected", "cautious")
OPTIMISERS: list[dict[str, Any]] = [
    {"name": "adam", "betas": [0.9, 0.99]},
    {"name": "adam", "lr": 3e-3, "lr_spread": {"kind": "flat", "div": 3}},
    {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True},
    {"name": "sgd", "lr": 0.1},
    {"name": "rmsprop", "lr": 3e-3},
    {"_target_": "torch.optim.AdamW", "lr": 3e-3},
    {"_target_": "torch.optim.NAdam", "lr": 3e-3},
]
Member = tuple[Learner, Optim, Schedule]


def member(
    seed: int,
    *,
    order: int = 0,
    clip: float | None = None,
    model: dict[str, Any] | None = None,
    schedule: str = "one_cycle",
    tensors: list[Tensor] = POINTS,
    steps: int = STEPS,
    **optim: Any,
) -> Member:
    torch.manual_seed(seed)
    module = Net(n_inputs=6, n_classes=3, **(model or {})).to(tensors[0].dtype)
    module.prepare_training(loss=nn.CrossEntropyLoss(), metrics={}, order_seed=order)
    defaults = {"name": "adam", "lr": 1e-2, "weight_decay": {"mode": "none"}}
    if "_target_" in optim:
        del defaults["name"]
    settings = read_section("optim", Optim, {**defaults, **optim})
    shape = read_section("schedule", Schedule, {"name": schedule})
    optimizer = build_optimizer(module, settings)
    scheduler = build_scheduler(optimizer, shape, steps)
    loader = TensorLoader(tensors, 16, seed=order)
    return Learner(module, optimizer, scheduler, loader, clip), settings, shape


def varied(number: int, **settings: Any) -> Member:
    """Return a member that differs from the others in all that members may differ in.

    The first 49 have every optimiser with every mode of decay.
    """
    mode = DECAYS[(number + number // len(OPTIMISERS)) % len(DECAYS)]
    decay = {"mode": mode, "value": 0.01 * (1 + number % 3)}
    return member(
        number,
        order=number % 3,
        clip=(None, 0.5, 1e9)[number % 3],
        schedule=("one_cycle", "constant", "cosine")[number // 2 % 3],
        weight_decay=decay,
        **OPTIMISERS[number % len(OPTIMISERS)],
        **settings,
    )


def batches_at(orders: Any, steps: int) -> Iterator[tuple[tuple[int, int], tuple[Tensor, ...]]]:
    """Yield epoch and number of a batch, and the batch, for so many steps."""
    rows = orders[0].tensors
    epochs = (((e, n), b) for e in range(9) for n, b in enumerate(batches_of(orders, rows, e)))
    yield from islice(epochs, steps)


def train_alone(learner: Learner, steps: int = STEPS) -> dict[str, Tensor]:
    """Take steps as a run alone does; return parameters and buffers."""
    model = learner.model
    for (epoch, number), batch in batches_at([learner.order], steps):
        learner.optimizer.zero_grad()
        reseed_torch(torch.device("cpu"), learner.order.seed, epoch, number, 0)
        loss = model.training_loss(*model.split_batch(tuple(t[0] for t in batch)))
        penalty = weight_penalty(learner.optimizer)
        (loss if penalty is None else loss + penalty).backward()
        if learner.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), learner.clip)
        learner.optimizer.step()
        learner.scheduler.step()
    return model.state_dict()


def train_stacked(learners: list[Learner], steps: int = STEPS) -> list[dict[str, Tensor]]:
    """Take steps together; return the parameters and buffers of each, in the order given."""
    together = Stack(learners)
    for (epoch, number), batch in batches_at(together.orders, steps):
        together.backward(batch, epoch, number)
        together.update()
    together.settle()
    return [learner.model.state_dict() for learner in learners]


def assert_close(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    for name, tensor in one.items():
        scale = max(float(tensor.abs().max()), 1e-3)
        assert float((tensor - other[name]).abs().max()) <= tolerance * scale, name


def test_members_of_all_kinds_are_trained_as_alone() -> None:
    alone = [train_alone(varied(number)[0]) for number in range(len(OPTIMISERS) * 3)]
    stacked = train_stacked([varied(number)[0] for number in range(len(OPTIMISERS) * 3)])
    for one, other in zip(alone, stacked, strict=True):
        assert_close(one, other)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_every_optimiser_with_every_decay_in_one_stack(
    dtype: torch.dtype, tolerance: float
) -> None:
    steps, tensors = 20, [POINTS[0].to(dtype), POINTS[1]]

    def learners() -> list[Learner]:
        return [varied(n, tensors=tensors, steps=steps)[0] for n in range(49)]

    alone = [train_alone(learner, steps) for learner in learners()]
    for one, other in zip(alone, train_stacked(learners(), steps), strict=True):
        assert_close(one, other, tolerance)


def test_optimiser_and_schedule_are_left_as_those_of_a_run_alone() -> None:
    for number in range(len(OPTIMISERS)):
        one, other = varied(number)[0], varied(number)[0]
        train_alone(one)
        train_stacked([other, varied(number + 1)[0]])
        ours, theirs = one.optimizer.state_dict(), other.optimizer.state_dict()
        assert ours["param_groups"] == theirs["param_groups"]
        assert ours["state"].keys() == theirs["state"].keys()
        for key, state in ours["state"].items():
            assert state.keys() == theirs["state"][key].keys()
        assert one.scheduler.state_dict() == other.scheduler.state_dict()


@pytest.mark.parametrize("orders", [1, 3])
def test_batch_norm_and_dropout_are_those_of_a_run_alone(orders: int) -> None:
    model = {"batch_norm": True, "dropout": 0.3}
    settings = {"model": model, "name": "sgd", "lr": 0.05}
    alone = [train_alone(member(n, order=n % orders, **settings)[0]) for n in range(3)]
    stacked = train_stacked([member(n, order=n % orders, **settings)[0] for n in range(3)])
    for one, other in zip(alone, stacked, strict=True):
        assert_close(one, other)
        assert one["bn1.num_batches_tracked"] == other["bn1.num_batches_tracked"] == STEPS


def test_members_of_an_order_share_its_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "_WIDE", 1)
    model = {"batch_norm": True, "dropout": 0.3}

    def members() -> list[Member]:
        return [member(n, order=n % 2, name="sgd", lr=0.1 / (n + 1), model=model) for n in range(6)]

    alone = [train_alone(learner) for learner, _, _ in members()]
    settings = members()
    refuse_other_results(settings, POINTS)
    learners = [learner for learner, _, _ in settings]
    assert len(Stack(learners).orders) == 2
    for one, other in zip(alone, train_stacked(learners), strict=True):
        assert_close(one, other)


@settings(max_examples=6)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=6, unique=True), st.randoms())
def test_a_member_does_not_depend_on_its_stack(numbers: list[int], random: Any) -> None:
    shuffled = random.sample(numbers, len(numbers))
    others = train_stacked([varied(n)[0] for n in [*shuffled, 21, 22]])
    ours = train_stacked([varied(n)[0] for n in numbers])
    for number, one in zip(numbers, ours, strict=True):
        assert_close(one, others[shuffled.index(number)])


def test_a_member_that_becomes_nan_leaves_the_others_alone() -> None:
    broken = member(1, name="sgd", lr=0.1)[0]
    with torch.no_grad():
        broken.model.lin1.weight[0, 0] = torch.nan
    whole = member(0, name="sgd", lr=0.1)[0]
    _, other = train_stacked([broken, whole])
    assert_close(train_alone(member(0, name="sgd", lr=0.1)[0]), other)


class Drawing(Net):
    def training_loss(self, inputs: Any, target: Tensor) -> Tensor:
        return super().training_loss(inputs, target) * torch.rand(())


class Reading(Net):
    def training_loss(self, inputs: Any, target: Tensor) -> Tensor:
        return super().training_loss(inputs, target) * float(self.lin1.weight[0, 0] > 0)


@pytest.mark.parametrize("kind", [Drawing, Reading])
def test_what_vmap_does_not_know_is_refused(kind: type[SupervisedModule]) -> None:
    members = [member(0), member(1)]
    for learner, _, _ in members:
        learner.model.__class__ = kind
    with pytest.raises(NotStackable, match="vmap"):
        refuse_other_results(members, POINTS)


class Noisy(Net):
    def __init__(self, n_inputs: int, n_classes: int) -> None:
        super().__init__(n_inputs, n_classes)
        self.noise = nn.AlphaDropout(0.5)


class OwnValidation(Net):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        return


def test_models_that_do_more_than_a_forward_pass_are_refused() -> None:
    with pytest.raises(NotStackable, match=r"OwnValidation\.validation_step"):
        refuse_model(OwnValidation(6, 3))
    with pytest.raises(NotStackable, match="random"):
        refuse_model(Noisy(6, 3))
    refuse_model(Factors(5, 5))


def test_only_data_that_are_tensors_in_memory_are_taken() -> None:
    data = PartsDataModule()
    data.parts = {"train": POINTS, "test": POINTS}
    refuse_data(data)
    data.parts["test"] = torch.utils.data.TensorDataset(*POINTS)
    with pytest.raises(NotStackable, match="tensors in memory"):
        refuse_data(data)


POINTS_RUN = ["data=points", "model=net", "objective=classification", "logger=csv"]


def values(*overrides: str) -> dict[str, Any]:
    return checked([*POINTS_RUN, *overrides]).model_dump(mode="json")


def test_jobs_that_differ_in_numbers_alone_are_stacked() -> None:
    alike = [
        "seed=1",
        "optim.lr=0.1",
        "optim=sgd",
        "schedule=cosine",
        "trainer.gradient_clip_val=1",
    ]
    others = ["model.n_hidden=4", "loading.batch_size=32", "trainer.max_epochs=2"]
    parts = partition([values(), *map(values, alike), *map(values, others)])
    assert parts.stacks == [[0, 1, 2, 3, 4, 5]]
    assert set(parts.alone) == {6, 7, 8}
    assert partition([values()] * 5, largest=2).stacks == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            ["+callbacks.stats={_target_: lightning.pytorch.callbacks.DeviceStatsMonitor}"],
            "callbacks.stats",
        ),
        (
            ["callbacks=early_stopping", "+phases.one.epochs=1", "trainer.max_epochs=null"],
            "callbacks.early_stopping may end the phases",
        ),
        (["optim=muon"], "optim: Muon computes in 16 bits"),
        (["trainer.precision=bf16-mixed"], "trainer.precision"),
        (["trainer.limit_train_batches=1"], "limit_train_batches"),  # one batch; 1.0 is all
        (["trainer.val_check_interval=1"], "val_check_interval"),
        (["trainer.accumulate_grad_batches=2"], "accumulate_grad_batches"),
        (["checkpoints.every_n_steps=5"], "every_n_steps"),
        (["logger=tensorboard"], "logger.tensorboard"),
    ],
)
def test_what_a_stack_does_not_do_is_named(overrides: list[str], reason: str) -> None:
    assert reason in str(reason_against(values(*overrides)))


def test_shares_of_an_epoch_that_are_all_of_it_are_stacked() -> None:
    assert reason_against(values("trainer.limit_train_batches=1.0")) is None


def test_phases_of_equal_lengths_and_frozen_groups_are_stacked() -> None:
    def phased(*others: str) -> dict[str, Any]:
        return values(
            "trainer.max_epochs=null", "+phases.a.epochs=1", "+phases.b.epochs=2", *others
        )

    rates, longer = phased("+phases.b.lr=0.1"), phased("phases.a.epochs=2")
    frozen = phased("+phases.a.freeze_to=-1")
    assert partition([phased(), rates, longer, frozen]).stacks == [[0, 1]]


def planned(folder: Path, jobs: int) -> list[Path]:
    """Return the run folders of jobs that differ in their seed."""
    folders = [folder / f"{seed}" for seed in range(jobs)]
    for seed, of_job in enumerate(folders):
        of_job.mkdir()
        RunRecord.planned(values(f"seed={seed}"), []).write(of_job)
    return folders


def test_a_stack_tells_how_far_its_jobs_are(tmp_path: Path) -> None:
    folders, told = planned(tmp_path, 2), []
    watch = train.Watch(lambda *_: None, lambda *reached: told.append(reached))
    assert train.train_stack(folders, 10.0, watch) == ({}, [])
    epochs = RunRecord.read(folders[0]).config["trainer"]["max_epochs"]
    assert told == [(f, Reached(n, epochs)) for n in range(1, epochs + 1) for f in folders]


def test_jobs_for_which_there_is_no_memory_are_another_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders = planned(tmp_path, 3)
    trained: list[list[Path]] = []

    def train_two(folders: list[Path], *others: Any) -> tuple[dict[Path, str], list[Path]]:
        trained.append(folders[:2])
        return {}, folders[2:]

    monkeypatch.setattr(train, "train_stack", train_two)
    run_stacks(folders, None, 10.0, JobLines(3))
    assert trained == [folders[:2], folders[2:]]


def test_a_stack_that_cannot_begin_leaves_its_jobs_to_run_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders = planned(tmp_path, 2)

    def full(*arguments: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(train, "_on", full)
    watch = train.Watch(full, full)
    refused, left = train.train_stack(folders, 10.0, watch)
    assert refused == dict.fromkeys(folders, "the stack cannot begin: out of memory")
    assert not left
    assert {RunRecord.read(folder).status for folder in folders} == {"planned"}
    for folder in folders:
        with locked(folder):
            pass


def test_a_larger_batch_or_less_memory_leaves_room_for_fewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = member(0)[0]

    def most(free: int, batch_size: int) -> int:
        monkeypatch.setattr(memory, "_free", lambda device: free)
        config = checked([*POINTS_RUN, f"loading.batch_size={batch_size}"])
        return memory.most_members(config, one.model, POINTS)

    assert most(10**7, 16) > most(10**7, 100) > most(10**6, 100) > 1
    assert most(10, 16) == 1


def test_a_limit_of_a_group_within_a_group_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the limit of a job of SLURM, which is no limit of the machine."""
    for group, most in ((tmp_path, "max"), (tmp_path / "job", 3 * 10**6)):
        group.mkdir(exist_ok=True)
        (group / "memory.max").write_text(f"{most}\n")
        (group / "memory.current").write_text("2000000\n")
        (group / "memory.stat").write_text("anon 1\ninactive_file 500000\n")
    monkeypatch.setattr(memory, "memory_groups", lambda: [tmp_path / "job", tmp_path])
    assert memory._free(torch.device("cpu")) == 1_500_000


def test_a_dry_run_says_what_is_stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [values(), values("model.n_hidden=4"), *(values(f"seed={n}") for n in range(1, 5))]
    due = dict(enumerate(jobs, 2))
    first, alone = describe(due, None)
    assert first == "stack 1: 5 jobs as one model (2, 4-7)"
    assert alone.startswith("1 of the jobs alone: ")
    monkeypatch.setattr(build, "most_members", lambda *like: 2)
    first, second, *alone = describe(due, None)
    assert first == "stack 1: 2 jobs as one model (2, 4), as many as there is memory for"
    assert second.startswith("stack 2: 2 jobs as one model (5-6)")
    assert "1 of the jobs alone: there is no memory for it beside the others" in alone
    monkeypatch.setattr(build, "most_members", lambda *like: 1)
    assert not any(line.startswith("stack") for line in describe(due, None))


@pytest.mark.parametrize(
    "setting", [{"largest": 0}, {"largest": "x"}, {"write_every": -1}, {"write_every": "soon"}]
)
def test_a_setting_of_the_launcher_is_refused_by_its_name(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(ConfigError, match=rf"hydra\.launcher\.{name}: should be"):
        StackedLauncher(**setting)
