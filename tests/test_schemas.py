"""The published JSON schemas: equal to the code's, true of all shipped files, strict with keys."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pydantic
import pytest
from omegaconf import OmegaConf
from packaging.version import Version

from ablab.ablation.schema import FILES, json_schema
from ablab.command.new_project import TEMPLATE, write_project
from ablab.report.documents import DOCUMENTS
from tests.launch import ROOT

OF_FILES = TEMPLATE / "schemas"
OF_DOCUMENTS = ROOT / "docs" / "schemas"
CONFS = [ROOT / "conf", ROOT / "tests" / "toy" / "conf"]
SHIPPED = [(kind, path) for conf in CONFS for kind in FILES for path in conf.glob(f"{kind}/*.yaml")]


def faults(kind: str, values: Any) -> list[str]:
    validator = jsonschema.Draft7Validator(json.loads(json_schema(kind)))
    return [error.message for error in validator.iter_errors(values)]


def read(path: Path) -> Any:
    return OmegaConf.to_container(OmegaConf.load(path))


@pytest.mark.parametrize("name", [*FILES, *DOCUMENTS])
def test_the_published_schemas_are_those_of_the_code(name: str) -> None:
    """To write one: ablab schema NAME > FOLDER/NAME.json.

    pydantic before 2.13 describes dataclasses as well.
    """
    folder = OF_FILES if name in FILES else OF_DOCUMENTS
    published, made = (folder / f"{name}.json").read_text(), json_schema(name)
    if Version(pydantic.VERSION) < Version("2.13"):
        published, made = map(without_descriptions, (published, made))
    assert made == published


def without_descriptions(schema: str) -> Any:
    def kept(part: dict[str, Any]) -> dict[str, Any]:
        described = isinstance(part.get("description"), str)
        return {k: v for k, v in part.items() if not (described and k == "description")}

    return json.loads(schema, object_hook=kept)


@pytest.mark.parametrize(("kind", "path"), SHIPPED, ids=lambda value: getattr(value, "stem", value))
def test_every_shipped_file_is_as_its_schema_says(kind: str, path: Path) -> None:
    assert faults(kind, read(path)) == []


def test_files_say_which_schema_is_theirs(tmp_path: Path) -> None:
    write_project("osprey", tmp_path / "osprey")
    for conf in (ROOT / "conf", tmp_path / "osprey" / "conf"):
        for kind in FILES:
            for path in conf.glob(f"{kind}/*.yaml"):
                lines = path.read_text().splitlines()[:2]  # Hydra wants a package in the first
                (schema,) = (line.split("$schema=")[1] for line in lines if "$schema=" in line)
                assert (path.parent / schema).read_text() == json_schema(kind)
                assert faults(kind, read(path)) == []


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("experiment", {"trainr": {}}),
        ("experiment", {"optim": {"lrr": 0.1}}),
        ("experiment", {"optim": {"lr": -1.0}}),
        ("experiment", {"optim": {"weight_decay": {"mode": "l3"}}}),
        ("experiment", {"optim": {"lr_spread": {"kind": "flat", "first": 0.1}}}),
        ("experiment", {"schedule": {"pct_strat": 0.3}}),
        ("experiment", {"phases": {"head": {"epoch": 1}}}),
        ("experiment", {"seed": True}),
        ("ablation", {"variant": {}}),
        ("ablation", {"seeds": 0}),
        ("ablation", {"claim": {"text": "a", "expects": []}}),
        ("ablation", {"claim": {"expect": [{"better": "a", "then": "b", "metric": "m"}]}}),
    ],
    ids=str,
)
def test_a_misspelt_key_or_a_wrong_value_is_flagged(kind: str, values: dict[str, Any]) -> None:
    assert faults(kind, values)


def test_interpolations_and_own_classes_are_values() -> None:
    own = {"_target_": "heron.Sophia", "lr": "${oc.env:LR}", "rho": 0.1}
    assert faults("experiment", {"seed": "${oc.env:SEED}", "optim": own, "model": {"a": 1}}) == []
