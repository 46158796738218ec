"""A composed config that takes the values of one job after the other.

To copy and to resolve a whole config takes 10 ms, and a plan may have 10,000 jobs. Each of them
changes a few keys, so only the sections with these keys, and those that refer to other keys
(``${seed}``), are resolved again. A number in the place of another needs not even that.
"""

from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from ablab.errors import ConfigError, first_line


class Composition:
    """``config`` as it was composed, or with what was set since the last ``restore``."""

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self._composed: Any = OmegaConf.to_container(config, resolve=False)
        self._referring = {name for name, of in self._composed.items() if "${" in repr(of)}
        self._changed: set[str] = set()  # sections
        self._plain: dict[str, Any] = {}  # keys, of which only a plain value has changed

    def restore(self) -> None:
        """Undo what was set."""
        for key in self._plain:
            self._replace(key, value_at(self._composed, key))
        with open_dict(self.config):
            for name in self._changed:
                if name in self._composed:
                    self.config[name] = self._composed[name]
                else:
                    self.config.pop(name, None)
        self._plain.clear()
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
            self._replace(key, value)
            return
        self._changed.add(name)
        self._plain = {k: v for k, v in self._plain.items() if k.partition(".")[0] != name}
        try:
            with open_dict(self.config):
                OmegaConf.update(self.config, key, value, merge=merge, force_add=True)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{key}: {first_line(error)}") from error

    def _replace(self, key: str, value: Any) -> None:
        *sections, last = key.split(".")
        section = self.config
        for part in sections:
            section = section[part]
        section[last] = value

    def resolved(self) -> dict[str, Any] | None:
        """Return what ``OmegaConf.to_container(config, resolve=True)`` does; None if that raises.

        Sections that were not set are shared by all values that are returned.
        """
        values: dict[str, Any] = {}
        try:
            for name in map(str, self.config):
                if name in self._changed | self._referring:
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
        if OmegaConf.is_missing(self.config, name):
            return "???"
        value = self.config[name]
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


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
