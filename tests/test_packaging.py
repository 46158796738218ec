"""The versions that are written down in several places agree."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.launch import ROOT


def pins(file: str) -> dict[str, Version]:
    lines = (ROOT / file).read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name.lower().replace("_", "-"): Version(version) for name, version in pairs}


PINNED = pins("constraints.txt")
OLDEST = pins("constraints-oldest.txt")


def pinned(name: str) -> Version:
    return PINNED[name.lower().replace("_", "-")]


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    of_dev = [r for name, extra in extras.items() if name not in ("bench", "mlflow") for r in extra]
    named = [*project["dependencies"], *of_dev]
    return [Requirement(r) for r in named if not r.startswith(project["name"])]


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.name)
def test_the_tested_version_is_within_its_range(requirement: Requirement) -> None:
    assert pinned(requirement.name) in requirement.specifier


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.name)
def test_the_lowest_version_of_a_range_is_one_that_a_target_installs(
    requirement: Requirement,
) -> None:
    """Hold a lower bound to `make test-oldest`, or to constraints.txt where it is not in that."""
    (lowest,) = (Version(s.version) for s in requirement.specifier if s.operator == ">=")
    assert lowest == OLDEST.get(requirement.name, pinned(requirement.name))


def test_the_oldest_versions_are_of_direct_dependencies() -> None:
    assert set(OLDEST) <= {requirement.name for requirement in requirements()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {Requirement(r).name for r in project["dependencies"]} <= set(OLDEST)


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
