"""Keys and passwords stay out of whatever is kept of a run: records, logs, trackers, reports.

A config that holds one is refused, since a run's record holds its whole config. What other people's
code says of them in an error is blanked out.
"""

import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lab.errors import ConfigError
from lab.printable import printable

_VARIABLE = re.compile(  # DB_PASS, API_KEYS, SECRET_KEY_BASE, GITHUB_TOKEN_2; not PWD
    r"(^|_)(SECRETS?|PASSWORDS?|PASSWD|PASSPHRASE|CREDENTIALS?|(API|ACCESS|PRIVATE)_?KEYS?)(_|\d*$)"
    r"|(KEY|TOKEN|SECRET|PASSWORD|PASSWD)$"
    r"|(^|_)(KEYS|TOKENS|PASS|PAT)$|_PWD$|(^|_)(KEY|TOKEN|PASS)_?\d+$",
    re.IGNORECASE,
)
_SETTING = re.compile(
    r"(^|_)((api|access|private|secret)_?keys?|secrets?|secret_key_base|"
    r"pass|passwords?|passwd|passphrase|pwd|(git(hub|lab)|azure|personal)_pat|"
    r"(api|auth|access|secret|bearer|refresh)_?tokens?|token|credentials?)$",
    re.IGNORECASE,
)
# ://user:password@host, ://token@host; a password may hold a slash, but a port and a path do not
_LOGIN = re.compile(
    r"://(?:[^\s/?#@'\"]+@|[^\s/:?#@'\"\[]*:(?!\d*[/?#])[^\s'\"@]{1,200}@)", re.IGNORECASE
)
_QUERY = re.compile(  # ?api_key=…, &token=…
    r"([?&;](?:[\w.-]{0,40}[_.-])?(?:api_?key|key|token|secret|password|passwd|pwd|pass|signature|sig|credential)=)"
    r"[^\s&;#'\"]+",
    re.IGNORECASE,
)
_SHORTEST = 8  # characters; a shorter value would be found in innocent words
BLANK = "[secret]"


def redacted(text: str) -> str:
    """``text`` with the values of secret environment variables and logins of URLs blanked out."""
    for value in _secret_variables():
        text = text.replace(value, BLANK)
    return _QUERY.sub(rf"\1{BLANK}", _LOGIN.sub(f"://{BLANK}@", text))


def secret_faults(values: Any) -> Iterator[str]:
    """A line for each setting of a resolved config that holds a secret; none shows the secret."""
    return _faults(values, "", _secret_variables())


def _faults(values: Any, path: str, variables: dict[str, str]) -> Iterator[str]:
    items = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in items:
        where = f"{path}{key}"
        if isinstance(value, dict | list):
            yield from _faults(value, f"{where}.", variables)
        elif isinstance(value, str) and (told := _told(str(key), value, variables)):
            yield f"{where}: {told}"


def refuse_secrets(arguments: Iterable[str]) -> None:
    """Raises ConfigError for a command line with a secret: it is kept in records and trackers."""
    faults, variables = [], _secret_variables()
    for argument in arguments:
        key, assigned, value = argument.partition("=")
        name = re.split(r"[./+~]", key)[-1]
        if told := _told(name if assigned else "", value or argument, variables):
            faults.append(f"{redacted(key.lstrip('+~'))}: {told}")
            continue
        for inner in _ASSIGNED.finditer(value):  # hydra.job.env_set={SOME_API_KEY: …}
            if told := _told(inner[1], inner[2], variables):
                faults.append(f"{key.lstrip('+~')}.{inner[1]}: {told}")
    if faults:
        raise ConfigError("\n".join(faults))


_ASSIGNED = re.compile(r"\b(\w+)['\"]?\s*:\s*([^\s,}{\[\]]+)")


class RedactingFormatter(logging.Formatter):
    """A log record as text, tracebacks included, without secrets and control characters."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(redacted(super().format(record)))


def _told(name: str, value: str, variables: dict[str, str]) -> str | None:
    remedy = "set it as an environment variable, which the library that needs it reads itself"
    if value and value != "null" and _SETTING.search(name):
        return f"is a secret, which a run's record would keep; {remedy}"
    for secret, variable in variables.items():
        if secret in value:
            return f"holds the value of {variable}, which a run's record would keep; leave it out"
    if _LOGIN.search(value) or _QUERY.search(value):
        return f"is a URL with a password or a key, which a run's record would keep; {remedy}"
    return None


def _secret_variables() -> dict[str, str]:
    """Return the secrets of the environment and, of each, the variable that holds it.

    They are read anew each time: a job may set some. The longest comes first, since one may hold
    another; of a list (``API_KEYS=a,b``) each part is one.
    """
    found = {}
    for name, value in os.environ.items():
        if _VARIABLE.search(name) and not _is_path(value):
            parts = re.split(r"[\s,;]+", value) if name.upper().endswith("S") else []
            found |= {part: name for part in (*parts, value.strip()) if len(part) >= _SHORTEST}
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def _is_path(value: str) -> bool:
    try:
        return value.startswith(("/", "~", ".")) and Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False
