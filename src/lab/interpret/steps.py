"""Interpretations as steps: who they are for, and what they are handed.

An interpretation is a function of some of ``model``, ``data`` and ``folder`` (of the run), by these
names, and of settings of its own that have defaults; it returns ``Findings``. The annotations of
``model`` and ``data`` say for which classes it is.
"""

import functools
import inspect
import logging
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate

from lab import terminal
from lab.config.schema import Node
from lab.data.loader import TensorDataModule
from lab.errors import ConfigError, UserError
from lab.interpret.findings import FOLDER, Findings
from lab.module import SupervisedModule
from lab.trackers import Tracker

log = logging.getLogger(__name__)

Step = Callable[..., Findings]


def steps_of(
    nodes: Mapping[str, Node | None], model: SupervisedModule, data: TensorDataModule
) -> dict[str, Step]:
    """The steps of a config, by name.

    Raises:
        ConfigError: one is for other models or data.
    """
    steps: dict[str, Step] = {}
    for name, node in nodes.items():
        if node is None:
            continue
        step = instantiate({**node, "_partial_": True}, _convert_="all")
        told = misfit(step, model, data)
        if told:
            raise ConfigError(
                f"interpret.{name}: {told}; leave it out with interpret.{name}=null, or choose "
                f"others with interpret=NAME"
            )
        steps[name] = step
    return steps


def look_inside(
    steps: Mapping[str, Step],
    model: SupervisedModule,
    data: TensorDataModule,
    folder: Path,
    trackers: Iterable[Tracker],
    *,
    test: bool,
) -> None:
    """Take ``steps`` after a fit; one that fails costs nothing of what was measured.

    Args:
        test: false where the test part is to stay unread: it is out of the steps' reach, and those
            that can look at another part are handed the validation part.
    """
    written: list[Path] = []
    parts = data.parts
    if not test:
        data.parts = {name: rows for name, rows in parts.items() if name != "test"}
        steps = {name: _of_validation(step) for name, step in steps.items()}
    for name, step in steps.items():
        try:
            findings = take(step, model, data, folder)
            findings.show()
            written += findings.write(folder / FOLDER)
            findings.log_to(trackers, folder / FOLDER)
        except Exception as error:
            if not test and (isinstance(error, UserError) or error.args == ("test",)):
                told = error if isinstance(error, UserError) else "it is of the test part"
                terminal.say(f"interpret.{name} is left out, with test=false: {told}")
                continue
            log.warning(
                "interpret.%s failed, nothing else is lost (%s: %s); once it is mended: "
                "python -m lab.interpret %s %s",
                *(name, type(error).__name__, error, name, folder),
                exc_info=None if isinstance(error, UserError) else error,
            )
    data.parts = parts
    if written:
        names = ", ".join(path.name for path in written)
        terminal.say(f"what was learned: {folder / FOLDER}: {names}", whole=True)


def _of_validation(step: Step) -> Step:
    can = "part" in inspect.signature(step).parameters
    return functools.partial(step, part="val") if can else step


def misfit(step: Step, model: SupervisedModule, data: TensorDataModule) -> str | None:
    """Why ``step`` is not for this model or data; None if it is."""
    function = step.func if isinstance(step, functools.partial) else step
    try:
        hints = typing.get_type_hints(function)
    except NameError:  # imported for type checkers alone
        return None
    for name, value in (("model", model), ("data", data)):
        wanted = hints.get(name)
        if isinstance(wanted, type | types.UnionType) and not isinstance(value, wanted):
            return f"is for {_names(wanted)}, and this run has {type(value).__name__}"
    return None


def take(step: Step, model: SupervisedModule, data: TensorDataModule, folder: Path) -> Findings:
    """What ``step`` finds; it is handed what it has parameters for."""
    if model.dtype != torch.float32:  # of trainer.precision=64-true, say; the data are in 32 bits
        model.float()
    handed = {"model": model, "data": data, "folder": folder}
    wanted = inspect.signature(step).parameters
    return step(**{name: value for name, value in handed.items() if name in wanted})


def _names(kind: Any) -> str:
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return " or ".join(one.__name__ for one in kinds)
