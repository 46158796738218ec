"""The idx format against bytes written by hand."""

import pytest

from ablab.errors import DataError
from lesson5.digits.idx import parse_idx


def test_idx_bytes_written_by_hand() -> None:
    content = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255])
    assert parse_idx(content, (2, 3)).tolist() == [[1, 2, 3], [4, 5, 255]]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (bytes([0, 0, 8, 1, 0, 0, 0, 6, 1, 2, 3, 4, 5, 6]), "no idx file of 2-dimensional"),
        (bytes([0, 0, 13, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]), "begins with 00000d02"),
        (bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5]), "17 bytes instead of 18"),
        (bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, *range(7)]), "19 bytes instead of 18"),
        (bytes([0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 2, *range(6)]), r"shape \(3, 2\) instead"),
        (bytes([0, 0, 8, 2, 0, 0]), "6 bytes instead of 18"),
        (b"", "no idx file"),
    ],
)
def test_idx_bytes_of_another_kind_are_refused(content: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        parse_idx(content, (2, 3))
