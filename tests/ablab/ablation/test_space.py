"""What Hydra's grammar says of a space, and what of it Optuna can search."""

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from ablab.ablation.search.space import split_space
from ablab.command.overrides import force_overrides
from ablab.errors import ConfigError

SPACES = [
    ("optim.lr=interval(0.1,1)", FloatDistribution(0.1, 1.0)),
    ("optim.lr=tag(log,interval(1e-4,1e-1))", FloatDistribution(1e-4, 1e-1, log=True)),
    ("model.n_factors=int(interval(1,8))", IntDistribution(1, 8)),
    ("model.n_factors=int(tag(log,interval(4,256)))", IntDistribution(4, 256, log=True)),
    ("model.n_factors=range(20,121,20)", IntDistribution(20, 120, step=20)),
    ("model.n_factors=range(3)", IntDistribution(0, 2)),
    ("model.n_factors=range(10,0,-3)", IntDistribution(1, 10, step=3)),
    ("optim.momentum=range(0.0,0.95,0.3)", FloatDistribution(0.0, 0.9, step=0.3)),
    ("optim.lr=1e-3,1e-2", CategoricalDistribution(["0.001", "0.01"])),
    ("optim=sgd,adam", CategoricalDistribution(["sgd", "adam"])),
    ("model.hidden=[50],[100,50]", CategoricalDistribution(["[50]", "[100,50]"])),
]


@pytest.mark.parametrize(("said", "distribution"), SPACES)
def test_a_sweep_is_a_distribution(said: str, distribution: BaseDistribution) -> None:
    (parameter,), rest = split_space(force_overrides([said, "seed=3"]))
    assert parameter.key == said.split("=")[0]
    assert parameter.distribution == distribution
    assert rest == ["++seed=3"]


FAULTS = [
    (["seed=3"], "there is nothing to search; try optim.lr="),
    (["optim.lr=interval(1,0.1)"], "optim.lr: the interval ends at 0.1, before it begins, at 1"),
    (["optim.lr=interval(0,inf)"], "optim.lr: an interval needs two ends"),
    (["optim.lr=tag(log,interval(0,1))"], "optim.lr: a logarithmic scale begins above 0"),
    (["model.n_factors=tag(log,range(1,9,2))"], "no steps; use int(tag(log,interval(…)))"),
    (["optim.lr=tag(log,range(0.1,0.9,0.2))"], "no steps; use tag(log,interval(…))"),
    (["optim.lr=tag(log,choice(1,2))"], "optim.lr: leave out the tag log; a choice"),
    (["optim.lr=tag(lg,interval(1,2))"], "optim.lr: there is no tag 'lg'"),
    (["optim.lr=range(3,3)"], "optim.lr: the range is empty"),
    (["optim.lr=range(1,3,0)"], "optim.lr: a range needs a step"),
    (["optim.lr=1,1"], "optim.lr: a choice is given twice"),
    (["optim.lr=shuffle(1,2)"], "optim.lr: leave out shuffle"),
    (["optim=glob(*)"], "optim: list the choices"),
    (["optim.lr=1,2", "optim.lr=3"], "optim.lr: is given twice"),
    (["seed=0,1"], "seed: the best of a search over seeds is luck"),
    (["test=true,false"], "test: it holds for all trials"),
    (["optim.lr=1,2", "ablation.dry_run=true"], "ablation.dry_run: is a setting of a plan"),
]


@pytest.mark.parametrize(("said", "told"), FAULTS)
def test_what_cannot_be_searched_is_refused(said: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        split_space(force_overrides(said))
    (line,) = str(error.value).splitlines()
    assert told in line


def test_a_choice_keeps_the_type_of_its_value() -> None:
    (parameter,), _ = split_space(["trainer.limit_train_batches=null,0.5,[1,2],true,'a b'"])
    assert list(parameter.choices.values()) == [None, 0.5, [1, 2], True, "a b"]
    assert parameter.value("[1,2]") == [1, 2]
    assert parameter.text("'a b'") == "'a b'"


def test_a_drawn_number_can_be_typed_and_stays_within_the_bounds() -> None:
    low, high = 0.12345642, 0.87654362  # six digits of either lie outside
    (parameter,), _ = split_space([f"optim.lr=interval({low},{high})"])
    assert [parameter.typed(x) for x in (low, 1 / 3, high)] == [low, 0.333333, high]
    (stepped,), _ = split_space(["optim.lr=range(0.0,1.0,0.1)"])
    assert stepped.typed(0.1 + 0.2) == 0.3
