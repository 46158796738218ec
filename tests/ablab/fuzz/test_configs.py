"""Configs: every key of the schema, of ``conf/`` and of what is built, with values of any kind."""

import functools
import json
import logging
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pydantic import BaseModel

from ablab.command.user_errors import as_user_error
from ablab.config.check import check
from ablab.config.schema import Config
from ablab.config.source_reading.signatures import signature_of
from ablab.errors import ConfigError, UserError
from ablab.training.tasks import run_task
from tests.ablab.fuzz.cases import DELETED, change, changed, examples, odd_leaf, odd_text, paths_of
from tests.checks import composed
from tests.launch import PHASES

_TINY = ["trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.limit_train_batches=2"]
_RUNS = {  # of a moment
    "ratings": [*_TINY, "data.n_ratings=60", "model.n_factors=2", "logger=csv"],
    "points": [
        *(*_TINY, "data=points", "data.n_rows=60", "model=net", "objective=classification"),
        *("optim=momentum", "schedule=step", "logger=csv"),
    ],
}
BASES = {
    **_RUNS,
    "phases": PHASES,
    "pictures": ["data=image_folder", "model=net", "objective=classification"],
    "recipe": ["experiment=recipe", "callbacks=early_stopping"],
}


@functools.cache
def base(name: str) -> dict[str, Any]:
    values = OmegaConf.to_container(composed(BASES[name]), resolve=False)
    assert isinstance(values, dict)
    return values  # type: ignore[return-value]


def schema_paths(annotation: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            yield (*prefix, name)
            yield from schema_paths(field.annotation, (*prefix, name))
        return
    within = (*prefix, "head") if typing.get_origin(annotation) is dict else prefix
    for part in typing.get_args(annotation):
        yield from schema_paths(part, within)


def parameter_paths(values: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """What the classes that a config names would take."""
    if isinstance(values, dict):
        if isinstance(values.get("_target_"), str):
            yield from ((*prefix, key) for key in signature_of(values["_target_"]).types)
        for key, inner in values.items():
            yield from parameter_paths(inner, (*prefix, key))


@functools.cache
def places(name: str) -> list[tuple[Any, ...]]:
    values = base(name)
    found = [*schema_paths(Config), *paths_of(values), *parameter_paths(values)]
    return list(dict.fromkeys(found))


@st.composite
def changed_config(draw: st.DrawFn, names: tuple[str, ...] = tuple(BASES)) -> dict[str, Any]:
    name = draw(st.sampled_from(names))
    values = base(name)
    for _ in range(draw(st.integers(1, 3))):
        values = changed(values, draw(st.sampled_from(places(name))), draw(change))
    return values


def test_every_field_is_among_the_places() -> None:
    assert {("optim", "momentum"), ("phases", "head", "schedule", "pct_start")} <= set(
        places("ratings")
    )
    assert {("trainer", "gradient_clip_val"), ("paths", "runs")} <= set(places("ratings"))


@given(changed_config())
@examples(150)
def test_a_config_is_whole_or_refused_in_lines(values: dict[str, Any]) -> None:
    try:
        config = check(OmegaConf.create(values))
    except ConfigError as error:
        lines = str(error).splitlines()
        assert lines
        assert all(len(line) > 3 for line in lines)
    else:
        json.dumps(config.model_dump(mode="json"))


@given(
    st.lists(
        st.one_of(
            st.text("ab.=[]{}$'\",\\+~:@ /-0\n", max_size=12),
            st.builds(
                "{}={}".format,
                st.sampled_from(["optim", "optim.lr", "model", "data.root", "trainer.devices"]),
                odd_text,
            ),
        ),
        min_size=1,
        max_size=2,
    )
)
@examples(10)
def test_a_command_line_is_understood_or_refused(arguments: list[str]) -> None:
    try:
        check(composed([*BASES["ratings"], *arguments]))
    except Exception as error:
        if as_user_error(error) is None:
            raise


_HUGE = 1 << 16  # a run of this would take its time, and be right to


def _is_small(values: Any) -> bool:
    if isinstance(values, dict):
        return all(_is_small(value) for value in values.values())
    if isinstance(values, list):
        return all(map(_is_small, values))
    return not (isinstance(values, int | float) and values > _HUGE)


_OF_A_FAST_RUN = {
    ("task",): "fit",
    ("run",): None,
    ("paths", "runs"): "runs",
    ("trainer", "limit_train_batches"): 2,
    ("trainer", "accelerator"): "cpu",
    ("trainer", "devices"): 1,
    ("trainer", "num_nodes"): 1,
    ("trainer", "max_epochs"): 1,
    ("trainer", "max_steps"): DELETED,
    ("trainer", "strategy"): "auto",
    ("threads",): 1,
    ("phases",): {},
}


def _checked(values: dict[str, Any]) -> Config | None:
    for path, fixed in _OF_A_FAST_RUN.items():
        values = changed(values, path, fixed)
    try:
        config = check(OmegaConf.create(values))
    except ConfigError:
        return None
    # seeds, rates and the like may be as large as they please
    small = _is_small(config.data | dict.fromkeys(("order_seed", "split_seed", "data_seed"), 0))
    return config if small and _is_small(config.model) else None


@st.composite
def tiny_config(draw: st.DrawFn) -> Config:
    """A config that passes the check, of a run that takes no time."""
    name = draw(st.sampled_from(list(_RUNS)))
    values = base(name)
    config = _checked(values)
    assert config is not None
    for _ in range(8):
        new = changed(values, draw(st.sampled_from(places(name))), draw(odd_leaf))
        if (valid := _checked(new)) is not None:
            config, values = valid, new
    return config


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("ablab"), "disabled", True)


@given(tiny_config())
@examples(12)
@pytest.mark.filterwarnings("default")
def test_a_run_ends_with_a_record_of_its_end(config: Config) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        folder.mkdir()
        status = "done"
        try:
            run_task(config, folder, [])
        except Exception as error:
            told = as_user_error(error)
            if told is None:
                raise
            assert str(told)
            status = "failed"
        record = json.loads((folder / "run.json").read_text())
        assert record["status"] == status
        assert not list(folder.rglob("*.part"))


def test_a_refusal_is_a_user_error() -> None:
    with pytest.raises(UserError):
        check(OmegaConf.create(changed(base("ratings"), ("optim", "lr"), -1)))
