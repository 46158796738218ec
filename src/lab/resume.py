"""Continuing a run: as it began, on the data it began with, and longer where that is the same run.

A schedule other than ``constant`` is a function of the run's whole length: a longer run would have
had other learning rates from its first step, so it is a new run and no continued one.
"""

import io
import shlex
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lab.atomic import read_file
from lab.checkpoint import Manifest
from lab.config.check import check, first_line
from lab.config.schema import Config, Constant
from lab.data.loader import Tensors
from lab.errors import RunFolderError
from lab.record import CONFIG_FILE, FILE_NAME, RunRecord, config_hash, identity, is_section

_REMEDY = "remove it, and the run goes on by its run.json"
DataParts = dict[str, dict[str, Any]]


def refuse_changes(folder: Path, record: RunRecord) -> None:
    """Raises RunFolderError if what the run computes was changed in its folder."""
    differing = _differences(identity(record.config), identity(_for_people(folder, record)))
    if differing:
        lines = [
            f"{key}: {ours!r} in {FILE_NAME}, {theirs!r} in {CONFIG_FILE}"
            for key, ours, theirs in differing
        ]
    elif config_hash(record.config) != record.config_hash:
        lines = [f"config: {FILE_NAME} holds another than the one its config_hash was taken of"]
    else:
        return
    told = "\n".join(lines)
    raise RunFolderError(
        f"{folder}: a run goes on as it began, but its config was changed\n{told}\n"
        f"put it back, or begin a new run"
    )


def _for_people(folder: Path, record: RunRecord) -> dict[str, Any]:
    """What ``config.yaml`` says; where there is none, it cannot have been changed."""
    path = folder / CONFIG_FILE
    try:
        text = read_file(path).decode()
        # of which a few lines can stand for more than a memory holds; a run writes none
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


def _differences(ours: Any, theirs: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    """Dotted key and both values of each leaf in which two configs differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [
            difference
            for name in dict.fromkeys([*ours, *theirs])
            for difference in _differences(
                ours.get(name), theirs.get(name), f"{key}.{name}" if key else name
            )
        ]
    return [] if ours == theirs else [(key, ours, theirs)]


# -- data -----------------------------------------------------------------------------------------


def describe_parts(parts: Mapping[str, Tensors]) -> DataParts:
    """Rows and CRC-32 of each part, which tells changed rows from the same ones, not an attack."""
    described: DataParts = {}
    for name, tensors in parts.items():
        checksum = 0
        for tensor in tensors:
            content = tensor.reshape(-1)
            if content.stride(0) != 1:  # a column, or one row of a larger step
                content = torch.empty(content.shape, dtype=content.dtype).copy_(content)
            checksum = zlib.crc32(content.view(torch.uint8).numpy().data, checksum)
        described[name] = {"rows": len(tensors[0]), "crc32": f"{checksum:08x}"}
    return described


def refuse_other_data(before: DataParts, now: DataParts) -> None:
    """Raises RunFolderError if a part is not what it was; of an older record nothing is known."""
    lines = [
        f"{name}: {_part(before.get(name))} when the run began, {_part(now.get(name))} now"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]
    if before and lines:
        told = "\n".join(lines)
        raise RunFolderError(
            f"data: a run goes on with the rows it began with, and these are others\n{told}\n"
            f"put the data back, or begin a new run"
        )


def _part(part: dict[str, Any] | None) -> str:
    return "none" if part is None else f"{part['rows']:,} rows (crc32 {part['crc32']})"


# -- length ---------------------------------------------------------------------------------------


def refuse_to_lengthen(record: RunRecord, config: Config, epochs: int) -> None:
    """Raises RunFolderError if the run of ``epochs`` would not be this one continued."""
    if reason := _reason_against(record, config, epochs):
        said = [o for o in record.overrides if not o.startswith("trainer.max_epochs=")]
        new = shlex.join(["python", "train.py", *said, f"trainer.max_epochs={epochs}"])
        raise RunFolderError(f"trainer.max_epochs: {reason}\na new run: {new}")


def lengthen(folder: Path, record: RunRecord, epochs: int) -> Config:
    """Let it go on to ``epochs``, in its record and its list of checkpoints; its new config."""
    Manifest(folder / "checkpoints").reopen_phase()
    record.config["trainer"]["max_epochs"] = epochs
    record.config_hash = config_hash(record.config)
    others = [o for o in record.overrides if not o.startswith("trainer.max_epochs=")]
    record.overrides = [*others, f"trainer.max_epochs={epochs}"]
    return check(OmegaConf.create(record.config))


def _reason_against(record: RunRecord, config: Config, epochs: int) -> str | None:
    now = config.trainer.get("max_epochs")
    if config.phases:
        return "each of the run's phases has a length of its own, which stays"
    if record.plan:
        return "a job of a plan is as long as its plan says; change that"
    if now is None or now < 0 or config.trainer.get("max_steps", -1) != -1:
        return "it is not what ends this run"
    if epochs < now:
        return f"the run has {now} epochs; it can be continued to more, not to {epochs}"
    if not isinstance(config.schedule, Constant):
        return (
            f"schedule {config.schedule.name} is a function of the run's whole length; over "
            f"{epochs} epochs instead of {now} the learning rates would be others from the first "
            f"step on, so the run cannot be continued to there (with schedule=constant it could)"
        )
    if record.status == "done" and (record.epochs or 0) < now:
        return f"the run stopped early, after epoch {record.epochs} of {now}, and would again"
    return None
