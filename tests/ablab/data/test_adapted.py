"""Any LightningDataModule as data of a run."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from ablab.data.adapted import EpochLoader, as_run_data
from ablab.errors import ConfigError
from tests.checks import checked
from tests.launch import launch
from toy.samples import NoisyPoints, OwnLoaders, StatefulLoader, UnsizedLoader, point


def epochs(number: int, loader: EpochLoader) -> list[list[torch.Tensor]]:
    return [[batch[0] for batch in loader] for _ in range(number)]


def same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b)
        for x, y in zip(one, other, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def loader(epoch: int = 0) -> EpochLoader:
    return EpochLoader(DataLoader(NoisyPoints(20), 4, shuffle=True), seed=3, epoch=epoch)


def test_what_a_loader_draws_is_a_function_of_seed_and_epoch() -> None:
    first, second = epochs(2, loader())
    torch.rand(3)  # others draw in between
    (again,) = epochs(1, loader(epoch=1))
    assert all(map(torch.equal, second, again))
    assert not all(map(torch.equal, first, second))


def test_a_loader_without_a_state_goes_on_with_the_next_epoch() -> None:
    whole, rest = loader(), loader()
    epochs(1, whole)
    rest.load_state_dict(whole.state_dict())
    assert all(map(torch.equal, *(epochs(1, each)[0] for each in (whole, rest))))


@pytest.mark.parametrize("kind", [StatefulLoader, UnsizedLoader])
@pytest.mark.parametrize("taken", [2, 5])
def test_a_loader_with_a_state_goes_on_where_it_was(kind: type[Any], taken: int) -> None:
    whole, rest = (EpochLoader(kind([point(i, 0.0) for i in range(20)], 4), 1, 0) for _ in "ab")
    batches = iter(whole)
    for _ in range(taken):
        next(batches)
    state = whole.state_dict()
    if kind is UnsizedLoader and taken == 5:
        assert list(batches) == []
        state = whole.state_dict()
    rest.load_state_dict(state)
    expected = list(batches) or list(whole)
    assert same(list(rest), expected)
    assert same(list(rest), list(whole))
    assert rest.state_dict() == whole.state_dict()


def test_what_a_module_has_is_used_and_what_it_lacks_has_a_default() -> None:
    own = OwnLoaders()
    data = as_run_data(own)
    data.setup("fit")
    assert data.own is own
    assert data.sizes == {"n_inputs": 6, "n_classes": 3}
    assert data.summary() == "OwnLoaders"
    assert data.resumes == "from the epoch's start"
    assert data.has_validation
    assert data.has_test
    assert len(data.trial_batch()[0]) == 2
    assert data.fingerprints() == {"data": {"fingerprint": "not fingerprinted"}}


class Several(LightningDataModule):
    def train_dataloader(self) -> Any:
        return {"a": DataLoader(NoisyPoints(8), 4), "b": DataLoader(NoisyPoints(4), 4)}


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_several_loaders_are_for_a_lightning_module_only() -> None:
    data = as_run_data(Several())
    data.begin_phase(0, None)
    assert list(data.train_dataloader()) == ["a", "b"]
    assert not data.has_validation
    data.begin_phase(0, 1)
    with pytest.raises(ConfigError, match="several training loaders, which a SupervisedModule"):
        data.train_dataloader()


def test_how_data_are_read_is_no_part_of_the_identity_of_a_run() -> None:
    from ablab.runs.identity import config_hash

    one, other, third = (
        config_hash(checked(["data=samples", "model=net", *more]).model_dump(mode="json"))
        for more in ([], ["loading.workers=3", "loading.pin_memory=true"], ["loading.batch_size=8"])
    )
    assert one == other != third


def test_loading_is_refused_for_data_with_loaders_of_their_own(tmp_path: Path) -> None:
    words = ["data=own_loaders", "model=net", "objective=classification", "loading.batch_size=3"]
    with pytest.raises(ConfigError, match=r"loading\.batch_size: is not used, since OwnLoaders"):
        launch(words, tmp_path)
