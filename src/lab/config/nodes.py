"""The check of nodes with a ``_target_``: an allowed class, and arguments that it takes."""

import difflib
import os
from typing import Any

from pydantic import ValidationError

from lab.config.signatures import Signature, signature_of
from lab.config.source import TargetNotFoundError, class_names
from lab.config.suggestions import unknown_key

# Classes under these may be built; what runs code by design (torch.load, torch.hub) is not there.
ALLOWED_TARGETS = (
    "lab.",
    "torch.nn.",
    "torch.optim.",
    "torchvision.models.",
    "torchvision.transforms.",
    "torchmetrics.",
    "lightning.pytorch.",
)
FORBIDDEN_TARGETS = ("lightning.pytorch.cli.",)  # builds what its own arguments name
ALLOWED_TARGETS_VARIABLE = "LAB_ALLOWED_TARGETS"
NODES = {
    "data": "lab.data.loader.TensorDataModule",
    "model": "lab.module.SupervisedModule",
    "trainer": "lightning.pytorch.trainer.trainer.Trainer",
}
LOSS, METRIC = "torch.nn.modules.module.Module", "torchmetrics.metric.Metric"
NODE_TABLES = {
    "callbacks": "lightning.pytorch.callbacks.callback.Callback",
    "logger": "lab.trackers.base.Tracker",
    "interpret": None,  # functions
}
FINDINGS = "Findings"  # what interpretations return
HANDED_TO_INTERPRETATIONS = {"model", "data", "folder"}


def node_faults(values: dict[str, Any]) -> list[str]:
    faults: list[str] = []
    for name, kind in NODES.items():
        # the sizes that a model needs (users, classes, …) come from the data when it is built
        faults += _check_node(name, values.get(name), values, kind, complete=name != "model")
    for table, kind in NODE_TABLES.items():
        entries = values.get(table)
        for name, node in entries.items() if isinstance(entries, dict) else ():
            if node is not None:
                faults += _check_node(f"{table}.{name}", node, values, kind)
    objective = values.get("objective")
    if isinstance(objective, dict):
        faults += _check_node("objective.loss", objective.get("loss"), values, LOSS)
        metrics = objective.get("metrics")
        for name, node in metrics.items() if isinstance(metrics, dict) else ():
            faults += _check_node(f"objective.metrics.{name}", node, values, METRIC)
    return faults


def _check_node(
    path: str,
    node: Any,
    values: dict[str, Any],
    kind: str | None = None,
    *,
    complete: bool = True,
) -> list[str]:
    """Faults of a node; ``kind`` is the class that its class must descend from."""
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
    is_interpretation = path.startswith("interpret.") and path.count(".") == 1
    handed = HANDED_TO_INTERPRETATIONS if is_interpretation else set[str]()
    if not signature.is_class and not is_interpretation:
        return [f"{path}._target_: '{target}' is a function; only classes are built here"]
    is_ours = not target.startswith(user_targets())
    if is_interpretation and is_ours and signature.returns != FINDINGS:
        return [f"{path}._target_: '{target}' is no interpretation; these return {FINDINGS}"]
    if kind is not None and kind not in signature.bases:
        return [f"{path}._target_: '{target}' is no {kind.rpartition('.')[2]}"]
    faults = []
    for key, value in node.items():
        if key == "_target_" or value == "???":
            continue
        if key == "_partial_" and is_interpretation:
            if value is not True:
                faults.append(f"{path}._partial_: should be true (it is {value!r})")
            continue
        where = f"{path}.{key}"
        if key not in signature.types or key in handed:
            if not signature.accepts_any:
                taken = [name for name in signature.types if name not in handed]
                faults.append(unknown_key(where, key, taken, values))
            faults += _nested_faults(path, {key: value}, values)
        elif isinstance(value, dict) and "_target_" in value:
            if _type_faults(where, signature, key, value):
                faults.append(f"{where}: should not be a mapping with a _target_")
            else:
                faults += _check_node(where, value, values)
        else:
            faults += _type_faults(where, signature, key, value)
            faults += _nested_faults(where, value, values)
    if complete and not node.get("_partial_"):
        faults += [
            f"{path}.{key}: is required by {target}"
            for key in sorted(signature.required - set(node) - handed)
        ]
    return faults


def _nested_faults(where: str, value: Any, values: dict[str, Any]) -> list[str]:
    """Of nodes at any depth of an argument: Hydra would build those as well."""
    if not isinstance(value, dict | list):
        return []
    faults = []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(inner, dict) and "_target_" in inner:
            faults += _check_node(f"{where}.{key}", inner, values)
        else:
            faults += _nested_faults(f"{where}.{key}", inner, values)
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
    """Packages the user trusts; from the environment, since a config must not vouch for itself."""
    names = os.environ.get(ALLOWED_TARGETS_VARIABLE, "").split(",")
    return tuple(f"{name.strip()}." for name in names if name.strip())
