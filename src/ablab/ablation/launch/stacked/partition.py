"""Decide from their configs which jobs of a plan can train as one model; nothing imports torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablab.runs.identity import identity

_MOST = 200  # members; past some tens a larger stack gains nothing more
# Settings in which the members of a stack may differ, beside ``optim`` and ``schedule``.
_NUMBERS = ("seed", "name")
_CLIPPING = "gradient_clip_val"
_TRAINER: dict[str, tuple[Any, ...]] = {  # values under which a stack does what Lightning does
    "devices": (1, "1"),
    "num_nodes": (1,),
    "strategy": ("auto",),
    "precision": (32, "32", "32-true"),
    "deterministic": (False,),
    "benchmark": (False,),
    "check_val_every_n_epoch": (1,),
    "accumulate_grad_batches": (1,),
    "max_steps": (-1,),
    "barebones": (False,),
    "detect_anomaly": (False,),
    "fast_dev_run": (False,),
}
# 1.0 means all batches, and 1 a single one.
_TRAINER_SHARES = ("val_check_interval", "limit_train_batches", "limit_val_batches")
_TRAINER_ANY = (  # these change nothing, or a stack follows them
    *("_target_", "max_epochs", "accelerator", "log_every_n_steps", "num_sanity_val_steps"),
    *("enable_model_summary", "use_distributed_sampler", "enable_progress_bar"),
    *("enable_checkpointing", "inference_mode", _CLIPPING, "gradient_clip_algorithm"),
)
_EARLY_STOPPING = "lightning.pytorch.callbacks.EarlyStopping"
_CSV, _WANDB = "ablab.trackers.CSVTracker", "ablab.trackers.WandbTracker"
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Partition:
    """The numbers of the jobs of each stack, and of the others with the reason."""

    stacks: list[list[int]]
    alone: dict[int, str]


def partition(configs: Sequence[Values], largest: int | None = None) -> Partition:
    """Return which of the jobs with these configs (``Config.model_dump``) are stacked.

    Args:
        largest: members of a stack; None for as many as pay.
    """
    alone: dict[int, str] = {}
    alike: dict[str, list[int]] = {}
    for number, config in enumerate(configs):
        if reason := reason_against(config):
            alone[number] = reason
        else:
            alike.setdefault(_key(config), []).append(number)
    stacks = []
    for numbers in alike.values():
        for first in range(0, len(numbers), largest or _MOST):
            part = numbers[first : first + (largest or _MOST)]
            if len(part) > 1:
                stacks.append(part)
            else:
                alone[part[0]] = "no other job differs from it in numbers alone"
    return Partition(stacks, alone)


def reason_against(config: Values) -> str | None:
    """Return why a job with this config cannot be a member of a stack, or None if it may."""
    if config["objective"]["loss"] is None or config["optim"] is None:
        return "its model takes the steps itself"
    if reason := _reason_in_callbacks(config):
        return reason
    for name, node in config["logger"].items():
        if node and node["_target_"] not in (_CSV, _WANDB):
            return f"logger.{name} logs one run of a process at a time"
    if config["checkpoints"]["every_n_steps"] is not None:
        return "checkpoints.every_n_steps: a stack writes checkpoints at epoch ends"
    if config["error_if_nonfinite"] == "gradients":
        return "error_if_nonfinite=gradients looks at each step of a run"
    if not config["phases"] and not _has_length(config["trainer"]):
        return "trainer.max_epochs does not say how long it is"
    return _reason_in_optim(config) or _reason_in_trainer(config["trainer"])


def _reason_in_callbacks(config: Values) -> str | None:
    for name, node in config["callbacks"].items():
        if node and node["_target_"] != _EARLY_STOPPING:
            return f"callbacks.{name} watches a trainer, and a stack has none"
        if node and config["phases"]:
            return f"callbacks.{name} may end the phases of jobs at different steps"
        if node and not str(node["monitor"]).startswith("val/"):
            return f"callbacks.{name}.monitor={node['monitor']} is not of the validation part"
    return None


def _reason_in_optim(config: Values) -> str | None:
    optim = config["optim"]
    target = optim.get("_target_", "torch.optim.")
    if not target.startswith("torch.optim.") or target == "torch.optim.LBFGS":
        return f"optim: {target.rpartition('.')[2]} may depend on more than each parameter's own"
    if target == "torch.optim.Muon":
        return "optim: Muon computes in 16 bits, where rounding changes its results"
    for rule in optim.get("rules") or ():
        if rule.get("optimizer") and (reason := _reason_in_optim({"optim": rule["optimizer"]})):
            return reason
    return None


def _reason_in_trainer(trainer: Values) -> str | None:
    for key, value in trainer.items():
        if value is None or key in _TRAINER_ANY or value in _TRAINER.get(key, ()):
            continue
        if key in _TRAINER_SHARES and isinstance(value, float) and value == 1.0:
            continue
        return f"trainer.{key}={value} is Lightning's to follow"
    return None


def _has_length(trainer: Values) -> bool:
    return isinstance(trainer.get("max_epochs"), int) and trainer["max_epochs"] > 0


def _key(config: Values) -> str:
    """Return what the members of a stack have in common.

    Where data lie counts too, since a stack reads them once.
    """
    left = {k: v for k, v in config.items() if k not in (*_NUMBERS, "optim", "schedule")}
    shared = {**identity(left), "data": config["data"]}
    shared["split"] = shared.pop("seeds")["split"]
    trainer = dict(shared["trainer"])
    trainer[_CLIPPING] = None  # each member has its own value
    shared["trainer"] = trainer
    shared["phases"] = [  # in their order
        (name, *(phase[key] for key in ("epochs", "freeze_to", "train_norm")))
        for name, phase in config["phases"].items()
    ]
    for key in ("threads", "steps_per_execution", "error_if_nonfinite", "checkpoints", "test"):
        shared[key] = config[key]
    return json.dumps(shared, sort_keys=True)
