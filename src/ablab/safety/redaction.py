"""Keep keys and passwords out of what is kept of a run: records, logs, trackers, reports.

A config that holds one is refused, since a run's record holds its whole config. In the errors of
other people's code they are blanked out.
"""

import functools
import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ablab.errors import ConfigError
from ablab.safety.printable import printable

_VARIABLE = re.compile(  # DB_PASS, API_KEYS, SECRET_KEY_BASE, GITHUB_TOKEN_2; not PWD
    r"(^|_)(SECRETS?|PASSWORDS?|PASSWD|PASSPHRASE|CREDENTIALS?|(API|ACCESS|PRIVATE)_?KEYS?)(_|\d*$)"
    r"|(KEY|TOKEN|SECRET|PASSWORD|PASSWD)$"
    r"|(^|_)(KEYS|TOKENS|PASS|PAT)$|_PWD$|(^|_)(KEY|TOKEN|PASS)_?\d+$",
    re.IGNORECASE,
)
_SETTING = re.compile(
    r"(^|_)((api|access|private|secret)_?keys?|secrets?|secret_key_base|"
    r"(?<!low_)(?<!high_)(?<!band_)pass|passwords?|passwd|passphrase|pwd|"
    r"(git(hub|lab)|azure|personal)_pat|credentials?|"
    r"(api|auth|access|secret|bearer|refresh|bot|git(hub|lab)|hf|hub|wandb)_?tokens?)$|^token$",
    re.IGNORECASE,
)
# Other tokens are of texts (pad_token, eos_token), unless their values are those of credentials.
_TOKEN = re.compile(r"_token$", re.IGNORECASE)
_CREDENTIAL = re.compile(r"(?=.*\d)[\w.+/=:-]{16,}")
# ://user:password@host, ://token@host; a password may hold a slash, but a port and a path do not
_LOGIN = re.compile(
    r"://(?:[^\s/?#@'\"]+@|[^\s/:?#@'\"\[]*:(?!\d*[/?#])[^\s'\"@]{1,200}@)", re.IGNORECASE
)
_QUERY = re.compile(  # ?api_key=…, &token=…
    r"([?&;](?:[\w.-]{0,40}[_.-])?(?:api_?key|key|token|secret|password|passwd|pwd|pass|signature|sig|credential)=)"
    r"[^\s&;#'\"]+",
    re.IGNORECASE,
)
_SHORTEST = 8  # characters; a shorter value is part of ordinary words
BLANK = "[secret]"


def redacted(text: str) -> str:
    """Return ``text`` with the values of secret variables and the logins in URLs blanked out."""
    for value in _secret_variables():
        text = text.replace(value, BLANK)
    return _QUERY.sub(rf"\1{BLANK}", _LOGIN.sub(f"://{BLANK}@", text))


def secret_faults(settings: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Yield a line, without the secret, for each of ``(dotted key, value)`` that holds one."""
    variables = _secret_variables()
    for where, value in settings:
        key = where.rpartition(".")[2]
        if isinstance(value, str) and (fault := _secret_fault(key, value, variables)):
            yield f"{where}: {fault}"


def refuse_secrets(arguments: Iterable[str]) -> None:
    """Raise ConfigError for a command line with a secret, since records and trackers keep it."""
    faults, variables = [], _secret_variables()
    for argument in arguments:
        key, assigned, value = argument.partition("=")
        name = re.split(r"[./+~]", key)[-1]
        if fault := _secret_fault(name if assigned else "", value or argument, variables):
            faults.append(f"{redacted(key.lstrip('+~'))}: {fault}")
            continue
        for inner in _ASSIGNED.finditer(value):  # hydra.job.env_set={SOME_API_KEY: …}
            if fault := _secret_fault(inner[1], inner[2], variables):
                faults.append(f"{key.lstrip('+~')}.{inner[1]}: {fault}")
    if faults:
        raise ConfigError("\n".join(faults))


_ASSIGNED = re.compile(r"\b(\w+)['\"]?\s*:\s*([^\s,}{\[\]]+)")


class RedactingFormatter(logging.Formatter):
    """Format log records and tracebacks without secrets and control characters."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(redacted(super().format(record)))


def _secret_fault(name: str, value: str, variables: dict[str, str]) -> str | None:
    remedy = "set it as an environment variable, which the library that needs it reads itself"
    is_token = _TOKEN.search(name) and _CREDENTIAL.fullmatch(value)
    if value and value != "null" and (is_token or _SETTING.search(name)):
        return f"is a secret, which a run's record would keep; {remedy}"
    for secret, variable in variables.items():
        if secret in value:
            return f"holds the value of {variable}, which a run's record would keep; leave it out"
    if _LOGIN.search(value) or _QUERY.search(value):
        return f"is a URL with a password or a key, which a run's record would keep; {remedy}"
    return None


def _secret_variables() -> dict[str, str]:
    """Return the secrets of the environment, each with the variable that holds it.

    They are read at each call, since a job may set some. The longest comes first, since one may
    hold another. Each part of a list (``API_KEYS=a,b``) is a secret.
    """
    found = {}
    for name, value in os.environ.items():
        if _names_secret(name) and not _is_path(value):
            parts = re.split(r"[\s,;]+", value) if name.upper().endswith("S") else []
            found |= {part: name for part in (*parts, value.strip()) if len(part) >= _SHORTEST}
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


@functools.lru_cache  # for each job of a plan
def _names_secret(variable: str) -> bool:
    return _VARIABLE.search(variable) is not None


def _is_path(value: str) -> bool:
    try:
        return value.startswith(("/", "~", ".")) and Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False
