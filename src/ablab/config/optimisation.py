"""The check of optimisers, schedules and spreads that a config names by ``_target_``.

Their source is read; neither torch nor their package is imported.
"""

from collections.abc import Collection, Iterator
from typing import Any

from ablab.config.nodes import check_node, type_faults
from ablab.config.source_reading.definitions import TargetNotFoundError
from ablab.config.source_reading.signature import Signature
from ablab.config.source_reading.signatures import method_signature
from ablab.config.suggestions import unknown_key
from ablab.config.targets import component_signature

OPTIMIZER = "torch.optim.optimizer.Optimizer"
OURS = ("lr", "lr_spread", "weight_decay", "rules")  # keys of ``optim`` for every optimiser
SHRINKING = ("decoupled", "independent", "corrected", "cautious")  # modes that change the weights
_TAKEN = {  # arguments that the engine gives, and what to do instead
    "params": "the model's parameters go there",
    "lr": "is a factor of optim.lr here; set it beside optimizer: rules.N.lr",
    "weight_decay": "is a mode and a value here; set it beside optimizer: rules.N.weight_decay",
    "decoupled_weight_decay": "optim.weight_decay.mode says what weight decay means",
    "weight_decouple": "optim.weight_decay.mode says what weight decay means",
    "fixed_decay": "optim.weight_decay.mode says what weight decay means",
}
_SCHEDULE, _SPREAD = ("step", "total_steps"), ("lr", "names")


def optimisation_faults(values: dict[str, Any]) -> list[str]:
    """Return a line for each fault of the components for optimisation in a resolved config."""
    faults: list[str] = []
    optim = values.get("optim")
    if isinstance(optim, dict):
        faults += _optim_faults(optim, values)
    sections = {"schedule": values.get("schedule")}
    phases = values.get("phases")
    for name, phase in phases.items() if isinstance(phases, dict) else ():
        if isinstance(phase, dict):
            sections[f"phases.{name}.schedule"] = phase.get("schedule")
            faults += _function_faults(
                f"phases.{name}.lr_spread", phase.get("lr_spread"), values, _SPREAD
            )
    for path, schedule in sections.items():
        faults += _function_faults(path, schedule, values, _SCHEDULE)
    return faults


def _optim_faults(optim: dict[str, Any], values: dict[str, Any]) -> list[str]:
    """Return the faults of the section ``optim``."""
    faults = _function_faults("optim.lr_spread", optim.get("lr_spread"), values, _SPREAD)
    modes = [_mode(optim)]  # of the run's own optimiser
    rules = optim.get("rules")
    for index, rule in enumerate(rules if isinstance(rules, list | tuple) else ()):
        if not isinstance(rule, dict):
            continue
        mode = _mode(rule) or modes[0]
        if isinstance(node := rule.get("optimizer"), dict):
            faults += _optimizer_faults(f"optim.rules.{index}.optimizer", node, [mode], values)
        else:
            modes.append(mode)
    if "_target_" in optim:
        own = {k: v for k, v in optim.items() if k not in (*OURS, "name")}
        of_own = _optimizer_faults("optim", own, modes, values)
        if any(": unknown key" in fault for fault in of_own):
            of_own[-1] += " (optim=own has no keys of another optimiser)"
        faults += of_own
    return faults


def _mode(section: dict[str, Any]) -> Any:
    decay = section.get("weight_decay")
    return decay.get("mode") if isinstance(decay, dict) else None


def _optimizer_faults(
    path: str, node: dict[str, Any], modes: Collection[Any], values: dict[str, Any]
) -> list[str]:
    target = node.get("_target_")
    if not isinstance(target, str) or target == "???":
        return []  # The check or the schema refuses it, or a caller has given the class itself.
    faults = [f"{path}.{key}: {why}" for key, why in _TAKEN.items() if key in node]
    given = {key: value for key, value in node.items() if key not in _TAKEN}
    faults += check_node(path, given, values, (OPTIMIZER,), complete=False)
    if any(fault.startswith(f"{path}._target_") for fault in faults):
        return faults
    signature = component_signature(target)
    lacking = sorted(signature.required - set(node) - {"params", "lr"})
    faults += [f"{path}.{key}: is required by {target}" for key in lacking]
    if "lr" not in signature.types and not signature.accepts_any:
        faults.append(f"{path}._target_: '{target}' takes no lr, which a schedule sets")
    step = method_signature(target, "step")
    if step is not None and step.required:
        faults.append(
            f"{path}._target_: '{target}' computes the loss again within its step (a closure), "
            f"but gradients are computed before a step here; take another optimiser"
        )
    if all(method_signature(target, name) for name in ("train", "eval")):
        faults += [
            f"optim.weight_decay.mode: {mode} changes the weights alone, but '{target}' keeps an "
            f"average of them too; take l2, l2_loss or none"
            for mode in dict.fromkeys(modes)
            if mode in SHRINKING
        ]
    return faults


def _function_faults(
    path: str, node: Any, values: dict[str, Any], handed: tuple[str, ...]
) -> list[str]:
    """Return the faults of a function, or of a class whose objects are called with ``handed``."""
    target = node.get("_target_") if isinstance(node, dict) else None
    if not isinstance(target, str) or target == "???":
        return []
    try:
        signature = component_signature(target)
        called = method_signature(target, "__call__") if signature.is_class else signature
    except TargetNotFoundError as error:
        return [f"{path}._target_: {error}"]
    if called is None or not set(handed) <= set(called.types):
        wanted = f"a function of ({', '.join(handed)}, …), or a class whose objects are called so"
        return [f"{path}._target_: '{target}' should be {wanted}"]
    return list(_argument_faults(path, node, values, signature, handed))


def _argument_faults(
    path: str,
    node: dict[str, Any],
    values: dict[str, Any],
    signature: Signature,
    handed: tuple[str, ...],
) -> Iterator[str]:
    by_name = () if signature.is_class else handed
    dropped = ("_target_", "name", "kind")  # the last two of a file that the _target_ replaces
    given = {key: value for key, value in node.items() if key not in dropped}
    taken = [name for name in signature.types if name not in by_name]
    for key, value in given.items():
        if key in by_name:
            yield f"{path}.{key}: is given at each call"
        elif key not in taken:
            yield unknown_key(f"{path}.{key}", key, taken, values)
        elif _names_a_class(value):
            yield f"{path}.{key}: should hold no _target_"
        else:
            yield from type_faults(f"{path}.{key}", signature, key, value)
    for key in sorted(signature.required - set(given) - set(by_name)):
        yield f"{path}.{key}: is required by {node['_target_']}"


def _names_a_class(value: Any) -> bool:
    if isinstance(value, dict):
        return "_target_" in value or any(map(_names_a_class, value.values()))
    return isinstance(value, list) and any(map(_names_a_class, value))
