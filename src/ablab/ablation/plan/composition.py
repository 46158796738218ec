"""A composed config that takes the values of one job after the other.

To copy and to resolve a whole config takes 10 ms, and a plan may have 10,000 jobs. Each of them
changes a few keys, so only the sections with these keys, and those that refer to other keys
(``${seed}``), are resolved again. A number in the place of another needs not even that, and
reaches the config itself only if somebody asks for it.
"""

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from ablab.errors import ConfigError, first_line

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


class Composition:
    """A config as it was composed, or with what was set since the last ``restore``."""

    def __init__(self, config: DictConfig) -> None:
        self._config = config
        self._composed: Any = OmegaConf.to_container(config, resolve=False)
        self._referring = {name for name, of in self._composed.items() if "${" in repr(of)}
        self._changed: set[str] = set()  # sections
        self._plain: dict[str, Any] = {}  # keys, of which only a plain value has changed
        self._written: dict[str, Any] = {}  # those that the config has

    @property
    def config(self) -> DictConfig:
        if repr(self._written) != repr(self._plain):  # 1, 1.0 and True are equal
            for key in self._written.keys() - self._plain.keys():
                self._replace(key, value_at(self._composed, key))
            for key, value in self._plain.items():
                self._replace(key, value)
            self._written = dict(self._plain)
        return self._config

    def restore(self) -> None:
        """Undo what was set."""
        self._plain.clear()
        if not self._changed:
            return
        config = self.config
        with open_dict(config):
            for name in self._changed:
                if name in self._composed:
                    config[name] = self._composed[name]
                else:
                    config.pop(name, None)
        self._changed.clear()

    def set(self, key: str, value: Any, *, merge: bool = False) -> None:
        """Set a dotted key, whether or not it is there. Raise ConfigError if that is impossible.

        Args:
            merge: keep what else a mapping at that key holds.
        """
        name = key.partition(".")[0]
        if (
            name not in self._changed
            and _is_plain(value)
            and _is_plain(value_at(self._composed, key))
        ):
            self._plain[key] = value
            return
        config = self.config
        self._changed.add(name)
        for plain in [k for k in self._plain if k.partition(".")[0] == name]:
            del self._plain[plain], self._written[plain]
        try:
            with open_dict(config):
                OmegaConf.update(config, key, value, merge=merge, force_add=True)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{key}: {first_line(error)}") from error

    def _replace(self, key: str, value: Any) -> None:
        *sections, last = key.split(".")
        section = self._config
        for part in sections:
            section = section[part]
        section[last] = value

    def resolved(self) -> dict[str, Any] | None:
        """Return what ``OmegaConf.to_container(config, resolve=True)`` does; None if that raises.

        Sections that were not set are shared by all values that are returned.
        """
        values: dict[str, Any] = {}
        try:
            for name in map(str, self._config):
                if name in self._changed:
                    values[name] = self._resolved(name)
                elif name in self._referring:
                    try:
                        values[name] = self._filled_in(self._composed[name])
                    except LookupError:
                        values[name] = self._resolved(name)
                else:
                    values[name] = self._composed[name]
        except OmegaConfBaseException:
            return None
        for key, value in self._plain.items():
            *sections, last = key.split(".")
            section = values
            for part in sections:
                section[part] = dict(section[part])
                section = section[part]
            section[last] = value
        return values

    def _resolved(self, name: str) -> Any:
        config = self.config
        if OmegaConf.is_missing(config, name):
            return "???"
        value = config[name]
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value

    def _filled_in(self, raw: Any) -> Any:
        """Return ``raw`` with the values of the plain keys that it refers to.

        OmegaConf parses each text anew, which takes as long as all else of a job.

        Raises:
            LookupError: only OmegaConf can tell what is meant.
        """
        if isinstance(raw, dict):
            return {key: self._filled_in(value) for key, value in raw.items()}
        if isinstance(raw, list):
            return list(map(self._filled_in, raw))
        if not isinstance(raw, str) or "${" not in raw:
            return raw
        if not (reference := _REFERENCE.fullmatch(raw)):
            raise LookupError(raw)
        key = reference[1]
        value = self._plain.get(key, value_at(self._composed, key))
        if not _is_plain(value) or key.partition(".")[0] in self._changed:
            raise LookupError(raw)
        return value


ABSENT = object()


def value_at(values: Any, key: str) -> Any:
    """Return what nested mappings hold at a dotted key, or ``ABSENT``."""
    for part in key.split("."):
        if not isinstance(values, dict) or part not in values:
            return ABSENT
        values = values[part]
    return values


def _is_plain(value: Any) -> bool:
    """Return whether ``value`` is a number or a switch: text may refer to another key."""
    return isinstance(value, bool | int | float)
