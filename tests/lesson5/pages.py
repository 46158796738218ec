"""The pages of the documentation as what a reader does with them: commands run, files written.

How a page marks what, by the word after the three backticks:

``bash``
    Run as it stands, by ``bash -e`` in the repository's root: each command has to succeed, unless
    its line ends with ``# exit status N``. No variable lives on into the next block.
``output``
    What the block before it prints, standard error included: these lines in this order, others
    between them; ``…`` stands for anything.
``python``
    Run as a program of its own. With a title it is a file.
``LANGUAGE title="path"``
    A file that the reader makes, written over one that is there. The text above names its path.
``console``
    Not run, for what needs GPUs, a cluster, an account or a long time. That its
    ``python train.py …`` are valid configs is tested all the same.
``yaml``, ``text``
    Without a title: shown, not run.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.launch import ROOT

README = ROOT / "README.md"
AGENTS = ROOT / "AGENTS.md"
PAGES = sorted([AGENTS, *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "lesson5").glob("*.md")])
_FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
_EXIT_STATUS = re.compile(
    r"^(?P<command>(?:.*\\\n)*.*?)[ ]+# exit status (?P<status>\d+)$", re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """A fenced block; ``line`` counts from 1, ``before`` is all text above it."""

    word: str
    title: str | None
    content: str
    line: int
    before: str


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(
            word=match[1],
            title=match[2],
            content=match[3],
            line=text.count("\n", 0, match.start()) + 1,
            before=text[: match.start()],
        )
        for match in _FENCE.finditer(text)
    ]


def script_of(block: Block) -> str:
    """The block's commands, those with a stated exit status turned into tests of it."""
    return _EXIT_STATUS.sub(_tested, block.content)


def _tested(match: re.Match[str]) -> str:
    command, expected = match["command"], match["status"]
    wrong = f'echo "exit status $status instead of {expected}"; exit 1'
    return f"status=0; {command} || status=$?; [ $status = {expected} ] || {{ {wrong}; }}"


def prints(output: str, expected: str) -> bool:
    """Whether ``output`` has the lines of ``expected``, in their order."""
    patterns = [re.escape(line.strip()).replace("…", ".*") for line in expected.splitlines()]
    rest = iter(output.splitlines())
    return all(any(re.fullmatch(p, line.strip()) for line in rest) for p in patterns if p)


def commands_of(block: Block) -> list[str]:
    """One line a command, without its comment."""
    lines = block.content.replace("\\\n", " ").splitlines()
    return [line.partition("  #")[0].strip() for line in lines if line.strip()]
