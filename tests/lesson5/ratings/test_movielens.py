"""MovieLens: where it may come from, what is refused on the way, and how it is split.

The tests below stand a small table in for the real one, which may not be redistributed; those
marked slow read the real one.
"""

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ablab.errors import DataError
from lesson5.ratings import movielens_source
from lesson5.ratings.movielens import MovieLens100K, lesson_split, official_fold
from lesson5.ratings.movielens_source import MOVIELENS, RATINGS, load_movielens
from tests.launch import ROOT

SMALL = 60
ITEMS = {number: f"Film {number} (19{10 + number})" for number in range(1, 8)}


def small_ratings() -> bytes:
    random = np.random.default_rng(0)
    rows = np.stack(
        [
            random.integers(1, 9, SMALL),
            random.integers(1, 8, SMALL),
            random.integers(1, 6, SMALL),
            random.integers(800_000_000, 900_000_000, SMALL),
        ],
        axis=1,
    )
    return "".join("\t".join(map(str, row)) + "\n" for row in rows.tolist()).encode()


def small_titles() -> bytes:
    lines = (f"{n}|{title}|01-Jan-1995||http://example.org/{n}|0|1\n" for n, title in ITEMS.items())
    return "".join(lines).encode("latin-1")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small table is the true one, and nothing answers but local files."""
    table = np.loadtxt(io.BytesIO(small_ratings()), delimiter="\t").astype("<i4")
    digest = hashlib.sha256(table.tobytes()).hexdigest()
    small = replace(MOVIELENS, sha256={**MOVIELENS.sha256, RATINGS: digest})
    monkeypatch.setattr(movielens_source, "MOVIELENS", small)

    def down(*_: object, **__: object) -> list[bytes]:
        raise DataError("is down")

    monkeypatch.setattr(movielens_source, "http_zip_members", down)
    monkeypatch.setattr(movielens_source, "wheel_members", down)


def put(root: Path, ratings: bytes | None = None, titles: bytes | None = None) -> Path:
    """A local copy as GroupLens packs it."""
    folder = root / "ml-100k"
    folder.mkdir(parents=True)
    (folder / "u.data").write_bytes(small_ratings() if ratings is None else ratings)
    (folder / "u.item").write_bytes(small_titles() if titles is None else titles)
    return root


@pytest.mark.usefixtures("offline")
def test_a_local_folder_and_a_local_zip_give_the_same_table(tmp_path: Path) -> None:
    from_folder = load_movielens(put(tmp_path / "a"))
    (tmp_path / "b").mkdir()
    with zipfile.ZipFile(tmp_path / "b" / "ml-100k.zip", "w") as archive:
        archive.writestr("ml-100k/u.data", small_ratings())
        archive.writestr("ml-100k/u.item", small_titles())
    from_zip = load_movielens(tmp_path / "b")
    assert np.array_equal(from_folder[0], from_zip[0])
    assert from_folder[1] == from_zip[1] == ITEMS
    assert "local copy" in from_folder[2]
    assert load_movielens(tmp_path / "a")[1:] == (ITEMS, "the verified copy")


def changed(line: int, text: str) -> bytes:
    lines = small_ratings().decode().splitlines()
    lines[line] = text
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize(
    ("ratings", "titles", "told"),
    [
        (changed(7, "1\t2\t5\t0"), None, "another sha256"),
        (changed(7, "1\t2\tnan\t0"), None, "the ratings are damaged .*b'nan'"),
        (changed(7, "1\t2\t\t0"), None, "damaged .a row should have four numbers"),
        (changed(7, "1\t2\t3\t99999999999"), None, "the ratings are damaged .*out of bounds"),
        (b"", None, "its 0 bytes have another sha256"),
        (None, small_titles()[:90], "the list of movies is cut short|u.item is damaged"),
        (None, b"no bars here\n", "u.item is damaged"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_a_damaged_copy_is_refused_and_leaves_nothing(
    tmp_path: Path, ratings: bytes | None, titles: bytes | None, told: str
) -> None:
    put(tmp_path, ratings, titles)
    with pytest.raises(DataError, match=told) as caught:
        load_movielens(tmp_path)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "MovieLens-100K could not be fetched",
        f"a local copy in {tmp_path}",
        "GroupLens",
        "the copy inside the recbole 1.2.1 wheel",
        "remedy",
    ]
    assert not (tmp_path / MOVIELENS.folder).exists()


# -- splits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_fold_is_a_fifth_of_the_rows_sorted_by_user_and_item(number: int) -> None:
    random = np.random.default_rng(number)
    users, items = random.integers(1, 900, 100_000), random.integers(1, 1600, 100_000)
    train, test = official_fold(number, users, items)
    assert sorted(test.tolist()) == list(range((number - 1) * 20_000, number * 20_000))
    pairs = list(zip(users[test].tolist(), items[test].tolist(), strict=True))
    assert pairs == sorted(pairs)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(100_000))
    assert np.all(np.diff(train) > 0)


def test_the_lesson_split_groups_by_first_appearance_before_it_draws() -> None:
    items = np.array([7, 3, 7, 5, 3, 7] * 2000)
    train, test = lesson_split(items)
    merged = [i for wanted in (7, 3, 5) for i in np.flatnonzero(items == wanted)]
    drawn = np.random.RandomState(42).permutation(12_000)
    assert test.tolist() == [merged[i] for i in drawn[:10_000]]
    assert train.tolist() == [merged[i] for i in drawn[10_000:]]


# -- the real data ---------------------------------------------------------------------------------


def movielens(
    split: str, validation_fraction: float = 0.0, item_key: str = "title"
) -> MovieLens100K:
    data = MovieLens100K(
        root=str(ROOT / "data"),
        split=split,  # type: ignore[arg-type]
        test_fraction=0.2,
        validation_fraction=validation_fraction,
        item_key=item_key,  # type: ignore[arg-type]
    )
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.mark.slow
def test_the_real_table_is_as_its_readme_says() -> None:
    table, titles, _ = load_movielens(ROOT / "data")
    users, items, ratings, _ = table.T
    assert (len(np.unique(users)), len(np.unique(items)), len(titles)) == (943, 1682, 1682)
    assert len(set(titles.values())) == 1664
    assert np.bincount(ratings).tolist() == [0, 6110, 11370, 27145, 34174, 21201]
    assert table[:3, :3].tolist() == [[196, 242, 3], [186, 302, 3], [22, 377, 1]]
    assert (titles[1], titles[242], titles[267]) == ("Toy Story (1995)", "Kolya (1996)", "unknown")
    assert titles[543].startswith("Misérables, Les")


@pytest.mark.slow
def test_the_first_fold_is_the_published_one() -> None:
    table, _, _ = load_movielens(ROOT / "data")
    users, items = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    _, test = official_fold(1, users, items)
    assert (len(np.unique(users[test])), users[test].max()) == (459, 462)
    assert table[test[0]].tolist()[:2] == [1, 6]


@pytest.mark.slow
def test_the_lesson_frame_begins_as_its_notebook_prints() -> None:
    table, _, _ = load_movielens(ROOT / "data")
    users, items = table[:, 0], table[:, 1].astype(np.int64)
    _, first_row, inverse = np.unique(items, return_index=True, return_inverse=True)
    merged = np.argsort(first_row[inverse], kind="stable")
    assert users[merged[:5]].tolist() == [196, 63, 226, 154, 306]
    assert set(items[merged[:5]].tolist()) == {242}


# RMSE of the bias-only model, from an implementation that shares no code with this one
BIAS_ONLY = {"u1": 0.9531, "u2": 0.9435, "u3": 0.9374, "u4": 0.9362, "u5": 0.9361, "lesson": 0.9414}


@pytest.mark.slow
@pytest.mark.parametrize("split", BIAS_ONLY)
def test_the_baseline_on_every_split(split: str) -> None:
    data = movielens(split, item_key="id")  # titles give 0.0002 less or 0.0001 more
    assert data.baselines()["bias-only"]["rmse"] == pytest.approx(BIAS_ONLY[split], abs=6e-5)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["lesson", "random", "u1"])
def test_parts_do_not_overlap_and_validation_comes_out_of_training(split: str) -> None:
    data = (movielens(split), movielens(split, 0.1))
    without, with_validation = (d.split_rows(d.load_table()[0]) for d in data)
    assert np.array_equal(without["test"], with_validation["test"])
    parts = np.concatenate([with_validation["train"], with_validation["val"]])
    assert np.array_equal(np.sort(parts), np.sort(without["train"]))
    everything = np.concatenate([parts, with_validation["test"]])
    assert np.array_equal(np.sort(everything), np.arange(100_000))
