"""Turn errors of Hydra, OmegaConf and the machine into errors that the user can fix."""

import os
import re
import traceback
from pathlib import Path

from hydra.errors import (
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from ablab import project
from ablab.config.suggestions import suggestion
from ablab.config.written import pasteable
from ablab.errors import ConfigError, RunFolderError, UserError, as_raised, first_line

_KEY = re.compile(r"[+~]*[\w.@/-]+")
_MISSING = re.compile(r"You must specify '(.+?)',.*Available options:(.*)", re.DOTALL)
_SWEPT = re.compile(
    r"Ambiguous value for argument '(.+)'$|Sweep parameters '(.+)' requires", re.MULTILINE
)


def as_user_error(error: BaseException) -> UserError | None:
    """Return ``error`` as a UserError, or None if it is a bug of the program."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return cause
        if isinstance(cause, Warning):
            return UserError(
                f"a warning has been made an error, as python -W error or PYTHONWARNINGS asks "
                f"({type(cause).__name__}: {first_line(cause)}); leave that out"
            )
        if _is_out_of_memory(cause):
            return UserError(
                f"not enough memory ({str(cause).splitlines()[0]}); take smaller batches "
                f"(loading.batch_size, loading.eval_batch_size), a smaller model or fewer rows"
            )
        if isinstance(cause, RuntimeError) and str(cause).startswith("DataLoader worker (pid"):
            return UserError(
                f"loading.workers: {first_line(cause)}; it may lack memory, or room "
                f"in /dev/shm: take fewer, or none (0), and its error shows"
            )
        if isinstance(cause, RuntimeError) and str(cause).startswith("Training with multiple opt"):
            return ConfigError(f"model: {first_line(cause)}")
        if isinstance(cause, ValueError) and "more than 1 value per channel" in str(cause):
            return ConfigError(
                "loading.batch_size: batch norm needs the variance within a batch, and a batch of "
                "one row has none; set it to 2 or more"
            )
        # OmegaConf sets no __cause__ when a resolver raises.
        from_resolver = isinstance(cause, OmegaConfBaseException)
        cause = cause.__cause__ or (cause.__context__ if from_resolver else None)
    if isinstance(error, MarkedYAMLError):
        where = error.problem_mark or error.context_mark
        at = f"{where.name}, line {where.line + 1}" if where else "a config file"
        return ConfigError(f"{at}: is not valid YAML ({error.problem or error.context})")
    if isinstance(error, OverrideParseException):
        return ConfigError(_unreadable_override(error))
    if isinstance(error, InstantiationException):
        kind, message = as_raised(error)
        told = message if kind == type(error).__name__ else f"{kind}: {message}"
        return ConfigError(" ".join(told.split()))
    if isinstance(error, RecursionError) and (told := _endless(error)):
        return ConfigError(told)
    if sweep := _SWEPT.search(str(error)) if isinstance(error, HydraException) else None:
        said = (sweep[1] or sweep[2]).removeprefix("++")
        key, _, values = said.partition("=")
        other = f"; a list is {key}=[{values}], and a text {pasteable(key, values)}"
        return ConfigError(
            f"{said}: are several values; add -m to run each{other if sweep[1] else ''}"
        )
    if missing := _MISSING.match(str(error)) if isinstance(error, HydraException) else None:
        options = missing[2].split()
        return ConfigError(f"{missing[1]}: choose one with {missing[1]}=NAME: {', '.join(options)}")
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        if error.options:
            return ConfigError(f"{group}: no '{choice}'{suggestion(choice, list(error.options))}")
    if not isinstance(error, HydraException | OmegaConfBaseException) and not _raised_by_hydra(
        error
    ):
        return None
    if isinstance(error, FileNotFoundError) and error.filename is None:  # os.getcwd raises it.
        return UserError("the working folder has been removed; change to one that is there")
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
            told += "; there is no such key, so it cannot be set to null"
    return ConfigError(told)


def _unreadable_override(error: OverrideParseException) -> str:
    said = error.override.removeprefix("++")
    key, _, text = said.partition("=")
    if text and _KEY.fullmatch(key) and not text.startswith(tuple("[{\"'")):
        with_quotes = pasteable(key, text)
        return f"{said}: has characters that need quotes; write {with_quotes}"
    told = [line for line in str(error).splitlines() if "Error parsing override" not in line]
    return f"{said}: cannot be read as KEY=VALUE ({told[0]})"


def _endless(error: RecursionError) -> str | None:
    """Explain a RecursionError: files that include each other, or a value nested too deeply."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    in_defaults = [f for f in frames if f.f_code.co_name == "_create_defaults_tree_impl"]
    files = [str(f.f_locals["path"]) for f in in_defaults if "path" in f.f_locals]
    if len(set(files)) < len(files):
        return f"{files[-1]}.yaml: its defaults lead back to itself; leave one of the files out"
    if any("hydra" in Path(frame.f_code.co_filename).parts for frame in frames[-1:]) or any(
        "antlr4" in Path(frame.f_code.co_filename).parts for frame in frames
    ):
        return "a value is nested too deeply to be read; write it flatter"
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether NumPy or torch ran out of memory; torch need not be imported for that."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return str(error) != ""
    return isinstance(error, RuntimeError) and "you tried to allocate" in str(error)


def _suggestion_of_hydra(key: str) -> str:
    """Name the ``hydra/launcher`` or ``hydra/sweeper`` that has a key, or keys like it."""
    group, _, word = key.rpartition(".")
    group = group.replace(".", "/")
    files = project.current().config_files(group)
    keys = {name: set(map(str, OmegaConf.load(file))) for name, file in files.items()}  # type: ignore[arg-type]
    if having := [name for name, of_file in keys.items() if word in of_file]:
        return f"; it belongs to {group}={having[0]}, so choose that too"
    return suggestion(word, sorted(set().union(*keys.values()) - {"_target_", "defaults"}))


def _raised_by_hydra(error: BaseException) -> bool:
    """Return whether Hydra itself raised ``error``, such as the ValueError of ``trainer=null``."""
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    library = Path(os.__file__).parent
    others = [f for f in files if not f.is_relative_to(library) or "site-packages" in f.parts]
    return bool(others) and "hydra" in others[-1].parts


def _without_append_advice(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if "append" not in line and line.strip()]
    causes = first_line(error.__cause__) if error.__cause__ else ""
    return "; ".join(dict.fromkeys([*lines[:2], *([causes] if causes else [])]))
