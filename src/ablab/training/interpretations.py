"""Interpretations as the last steps of a run: which fit a model, and how they are called.

An interpretation is a function that returns ``Findings``. It takes any of ``model``, ``data`` and
``folder`` (of the run), by these names, and settings of its own that have defaults. The annotations
of ``model`` and ``data`` say which classes it is for.
"""

import functools
import inspect
import logging
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule

from ablab import terminal
from ablab.config.instantiate import instantiate
from ablab.config.schema import Node
from ablab.data.contract import RunDataModule
from ablab.errors import ConfigError, UserError
from ablab.findings import FOLDER, Findings
from ablab.trackers import Tracker

log = logging.getLogger(__name__)

Step = Callable[..., Findings]


def build_steps(
    nodes: Mapping[str, Node | None], model: LightningModule, data: RunDataModule
) -> dict[str, Step]:
    """Return the steps of a config, by name.

    Raises:
        ConfigError: a step is for other models or data.
    """
    steps: dict[str, Step] = {}
    for name, node in nodes.items():
        if node is None:
            continue
        step = instantiate({**node, "_partial_": True})
        told = reason_against(step, model, data)
        if told:
            raise ConfigError(
                f"interpret.{name}: {told}; leave it out with interpret.{name}=null, or choose "
                f"others with interpret=NAME"
            )
        steps[name] = step
    return steps


def interpret(
    steps: Mapping[str, Step],
    model: LightningModule,
    data: RunDataModule,
    folder: Path,
    trackers: Iterable[Tracker],
    *,
    test: bool,
) -> None:
    """Run ``steps`` after a fit, show and write their findings; a step that fails is only logged.

    Args:
        test: whether steps may read the test part. If not, it is hidden from them, and steps that
            have a setting ``part`` get the validation part.
    """
    written: list[Path] = []
    if not test:
        steps = {name: _of_validation(step) for name, step in steps.items()}
    for name, step in steps.items():
        try:
            with nullcontext() if test else data.test_hidden():
                findings = run_step(step, model, data, folder)
            findings.show()
            written += findings.write(folder / FOLDER)
            for tracker in trackers:
                tracker.log_findings(findings, folder / FOLDER)
        except Exception as error:
            if not test and (isinstance(error, UserError) or error.args == ("test",)):
                told = error if isinstance(error, UserError) else "it reads the test part"
                terminal.say(f"interpret.{name} is skipped, since test=false: {told}")
                continue
            log.warning(
                "interpret.%s failed (%s: %s); nothing else of the run is lost. Once it is fixed: "
                "ablab interpret %s %s",
                *(name, type(error).__name__, error, name, folder),
                exc_info=None if isinstance(error, UserError) else error,
            )
    if written:
        terminal.say(f"interpretation: {folder / FOLDER}", whole=True)
        terminal.say(f"  {', '.join(path.name for path in written)}")


def _of_validation(step: Step) -> Step:
    can = "part" in inspect.signature(step).parameters
    return functools.partial(step, part="val") if can else step


def reason_against(step: Step, model: LightningModule, data: RunDataModule) -> str | None:
    """Return why ``step`` cannot be used with this model or these data, or None if it can."""
    function = step.func if isinstance(step, functools.partial) else step
    try:
        hints = typing.get_type_hints(function)
    except NameError:  # an annotation that only type checkers import
        return None
    for name, value in (("model", model), ("data", data.own)):
        wanted = hints.get(name)
        if isinstance(wanted, type | types.UnionType) and not isinstance(value, wanted):
            return f"is for {_names(wanted)}, and this run has {type(value).__name__}"
    return None


def run_step(step: Step, model: LightningModule, data: RunDataModule, folder: Path) -> Findings:
    """Return the findings of ``step``; it gets the arguments that it has parameters for."""
    if model.dtype != torch.float32:  # The data have 32 bits, also with trainer.precision=64-true.
        model.float()
    handed = {"model": model, "data": data.own, "folder": folder}
    wanted = inspect.signature(step).parameters
    return step(**{name: value for name, value in handed.items() if name in wanted})


def _names(kind: Any) -> str:
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return " or ".join(one.__name__ for one in kinds)
