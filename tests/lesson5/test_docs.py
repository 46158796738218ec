"""What README and pages tell one to do can be done: commands, files, links (see tests/pages.py)."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import nbformat
import pytest

from tests import warm
from tests.checks import checked
from tests.clones import clone_into
from tests.launch import ROOT
from tests.lesson5.pages import PAGES, README, Block, blocks_of, commands_of, prints, script_of

WORDS = {"bash", "output", "python", "console", "yaml", "text", "csv"}
RUN = [page for page in PAGES if any(block.word == "bash" for block in blocks_of(page))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


WITH_LINKS = sorted(
    path
    for folder in ("docs", "notebooks", "src", "benchmarks")
    for kind in ("*.md", "*.ipynb")
    for path in (ROOT / folder).rglob(kind)
)


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("*.md")), *WITH_LINKS], ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!http|attachment)([^\s)]+)\)", written(page)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def written(page: Path) -> str:
    """Return the text of a page, of a notebook that of its cells in Markdown."""
    if page.suffix == ".md":
        return page.read_text()
    cells = nbformat.read(page, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_the_readme_is_read_to_its_end() -> None:
    assert len(README.read_text().splitlines()) <= 150
    picture = re.search(r"!\[.+\]\((.+\.png)\)", README.read_text())
    assert picture
    assert (ROOT / picture[1]).stat().st_size <= 150_000


def anchors_of(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [README, *PAGES], ids=name)
def test_every_path_that_is_named_exists(page: Path) -> None:
    made = {block.title for block in blocks_of(page)}
    named = re.findall(r"`((?:src|conf|tests|docs|notebooks)/[\w./-]+)`", page.read_text())
    missing = [path for path in named if path not in made and not (ROOT / path).exists()]
    assert not missing


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    missing = [page.name for page in PAGES if page.name != "README.md" if page.name not in index]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_marked_as_something(page: Path) -> None:
    blocks = blocks_of(page)
    assert len(re.findall(r"^```\w", page.read_text(), flags=re.MULTILINE)) == len(blocks)
    for block in blocks:
        assert block.word in WORDS, f"line {block.line}: {block.word}"
        if block.title is not None:
            assert f"`{block.title}`" in block.before, f"line {block.line}: the text names no path"


def test_expected_lines_are_looked_for_in_their_order() -> None:
    output = "first\nit took 3 s\n  last one\n"
    assert prints(output, "it took … s\nlast one\n")
    assert not prints(output, "last one\nit took … s\n")
    assert not prints(output, "last\n")


@pytest.mark.slow
@pytest.mark.parametrize("status", [2, 3])
def test_a_stated_exit_status_is_the_only_one_that_passes(
    status: int, tmp_path: Path, warm_commands: Path
) -> None:
    commands = f"true\n(exit \\\n3)  # exit status {status}\ntrue\n"
    done = run(Block("bash", None, commands, line=1, before=""), tmp_path, warm_commands)
    assert done.returncode == (0 if status == 3 else 1), done.stdout


def commands_that_are_not_run() -> list[str]:
    blocks = [block for block in blocks_of(README) if block.word == "bash"]
    blocks += [block for page in PAGES for block in blocks_of(page) if block.word == "console"]
    return list(dict.fromkeys(command for block in blocks for command in commands_of(block)))


@pytest.mark.parametrize(
    "command",
    [
        command
        for command in commands_that_are_not_run()
        if "train.py" in command
        and not any(word in command for word in ("run=", "--", "ablation=", "sweeper="))
    ],
)
def test_a_command_that_is_not_run_is_a_valid_config(command: str) -> None:
    overrides = shlex.split(command.partition("train.py")[2])
    of_hydra = ("hydra.", "hydra/", "+hydra.")
    single = [o.split(",")[0] if "[" not in o else o for o in overrides if o != "-m"]
    checked([o for o in single if not o.startswith(of_hydra)])


@pytest.mark.parametrize("command", [c for c in commands_that_are_not_run() if "make" in c[:5]])
def test_what_is_made_is_a_target(command: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert command.split()[1] in targets


def test_the_paths_of_the_tree_exist() -> None:
    (tree,) = (block.content for block in blocks_of(README) if block.word == "text")
    parents: list[str] = []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [*parents[:depth], line.split()[0]]
        assert (ROOT / "".join(parents)).exists(), line


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository as a clone has it, with the data that has been fetched before."""
    folder = clone_into(tmp_path / "repository")
    (ROOT / "data").mkdir(exist_ok=True)
    (folder / "data").symlink_to(ROOT / "data")
    (folder / ".git" / "info" / "exclude").write_text("/data\n")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)  # two cores may have other work
@pytest.mark.parametrize("page", RUN, ids=name)
def test_a_reader_who_follows_the_page_gets_there(
    page: Path, copy: Path, warm_commands: Path
) -> None:
    output = ""
    if page.name == "interpretation.md":
        shorten_experiments(copy / "conf" / "experiment")
    for block in blocks_of(page):
        where = f"{page.name}, line {block.line}"
        if block.title is not None:
            path = copy / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.content)
        elif block.word in ("bash", "python"):
            done = run(block, copy, warm_commands)
            output = done.stdout
            assert done.returncode == 0, f"{where}: exit status {done.returncode}\n{output}"
        elif block.word == "output":
            assert prints(output, block.content), f"{where}: it printed\n{output}"


def shorten_experiments(folder: Path) -> None:
    """Train for a few steps, and leave what a run shows at its end to the page's own commands."""
    few = r"\1max_epochs: 1\n\1limit_train_batches: 50\n"
    for file in folder.glob("*.yaml"):
        text = re.sub(r"^( +)max_epochs: \d+\n", few, file.read_text(), flags=re.MULTILINE)
        file.write_text(re.sub("/interpret: (table|classifier)", "/interpret: none", text))


@pytest.mark.slow
def test_the_page_of_a_new_project_is_followed(tmp_path: Path, warm_commands: Path) -> None:
    new = Block("bash", None, "ablab new heron", line=1, before="")
    assert run(new, tmp_path, warm_commands).returncode == 0
    project = tmp_path / "heron"
    blocks = [block for block in blocks_of(project / "AGENTS.md") if block.word == "bash"]
    assert len(blocks) == 2
    for block in blocks:
        done = run(block, project, warm_commands)
        assert done.returncode == 0, f"line {block.line}: {done.stdout}"


def run(block: Block, folder: Path, commands: Path) -> subprocess.CompletedProcess[str]:
    """As a reader does whose environment is that of the tests, but with the copy's own source."""
    path = os.pathsep.join(map(str, (commands, warm.BIN, os.environ["PATH"])))
    python = str(commands / "python")
    command = (
        ["bash", "-e", "-o", "pipefail", "-c", script_of(block)]
        if block.word == "bash"
        else [python, "-c", block.content]
    )
    return subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        env={
            **os.environ,
            "PATH": path,
            "PYTHONPATH": str(folder / "src"),
            warm.PYTHON: python,
        },
        check=False,
    )
