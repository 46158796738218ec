"""MovieLens-25M from an archive of its shape; the real one has 25 million rows of the same kind."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from ablab.data.files import download
from ablab.data.files.download import zip_member_lines
from ablab.errors import DataError
from lesson5.__main__ import main
from lesson5.ratings import movielens_25m_source
from lesson5.ratings.movielens_25m import MovieLens25M

RATINGS = "userId,movieId,rating,timestamp\r\n" + "".join(
    f"{user},{movie},{(user + movie) % 10 / 2 + 0.5},11478801{user:02}\r\n"
    for user in range(1, 11)
    for movie in (1, 306, 209171)
)
MOVIES = (
    "movieId,title,genres\r\n1,Toy Story (1995),Adventure|Animation\r\n"
    '306,"Three Colors: Red (Trois couleurs: Rouge) (1994)",Drama\r\n'
    '307,"American President, The (1995)",Comedy\r\n209171,Été (2019),Drama\r\n'
)


def put_archive(
    root: Path, monkeypatch: pytest.MonkeyPatch, ratings: str = RATINGS, movies: str = MOVIES
) -> None:
    with zipfile.ZipFile(root / "ml-25m.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml-25m/ratings.csv", ratings)
        archive.writestr("ml-25m/movies.csv", movies)
    md5 = hashlib.md5((root / "ml-25m.zip").read_bytes()).hexdigest()
    monkeypatch.setattr(movielens_25m_source, "MD5", md5)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movielens_25m_source, "URL", "http://127.0.0.1:9/ml-25m.zip")


def data(root: Path) -> MovieLens25M:
    return MovieLens25M(
        root=str(root),
        test_fraction=0.2,
        validation_fraction=0.0,
        batch_size=8,
        eval_batch_size=8,
        split_seed=0,
        order_seed=0,
    )


def test_rows_and_titles_are_those_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_archive(tmp_path, monkeypatch)
    monkeypatch.setattr(zip_member_lines, "__defaults__", (50,))  # lines are cut by blocks
    made = data(tmp_path)
    made.setup("fit")
    table, source = made.load_table()
    assert source == str(tmp_path / "ml-25m.zip")
    rows = [f"{u},{i},{r}" for u, i, r in zip(table.users, table.items, table.ratings, strict=True)]
    assert rows == [line.rpartition(",")[0] for line in RATINGS.splitlines()[1:]]
    assert table.titles[307] == "American President, The (1995)"
    assert table.titles[209171] == "Été (2019)"
    assert set(made.item_names[1:]) <= set(table.titles.values())
    assert sum(len(part[-1]) for part in made.parts.values()) == 30
    (tmp_path / "ml-25m.zip").unlink()
    assert data(tmp_path).load_table()[1] == "the verified copy"


def test_it_is_told_where_it_could_not_be_had(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", "movielens_25m", "--root", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    for part in ("ml-25m.zip: there is none", "GroupLens: unreachable", "data=synthetic_25m"):
        assert part in told


def test_another_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_archive(tmp_path, monkeypatch)
    monkeypatch.setattr(movielens_25m_source, "MD5", "0" * 32)
    with pytest.raises(DataError, match="is not that of GroupLens"):
        data(tmp_path).prepare_data()


@pytest.mark.parametrize(
    ("ratings", "told"),
    [
        (RATINGS.replace("userId", "user"), "begins with"),
        (RATINGS.replace("1,306,", "1,,", 1), "a value is missing"),
        (RATINGS.replace("1,306,", "1,no,", 1), "ratings.csv is damaged"),
    ],
)
def test_damaged_rows_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ratings: str, told: str
) -> None:
    put_archive(tmp_path, monkeypatch, ratings)
    with pytest.raises(DataError, match=told):
        data(tmp_path).prepare_data()
    assert not (movielens_25m_source.cache_folder(tmp_path) / "columns.json").exists()


def test_lines_of_a_member_come_whole(tmp_path: Path) -> None:
    lines = b"".join(b"%d\n" % number for number in range(500)) + b"the last"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", lines)
    blocks = list(download.zip_member_lines(tmp_path / "a.zip", "a", 100))
    assert b"".join(blocks) == lines
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    with pytest.raises(DataError, match="no item named"):
        list(download.zip_member_lines(tmp_path / "a.zip", "b", 100))
