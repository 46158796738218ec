"""YAML files that would hang, or fail without their place, are refused with file and line."""

from pathlib import Path

import pytest

from lab.config.yaml_files import check_yaml
from lab.errors import ConfigError
from lab.overrides import CONF

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 200))


@pytest.mark.parametrize(
    ("content", "line", "told"),
    [
        ("a: 1\nclaim: f\xfcr\n".encode("latin-1"), 2, "is not UTF-8"),
        ("a: 1\n".encode("utf-16"), 1, "is not UTF-8"),
        ("a: 1\n".encode("utf-8-sig"), 1, "byte order mark"),
        (b"a: 1\nb: x\x00y\n", 2, r"holds the character '\x00'"),
        (b"variants:\n  fine: {}\n  null: {a: 1}\n", 3, "the key null is no name"),
        (b"variants:\n  ~: 1\n", 2, "the key ~ is no name"),
        (b"? [a, b]\n: 1\n", 1, "a key that is no name"),
        (b"- a\n- b\n", 1, "should hold keys"),
        (b"hello\n", 1, "should hold keys"),
        (b"a: 1\nhydra: null\n", 2, "hydra should hold keys"),
        (b"hydra: [1]\n", 1, "hydra should hold keys"),
        (b"a: 1\nx: &x\n  y: *x\n", 2, "contains itself"),
        (BOMB.encode(), 5, "more than 100,000 values"),
        (CHAIN.encode(), 101, "nested deeper than 100 levels"),
        (b"a: 1\nx: " + b"[" * 2000 + b"]" * 2000, 2, "nested deeper than 100 levels"),
        (b"x: " + b"{a: " * 2000 + b"}" * 2000, 1, "nested deeper than 100 levels"),
        (b"a: 1\nseed: " + b"9" * 5000, 2, "a number has 5000 digits"),
    ],
)
def test_told_with_its_file_and_line(content: bytes, line: int, told: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        check_yaml(file)
    assert str(caught.value).startswith(f"{file}, line {line}: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"# nothing\n",
        b"variants: {fine: , null_: 1, 'null': 2}\n",
        b"x: &x {a: 1}\ny: {<<: *x, b: 2}\nz: [*x, *x]\n",
        b'x: "' + b"9" * 5000 + b'"\n',
        b"a: [1\n",  # the loader says what is wrong with it
    ],
)
def test_what_can_be_read_is_left_alone(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    check_yaml(tmp_path / "x.yaml")


def test_our_own_files_can_be_read() -> None:
    for file in CONF.rglob("*.yaml"):
        check_yaml(file)
