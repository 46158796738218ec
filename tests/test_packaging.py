"""What is written down twice agrees: versions, targets, and what the README tells one to run."""

import re
import shlex
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.config.test_check import checked
from tests.launch import ROOT

README = (ROOT / "README.md").read_text()
PINNED = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
)


def pinned(name: str) -> Version:
    (version,) = (v for n, v in PINNED.items() if n.lower().replace("_", "-") == name.lower())
    return Version(version)


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    tested = [
        extras[name] for name in extras if name != "ray"
    ]  # cannot be among the tested versions
    named = [*project["dependencies"], *(r for extra in tested for r in extra)]
    return [Requirement(r) for r in named if not r.startswith(project["name"])]


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.name)
def test_the_tested_version_is_within_its_range(requirement: Requirement) -> None:
    assert pinned(requirement.name) in requirement.specifier


@pytest.mark.parametrize("version", ["2.9.0", "2.11.0", "2.14.1", "2.15.0"])
def test_torch_has_a_wide_range(version: str) -> None:
    (torch,) = (r for r in requirements() if r.name == "torch")
    assert torch.specifier.contains(version)


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3", "2.6.5"])
def test_releases_of_lightning_that_harm_are_out_of_range(version: str) -> None:
    for name in ("lightning", "pytorch-lightning"):
        (requirement,) = (r for r in requirements() if r.name == name)
        assert not requirement.specifier.contains(version)


def test_the_hooks_run_the_tested_ruff() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    found = re.findall(r"ruff==([\d.]+)", hooks)
    assert set(found) == {str(pinned("ruff"))}
    assert "repo: http" not in hooks  # nothing but the package index


def commands() -> list[str]:
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", README, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.partition("  #")[0].strip() for line in lines if line.strip()]


@pytest.mark.parametrize(
    "command",
    [
        command
        for command in commands()
        if "train.py" in command
        and not any(word in command for word in ("run=", "--", "ablation=", "sweeper="))
    ],
)
def test_what_the_readme_runs_is_a_valid_config(command: str) -> None:
    overrides = shlex.split(command.partition("train.py")[2])
    single = [o.split(",")[0] if "[" not in o else o for o in overrides if o != "-m"]
    checked(single)


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("make")])
def test_what_the_readme_makes_is_a_target(command: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert command.split()[1] in targets


def test_the_paths_of_the_tree_exist() -> None:
    (tree,) = re.findall(r"```text\n(.*?)```", README, flags=re.DOTALL)
    paths = [line.split()[0] for line in tree.splitlines() if line.strip()]
    assert len(paths) > 10
    parents: list[str] = []
    for line in tree.splitlines():
        if not line.strip():
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [*parents[:depth], line.split()[0]]
        assert (ROOT / "".join(parents)).exists(), line


def test_links_within_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    for link in links:
        assert (ROOT / link).exists(), link
