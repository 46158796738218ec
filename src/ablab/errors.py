"""Errors that a user can fix: the message says what is wrong, where, and what to do."""

import re
from typing import Any


class UserError(Exception):
    """Shown at the terminal as its message alone; ``HYDRA_FULL_ERROR=1`` shows the traceback."""

    exit_status = 2


class ConfigError(UserError):
    """The composed config is wrong; every fault found is listed, not only the first."""


class DataError(UserError):
    """Data are missing, cannot be read, or have the wrong content."""


class TrainingError(UserError):
    """Training diverged, for example to a loss that is not a number."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, or belongs to another config."""


class RunFolderError(UserError):
    """A run folder is missing, unreadable, or in a state that the task cannot use."""


class PlanError(UserError):
    """Some jobs of a plan are not done; the finished ones are kept."""

    exit_status = 1


# What ends one job of a plan and no other one; the code of a job may call sys.exit.
FAULTS_OF_A_JOB = (Exception, SystemExit)


class RankVariableError(UserError):
    """A variable that tells a process its rank is missing or wrong; every process says so."""


class RankError(UserError):
    """Another process of the run has failed; ``word`` is what it left of its error, if anything."""

    exit_status = 1

    def __init__(self, message: str, word: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.word = word


class SilentRankError(RankError):
    """Another process of the run did not answer in time."""


def as_raised(error: BaseException) -> tuple[str, str]:
    """Return type and message of an error: of a class named by a ``_target_``, what it raised."""
    from hydra.errors import InstantiationException

    cause = error
    while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
        cause = cause.__cause__
    if cause is error:
        return type(error).__name__, str(error)
    target = re.search(r"target '([^']+)'", str(error))
    where = f"raised by {target[1] if target else 'a _target_'}"
    return type(cause).__name__, f"{' '.join(str(cause).split())} ({where})"


def first_line(error: BaseException) -> str:
    """Return the first line of the error's message, or the name of its class if it has none."""
    return str(error).strip().split("\n")[0] or type(error).__name__
