"""Data sets that are downloaded once: which source is taken, and the verified copy."""

import hashlib
import os
from pathlib import Path

import pytest

from ablab.data.__main__ import main
from ablab.data.files.dataset import THE_COPY, Dataset, Files, Source, read_file
from ablab.errors import DataError

FILES = {"numbers": b"\x01\x02\x03", "titles": "Amélie\n".encode()}
PINNED = {"numbers": hashlib.sha256(FILES["numbers"]).hexdigest(), "titles": None}


def dataset(*answers: Files | None) -> Dataset:
    """A data set whose sources a, b, … have these files, or None if they are down."""

    def source(name: str, files: Files | None) -> Source:
        def fetch() -> Files:
            if files is None:
                raise DataError("is down")
            return files

        return Source(name, fetch)

    return Dataset(
        title="Numbers",
        description="three numbers",
        terms="none",
        folder="numbers",
        sha256=PINNED,
        sources=lambda root: [source(n, f) for n, f in zip("abc", answers, strict=False)],
        remedy="put them into {root}",
    )


def test_files_with_another_sha256_are_refused_and_the_next_source_is_asked(tmp_path: Path) -> None:
    told = "have another sha256; it is damaged, cut short or another version"
    damaged = {**FILES, "numbers": b"\x01\x02"}
    assert dataset(None, damaged, FILES).fetch(tmp_path) == (FILES, "c")
    with pytest.raises(DataError) as caught:
        dataset(None, damaged).fetch(tmp_path / "elsewhere")
    assert str(caught.value).splitlines() == [
        "Numbers could not be fetched",
        "a: is down",
        f"b: numbers is not that of Numbers: its 2 bytes {told}",
        f"remedy: put them into {tmp_path / 'elsewhere'}",
    ]
    assert not (tmp_path / "elsewhere").exists()


def test_the_verified_copy_needs_no_source(tmp_path: Path) -> None:
    dataset(FILES).fetch(tmp_path)
    assert dataset().fetch(tmp_path) == (FILES, THE_COPY)


@pytest.mark.parametrize("file", ["numbers", "titles", "titles.sha256"])
@pytest.mark.parametrize("damage", [b"", b"\xff\x02\x03", None])
def test_a_damaged_copy_is_fetched_again(tmp_path: Path, file: str, damage: bytes | None) -> None:
    dataset(FILES).fetch(tmp_path)
    path = tmp_path / "numbers" / file
    os.utime(path, (0, 0))  # so that a change shows, however coarse the file system's clock
    assert dataset().fetch(tmp_path)[1] == THE_COPY
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    assert dataset(FILES).fetch(tmp_path) == (FILES, "a")
    assert dataset().fetch(tmp_path) == (FILES, THE_COPY)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "numbers").touch()  # a file where the folder should be
    with pytest.raises(DataError, match=r"numbers: cannot be written .*paths\.data="):
        dataset(FILES).fetch(tmp_path)


def test_a_local_file_is_read_up_to_a_limit_and_named_where_it_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_file(tmp_path / "a", max_bytes=3) == b"123"
    with pytest.raises(DataError, match=r"there is no file .*/b$"):
        read_file(tmp_path / "b")
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        read_file(tmp_path)


def test_the_command_lists_and_fetches_the_data_of_the_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ["--root", str(tmp_path)]
    assert main(["fetch", "numbers", *root]) == 0
    assert (
        f"numbers: verified in {tmp_path / 'numbers'} (from this module, "
        in capsys.readouterr().out
    )
    assert main(["list", *root]) == 0
    assert "three numbers" in capsys.readouterr().out
    assert main(["fetch", "number", *root]) == 2
    assert (
        capsys.readouterr().err == "error: there is no data set 'number'; did you mean 'numbers'?\n"
    )
