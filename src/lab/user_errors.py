"""Errors of Hydra, OmegaConf and the machine, as something that the user can mend."""

import os
import re
import traceback
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from lab.config.check import first_line
from lab.config.suggestions import suggestion
from lab.errors import ConfigError, RunFolderError, UserError
from lab.overrides import CONF

_EXTRAS = {"submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray"}  # optional launchers


def as_user_error(error: BaseException) -> UserError | None:
    """``error`` as something the user can mend, or None if it is a fault of the program."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return cause
        if _is_out_of_memory(cause):
            return UserError(
                f"not enough memory ({str(cause).splitlines()[0]}); take smaller batches "
                f"(data.batch_size, data.eval_batch_size), a smaller model or fewer rows"
            )
        if isinstance(cause, ValueError) and "more than 1 value per channel" in str(cause):
            return ConfigError(
                "data.batch_size: batch norm needs the variance within a batch, and a batch of one "
                "row has none; set it to 2 or more"
            )
        # OmegaConf names no cause when a resolver raises
        from_resolver = isinstance(cause, OmegaConfBaseException)
        cause = cause.__cause__ or (cause.__context__ if from_resolver else None)
    if isinstance(error, MarkedYAMLError):
        where = error.problem_mark or error.context_mark
        at = f"{where.name}, line {where.line + 1}" if where else "a config file"
        return ConfigError(f"{at}: is no YAML ({error.problem or error.context})")
    if isinstance(error, OverrideParseException):
        said = error.override.removeprefix("++")
        told = [line for line in str(error).splitlines() if "Error parsing override" not in line]
        return ConfigError(f"{said}: cannot be read as KEY=VALUE ({told[0]})")
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        if choice in _EXTRAS:
            return ConfigError(
                f"{group}: '{choice}' is not installed; pip install -e '.[{_EXTRAS[choice]}]' "
                f"(docs/launchers.md)"
            )
        if error.options:
            return ConfigError(f"{group}: no '{choice}'{suggestion(choice, list(error.options))}")
    if not isinstance(error, HydraException | OmegaConfBaseException) and not _raised_by_hydra(
        error
    ):
        return None
    if isinstance(error, OSError) and error.filename is None:
        return UserError(f"standard output cannot be written ({error.strerror})")
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return RunFolderError(
            f"{error.filename}: the run folder cannot be made ({error.strerror}); "
            f"choose another with paths.runs=…"
        )
    told = _without_append_advice(error)
    unknown = re.search(r"Could not override '([^']+)'", told)
    if unknown and "not in struct" in told:  # KEY=null, or Hydra's: others are forced past Hydra
        told = f"{unknown[1]}: unknown key"
        if unknown[1].startswith("hydra."):
            told += _suggestion_of_hydra(unknown[1])
        else:
            told += "; nothing of that name is there to be null"
    return ConfigError(told)


def _is_out_of_memory(error: BaseException) -> bool:
    """Of NumPy, of torch on a GPU, of torch on a CPU; torch is not imported for it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return str(error) != ""
    return isinstance(error, RuntimeError) and "you tried to allocate" in str(error)


def _suggestion_of_hydra(key: str) -> str:
    """For ``hydra.launcher.KEY`` and ``hydra.sweeper.KEY``: the keys of the files that we have."""
    group, _, word = key.rpartition(".")
    files = (CONF / group.replace(".", "/")).glob("*.yaml")
    ours = {str(k) for file in files for k in OmegaConf.load(file)} - {"_target_", "defaults"}  # type: ignore[union-attr]
    return suggestion(word, sorted(ours))


def _raised_by_hydra(error: BaseException) -> bool:
    """Whether Hydra itself raised, as it does (ValueError) for ``trainer=null``."""
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    ours = [file for file in files if file.parent != Path(os.__file__).parent]  # not the library's
    return bool(ours) and "hydra" in ours[-1].parts


def _without_append_advice(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if "append" not in line and line.strip()]
    causes = first_line(error.__cause__) if error.__cause__ else ""
    return "\n".join(dict.fromkeys([*lines[:2], *([causes] if causes else [])]))
