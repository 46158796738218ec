"""The order of batches: a function of (seed, epoch), resumable anywhere, shared out fairly."""

from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablab.data.batches import TensorLoader
from ablab.errors import CheckpointError


def loader(rows: int = 23, batch_size: int = 4, **options: int | None) -> TensorLoader:
    numbers = torch.arange(rows)
    return TensorLoader([numbers, numbers * 10], batch_size, **{"seed": 7, **options})  # type: ignore[arg-type]


def joined(parts: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(parts))


def epoch(loader: TensorLoader) -> list[list[int]]:
    return [rows.tolist() for rows, _ in loader]


def test_an_epoch_has_every_row_once_in_whole_batches() -> None:
    batches = epoch(loader())
    assert [len(batch) for batch in batches] == [4, 4, 4, 4, 4, 3]
    assert sorted(joined(batches)) == list(range(23))


def test_tensors_stay_together() -> None:
    for rows, tens in loader():
        assert torch.equal(rows * 10, tens)


def test_epochs_differ_and_seeds_differ_and_both_repeat() -> None:
    one, two = loader(), loader()
    first, second = epoch(one), epoch(one)
    assert first != second
    assert [epoch(two), epoch(two)] == [first, second]
    assert epoch(loader(seed=8)) != first


def test_without_a_seed_the_rows_keep_their_order() -> None:
    assert joined(epoch(loader(seed=None))) == list(range(23))


@given(
    rows=st.integers(1, 40),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 3),
    taken=st.integers(0, 60),
)
def test_resumed_anywhere_it_gives_the_batches_that_were_left(
    rows: int, batch_size: int, seed: int, taken: int
) -> None:
    whole = loader(rows, batch_size, seed=seed)
    expected = [batch for _ in range(70) for batch in epoch(whole)]
    stopped = loader(rows, batch_size, seed=seed)
    given_out = []
    while len(given_out) < taken:
        for batch, _ in stopped:
            given_out.append(batch.tolist())
            if len(given_out) == taken:
                break
    continued = loader(rows, batch_size, seed=seed)
    continued.load_state_dict(stopped.state_dict())
    rest = epoch(continued) + epoch(continued)
    assert given_out + rest == expected[: taken + len(rest)]


@given(rows=st.integers(2, 40), world_size=st.integers(1, 4), batch_size=st.integers(1, 9))
def test_ranks_share_an_epoch_without_overlap_in_equal_steps(
    rows: int, world_size: int, batch_size: int
) -> None:
    ranks = [loader(rows, batch_size, rank=r, world_size=world_size) for r in range(world_size)]
    shares = [joined(epoch(rank)) for rank in ranks]
    assert len({len(share) for share in shares}) == 1
    seen = joined(shares)
    assert len(set(seen)) == len(seen) == rows - rows % world_size
    # together, the ranks' batches are those of one rank with a batch as large
    whole = loader(rows).order(0).tolist()
    assert [row for group in zip(*shares, strict=True) for row in group] == whole[: len(seen)]


@pytest.mark.parametrize("other", [{"seed": 8}, {"batch_size": 5}, {"rows": 24}, {"world_size": 2}])
def test_a_position_in_another_order_is_refused(other: dict[str, int]) -> None:
    state = loader().state_dict()
    with pytest.raises(CheckpointError, match=next(iter(other))):
        loader(**other).load_state_dict(state)


def test_the_state_is_plain_and_small() -> None:
    stopped = loader()
    next(iter(stopped))
    state = stopped.state_dict()
    assert state["position"] == 1
    assert all(isinstance(value, int) for value in state.values())


def test_a_row_that_would_be_alone_joins_the_batch_before() -> None:
    loader = TensorLoader([torch.arange(9)], 4, seed=0)
    assert [len(batch[0]) for batch in loader] == [4, 5]
    assert [len(batch[0]) for batch in TensorLoader([torch.arange(1)], 4)] == [1]
    assert sorted(torch.cat([b[0] for b in loader]).tolist()) == list(range(9))


def test_a_limit_ends_each_epoch_there() -> None:
    loader = TensorLoader([torch.arange(20)], 4, seed=0, limit=2)
    for epoch in range(3):
        batches = [batch[0] for batch in loader]
        assert torch.equal(torch.cat(batches), torch.arange(20)[loader.order(epoch)][:8])
