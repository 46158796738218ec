"""Continue a run: with the config and the data it began with, and longer where that is possible.

Most schedules are functions of the run's whole length: a longer run would have had other learning
rates from its first step, so it is a new run and no continued one. With others (``constant``, the
stable part of ``warmup_stable_decay``) it has the same rates up to a step, and can be continued
from a checkpoint up to there.
"""

import io
import shlex
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ablab.config.check import check
from ablab.config.schema import Config
from ablab.config.written import leaves
from ablab.errors import RunFolderError, first_line
from ablab.optim.schedules import steps_in_common
from ablab.runs.checkpoints import Entry, Manifest, load_checkpoint
from ablab.runs.identity import config_hash, identity
from ablab.runs.record import CONFIG_FILE, FILE_NAME, RunRecord, is_section
from ablab.safety.atomic_files import read_file

_REMEDY = "remove it, and the run continues from its run.json"
DataParts = dict[str, dict[str, Any]]


def refuse_changes(folder: Path, record: RunRecord) -> None:
    """Raise RunFolderError if the folder's files change what the run computes."""
    ours, theirs = (
        dict(leaves(identity(config), in_lists=False))
        for config in (record.config, _config_file(folder, record))
    )
    keys = [k for k in {**ours, **theirs} if ours.get(k) != theirs.get(k)]
    if keys:
        lines = [
            f"{k}: {ours.get(k)!r} in {FILE_NAME}, {theirs.get(k)!r} in {CONFIG_FILE}" for k in keys
        ]
    elif config_hash(record.config) != record.config_hash:
        lines = [f"config: the config in {FILE_NAME} does not match its config_hash"]
    else:
        return
    told = "\n".join(lines)
    raise RunFolderError(
        f"{folder}: a run keeps its config, but this one was changed\n{told}\n"
        f"put it back, or begin a new run"
    )


def _config_file(folder: Path, record: RunRecord) -> dict[str, Any]:
    """Return the content of ``config.yaml``; without that file, the config of the record."""
    path = folder / CONFIG_FILE
    try:
        text = read_file(path).decode()
        # A few lines with aliases can expand to more than fits into memory; no run writes any.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise RunFolderError(f"{path}: has YAML aliases (*name), which no run has written")
        config: Any = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))
    except FileNotFoundError:
        return record.config
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, OSError, RecursionError) as error:
        told = getattr(error, "strerror", None) or first_line(error)
        raise RunFolderError(f"{path}: cannot be read any more ({told}); {_REMEDY}") from error
    if lacking := [name for name in ("data", "paths") if not is_section(config, name)]:
        raise RunFolderError(f"{path}: lacks {', '.join(lacking)}; {_REMEDY}")
    return config


# -- data -----------------------------------------------------------------------------------------


def refuse_other_data(before: DataParts, now: DataParts) -> None:
    """Raise RunFolderError if a part has changed. An older record has no parts to compare."""
    lines = [
        f"{name}: {_part(before.get(name))} when the run began, {_part(now.get(name))} now"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]
    if before and lines:
        told = "\n".join(lines)
        raise RunFolderError(
            f"data: a run continues with the rows it began with, and these differ\n{told}\n"
            f"put the data back, or begin a new run"
        )


def _part(part: dict[str, Any] | None) -> str:
    if part is None:
        return "none"
    digests = ", ".join(f"{name} {value}" for name, value in part.items() if name != "rows")
    return f"{part['rows']:,} rows ({digests})" if part.get("rows") is not None else digests


# -- length ---------------------------------------------------------------------------------------


def refuse_to_lengthen(record: RunRecord, config: Config, epochs: int) -> None:
    """Raise RunFolderError if a run of ``epochs`` epochs would not continue this one."""
    if reason := _reason_against(record, config, epochs):
        raise _no_longer(record, epochs, reason)


def checkpoint_to_lengthen(
    folder: Path, record: RunRecord, config: Config, epochs: int
) -> Entry | None:
    """Return the newest checkpoint from which the run can be continued to ``epochs``.

    Returns:
        None if the run has no undamaged checkpoint at all.

    Raises:
        RunFolderError: up to each of its checkpoints a run of ``epochs`` would have had other
            learning rates.
    """
    manifest = Manifest(folder / "checkpoints")
    common = 0

    schedule = config.schedule
    if schedule is None:  # and the module has configured none of its own
        return manifest.newest_that_verifies()

    def has_the_same_rates(entry: Entry) -> bool:
        nonlocal common
        (state,) = load_checkpoint(manifest.folder / entry.file)["lr_schedulers"]
        before, now = state["total_steps"], config.trainer["max_epochs"]
        common = steps_in_common(schedule, before, before // now * epochs)
        return state["last_epoch"] <= common

    entry = manifest.newest_that_verifies(has_the_same_rates)
    if entry is None and manifest.newest_that_verifies() is not None:
        since = "the first step" if common <= 1 else f"step {common}"
        raise _no_longer(
            record,
            epochs,
            f"schedule {schedule.name} is a function of the run's length; over {epochs} "
            f"epochs the learning rates would differ from {since} on, which is before every "
            f"checkpoint, so the run cannot be continued to there (with schedule=constant it "
            f"could)",
        )
    return entry


def _no_longer(record: RunRecord, epochs: int, reason: str) -> RunFolderError:
    said = [o for o in record.overrides if not o.startswith("trainer.max_epochs=")]
    new = shlex.join(["python", "train.py", *said, f"trainer.max_epochs={epochs}"])
    return RunFolderError(f"trainer.max_epochs: {reason}\na new run: {new}")


def lengthen(folder: Path, record: RunRecord, epochs: int, resume: Entry | None) -> Config:
    """Extend the run to ``epochs`` in its record and its list of checkpoints; return its config.

    Args:
        resume: the checkpoint from which it is continued; those after it are removed.
    """
    if resume is not None:
        Manifest(folder / "checkpoints").reopen_phase(resume)
    record.config["trainer"]["max_epochs"] = epochs
    record.config_hash = config_hash(record.config)
    others = [o for o in record.overrides if not o.startswith("trainer.max_epochs=")]
    record.overrides = [*others, f"trainer.max_epochs={epochs}"]
    return check(OmegaConf.create(record.config))


def _reason_against(record: RunRecord, config: Config, epochs: int) -> str | None:
    now = config.trainer.get("max_epochs")
    if record.checkpoints.get("kept") is not None:
        return "the run was slimmed (ablab slim), so it has no checkpoint to continue from"
    if config.phases:
        return "each of the run's phases has a length of its own, which stays"
    if record.plan:
        return "a job of a plan is as long as its plan says; change that"
    if now is None or now < 0 or config.trainer.get("max_steps", -1) != -1:
        return "another setting ends this run"
    if epochs < now:
        return f"the run has {now} epochs; it can be continued to more, not to {epochs}"
    if record.status == "done" and (record.epochs or 0) < now:
        return f"the run stopped early, after epoch {record.epochs} of {now}, and would again"
    if any(phase.get("schedulers") for phase in record.optimizers.values()):
        return "the model configures schedulers of its own, which may depend on the run's length"
    return None
