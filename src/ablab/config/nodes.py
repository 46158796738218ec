"""The check of nodes with a ``_target_``: an allowed class, and arguments that it takes."""

import difflib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ablab import project
from ablab.config.source_reading.definitions import TargetNotFoundError, class_names
from ablab.config.source_reading.signatures import Signature, signature_of
from ablab.config.suggestions import unknown_key

# Classes under these may be built; what runs code by design (torch.load, torch.hub) is not there.
ALLOWED_TARGETS = (
    "ablab.",
    "torch.nn.",
    "torch.optim.",
    "torchvision.models.",
    "torchvision.transforms.",
    "torchmetrics.",
    "lightning.pytorch.",
)
FORBIDDEN_TARGETS = ("lightning.pytorch.cli.",)  # builds what its own arguments name
ALLOWED_TARGETS_VARIABLE = "ABLAB_ALLOWED_TARGETS"
NODES = {
    "data": "ablab.data.module.TensorDataModule",
    "model": "ablab.training.module.SupervisedModule",
    "trainer": "lightning.pytorch.trainer.trainer.Trainer",
}
MODULE, METRIC = "torch.nn.modules.module.Module", "torchmetrics.metric.Metric"
NODE_TABLES = {
    "callbacks": "lightning.pytorch.callbacks.callback.Callback",
    "logger": "ablab.trackers.base.Tracker",
    "interpret": None,  # functions
}
# Where Lightning's callbacks and profilers write; the first two are taken as within the run folder
PATHS = ("dirpath", "exclude_batches_path", "filename")
# How Hydra is told to build a node; it could be told to pass arguments that are not checked here
HYDRAS_KEYS = ("_args_", "_convert_", "_partial_", "_recursive_")
FINDINGS = "Findings"  # what interpretations return
HANDED_TO_INTERPRETATIONS = {"model", "data", "folder"}


def node_faults(values: dict[str, Any]) -> list[str]:
    faults: list[str] = []
    for name, kind in NODES.items():
        # the sizes that a model needs (users, classes, …) come from the data when it is built
        faults += check_node(name, values.get(name), values, (kind,), complete=name != "model")
    for table, kind in NODE_TABLES.items():
        entries = values.get(table)
        for name, node in entries.items() if isinstance(entries, dict) else ():
            if node is not None:
                faults += check_node(f"{table}.{name}", node, values, (kind,) if kind else ())
    objective = values.get("objective")
    if isinstance(objective, dict):
        faults += check_node("objective.loss", objective.get("loss"), values, (MODULE,))
        metrics = objective.get("metrics")
        for name, node in metrics.items() if isinstance(metrics, dict) else ():
            faults += check_node(f"objective.metrics.{name}", node, values, (METRIC,))
    return faults


