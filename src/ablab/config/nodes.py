"""The check of components, which are nodes with a ``_target_``: their class and arguments."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ablab.config.source_reading.definitions import TargetNotFoundError
from ablab.config.source_reading.signature import Signature
from ablab.config.suggestions import unknown_key
from ablab.config.targets import component_signature

NODES = {
    "data": "lightning.pytorch.core.datamodule.LightningDataModule",
    "model": "lightning.pytorch.core.module.LightningModule",
    "trainer": "lightning.pytorch.trainer.trainer.Trainer",
}
MODULE, METRIC = "torch.nn.modules.module.Module", "torchmetrics.metric.Metric"
NODE_TABLES = {
    "callbacks": "lightning.pytorch.callbacks.callback.Callback",
    "logger": "lightning.pytorch.loggers.logger.Logger",
    "interpret": None,  # functions
}
# Lightning's callbacks, profilers and loggers write to these paths, which are in the run's folder.
PATHS = ("dirpath", "exclude_batches_path", "filename", "save_dir")
FILLED_IN = {  # later, if the config leaves it out
    "logger.": {"save_dir"},
    "objective.metrics.": {"num_classes", "num_labels", "num_outputs", "task"},
}
# Keys by which Hydra builds a node in another way, with arguments that are not checked here.
HYDRAS_KEYS = ("_args_", "_convert_", "_partial_", "_recursive_")
FINDINGS = "Findings"  # the class that interpretations return
HANDED_TO_INTERPRETATIONS = {"model", "data", "folder"}


def node_faults(values: dict[str, Any]) -> list[str]:
    """Return a line for each fault of the components in a resolved config."""
    faults: list[str] = []
    for name, kind in NODES.items():
        # A model gets the sizes that it needs (users, classes, …) from the data when it is built.
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
        complete: whether each required argument must be there, but for those of ``FILLED_IN``.
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
    try:
        signature = component_signature(target)
    except TargetNotFoundError as error:
        return [f"{path}._target_: {error}"]
    is_interpretation = not kinds
    handed = HANDED_TO_INTERPRETATIONS if is_interpretation else set[str]()
    if not signature.is_class and not is_interpretation:
        return [f"{path}._target_: '{target}' is a function; only classes are built here"]
    if is_interpretation and signature.returns.rpartition(".")[2] != FINDINGS:
        reason = f"is no interpretation, which is a function with the annotation -> {FINDINGS}"
        return [f"{path}._target_: '{target}' {reason}"]
    if kinds and signature.bases.isdisjoint(kinds):
        names = " or ".join(sorted(kind.rpartition(".")[2] for kind in kinds))
        return [f"{path}._target_: '{target}' is no {names}, which is required here"]
    faults = []
    for key, value in node.items():
        if key == "_target_" or value == "???":
            continue
        where = f"{path}.{key}"
        if key in HYDRAS_KEYS:
            if not (is_interpretation and key == "_partial_" and value is True):
                faults.append(f"{where}: is not for a config to set; name each argument by its key")
            continue
        writes = path.startswith(("callbacks.", "trainer.", "logger."))
        if writes and key in PATHS and _leaves(value):
            faults.append(
                f"{where}: should be a path within the run folder, such as 'kept' (it is {value!r})"
            )
            continue
        inner_kinds = kinds_of(signature, key)
        if key not in signature.types or key in handed:
            if not signature.accepts_any:
                taken = [name for name in signature.types if name not in handed]
                faults.append(unknown_key(where, key, taken, values))
            faults += nested_faults(where, value, values, inner_kinds)
        elif isinstance(value, dict) and "_target_" in value:
            if type_faults(where, signature, key, value):
                faults.append(f"{where}: should not be a mapping with a _target_")
            else:
                faults += check_node(where, value, values, inner_kinds)
        else:
            faults += type_faults(where, signature, key, value)
            faults += nested_faults(where, value, values, inner_kinds)
    if complete:
        filled = set[str]().union(
            *(of for start, of in FILLED_IN.items() if path.startswith(start))
        )
        faults += [
            f"{path}.{key}: is required by {target}"
            for key in sorted(signature.required - set(node) - handed - filled)
        ]
    return faults


def kinds_of(signature: Signature, argument: str) -> Collection[str]:
    """Return the classes that a component given for ``argument``, or within it, may descend from.

    They are those that the argument's annotation names, and torch's ``Module``: layers, transforms
    and metrics are of that class, and it can be called where a function is wanted.
    """
    return {MODULE, *signature.classes(argument)}


def _leaves(path: Any) -> bool:
    """Return whether ``path`` can lead out of the folder that it is relative to.

    The name of a checkpoint is a format (``{epoch:02d}``), which can pad with slashes as well.
    """
    return isinstance(path, str) and (
        path.startswith(("/", "~")) or ":/" in path or ".." in Path(path).parts
    )


def nested_faults(
    where: str, value: Any, values: dict[str, Any], kinds: Collection[str]
) -> list[str]:
    """Return the faults of components at any depth of an argument, since Hydra builds those too."""
    if isinstance(value, dict) and "_target_" in value:
        return check_node(where, value, values, kinds)
    if not isinstance(value, dict | list):
        return []
    faults = []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        faults += nested_faults(f"{where}.{key}", inner, values, kinds)
    return faults


def type_faults(where: str, signature: Signature, key: str, value: Any) -> list[str]:
    try:
        signature.validate(key, value)
    except ValidationError as error:
        expectations = dict.fromkeys(
            e["msg"].replace("Input should be ", "") for e in error.errors()
        )
        return [f"{where}: should be {' or '.join(expectations)} (it is {value!r})"]
    return []