def check_node(
    path: str,
    node: Any,
    values: dict[str, Any],
    kinds: Collection[str],
    *,
    complete: bool = True,
) -> list[str]:
    """Return the faults of a node, and of all nodes within it.

    Args:
        kinds: the class of the node must be one of these, or descend from one; none for a function
            that returns ``Findings``.
    """
    if not isinstance(node, dict):
        return (
            []
            if node is None
            else [f"{path}: should be a mapping with a _target_ (it is {node!r})"]
        )
    target = node.get("_target_")
    if not isinstance(target, str):
        if path.startswith("interpret."):
            steps = [name for name, step in (values.get("interpret") or {}).items() if step]
            steps = [name for name in steps if f"interpret.{name}" != path]
            there = f"of this run they are {', '.join(steps)}" if steps else "this run has none"
            return [f"{path}: no such step; {there} (a new one: {path}._target_=…)"]
        example = "lightning.pytorch.callbacks.EarlyStopping"
        return [f"{path}: has no _target_ that says which class it is; for example {example}"]
    allowed = (*ALLOWED_TARGETS, *user_targets())
    if not target.startswith(allowed) or target.startswith(FORBIDDEN_TARGETS):
        own = f"name your own packages in the environment, {ALLOWED_TARGETS_VARIABLE}=package"
        begins = ", ".join(allowed)
        return [f"{path}._target_: '{target}' may not be built, only what is in {begins} ({own})"]
    try:
        signature = signature_of(target)
    except TargetNotFoundError as error:
        return [f"{path}._target_: {error}{_target_suggestion(target)}"]
    if not f"{signature.module}.".startswith(allowed):  # allowed modules import others by name
        return [f"{path}._target_: '{target}' is of {signature.module}, which may not be built"]
    is_interpretation = not kinds
    handed = HANDED_TO_INTERPRETATIONS if is_interpretation else set[str]()
    if not signature.is_class and not is_interpretation:
        return [f"{path}._target_: '{target}' is a function; only classes are built here"]
    if is_interpretation and signature.returns.rpartition(".")[2] != FINDINGS:
        told = f"no interpretation, which is a function with the annotation -> {FINDINGS}"
        return [f"{path}._target_: '{target}' is {told}"]
    if kinds and signature.bases.isdisjoint(kinds):
        names = " or ".join(sorted(kind.rpartition(".")[2] for kind in kinds))
        return [f"{path}._target_: '{target}' is no {names}, which is what may stand here"]
    faults = []
    for key, value in node.items():
        if key == "_target_" or value == "???":
            continue
        where = f"{path}.{key}"
        if key in HYDRAS_KEYS:
            if not (is_interpretation and key == "_partial_" and value is True):
                faults.append(f"{where}: is not for a config to set; name each argument by its key")
            continue
        if key in PATHS and path.startswith(("callbacks.", "trainer.")) and _leaves(value):
            faults.append(
                f"{where}: should be a path within the run folder, such as 'kept' (it is {value!r})"
            )
            continue
        inner_kinds = kinds_of(signature, key)
        if key not in signature.types or key in handed:
            if not signature.accepts_any:
                taken = [name for name in signature.types if name not in handed]
                faults.append(unknown_key(where, key, taken, values))
            faults += _nested_faults(where, value, values, inner_kinds)
        elif isinstance(value, dict) and "_target_" in value:
            if _type_faults(where, signature, key, value):
                faults.append(f"{where}: should not be a mapping with a _target_")
            else:
                faults += check_node(where, value, values, inner_kinds)
        else:
            faults += _type_faults(where, signature, key, value)
            faults += _nested_faults(where, value, values, inner_kinds)
    if complete:
        faults += [
            f"{path}.{key}: is required by {target}"
            for key in sorted(signature.required - set(node) - handed)
        ]
    return faults


def kinds_of(signature: Signature, argument: str) -> Collection[str]:
    """Return the classes of which a node may be that stands for ``argument``, or within it.

    They are those that the argument's annotation names, and torch's ``Module``, of which layers,
    transforms and metrics are, and which can be called where a function is wanted.
    """
    return {MODULE, *signature.classes(argument)}


def _leaves(path: Any) -> bool:
    """Whether a path may lie outside of the folder that it is taken to be in.

    A name of a checkpoint is a format (``{epoch:02d}``), which can fill with slashes as well.
    """
    return isinstance(path, str) and (
        path.startswith(("/", "~")) or ":/" in path or ".." in Path(path).parts
    )


def _nested_faults(
    where: str, value: Any, values: dict[str, Any], kinds: Collection[str]
) -> list[str]:
    """Of nodes at any depth of an argument: Hydra would build those as well."""
    if isinstance(value, dict) and "_target_" in value:
        return check_node(where, value, values, kinds)
    if not isinstance(value, dict | list):
        return []
    faults = []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        faults += _nested_faults(f"{where}.{key}", inner, values, kinds)
    return faults


def _type_faults(where: str, signature: Signature, key: str, value: Any) -> list[str]:
    try:
        signature.validate(key, value)
    except ValidationError as error:
        expectations = dict.fromkeys(
            e["msg"].replace("Input should be ", "") for e in error.errors()
        )
        return [f"{where}: should be {' or '.join(expectations)} (it is {value!r})"]
    return []


def _target_suggestion(target: str) -> str:
    module, _, name = target.rpartition(".")
    try:
        close = difflib.get_close_matches(name, class_names(module), n=1)
    except TargetNotFoundError:
        return ""
    return f"; did you mean '{module}.{close[0]}'?" if close else ""


def user_targets() -> tuple[str, ...]:
    """Packages that the user trusts: the project's own, and what the environment names.

    A config or a run folder never vouches for itself.
    """
    named = [name.strip() for name in os.environ.get(ALLOWED_TARGETS_VARIABLE, "").split(",")]
    return tuple(f"{name}." for name in (*project.current().packages, *filter(None, named)))
