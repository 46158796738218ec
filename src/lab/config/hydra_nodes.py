"""The check of what Hydra itself builds, and would build before any check of ours.

Any config file can set keys of ``hydra`` as well: callbacks, sweeper, launcher, and the factories
of Python's logging. Hydra refuses a list of functions there; here there is a list of what may be.
"""

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lab.config.nodes import ALLOWED_TARGETS_VARIABLE, user_targets
from lab.errors import ConfigError

_PLUGINS = ("hydra_plugins.", "hydra._internal.core_plugins.")
_BUILT = {
    "callbacks": (),
    "sweeper": _PLUGINS,
    "launcher": _PLUGINS,
    "hydra_logging": ("logging.", "colorlog.", "lab.secrets."),
    "job_logging": ("logging.", "colorlog.", "lab.secrets.", "lab.log_file."),
}
_NAMES_A_CALLABLE = ("_target_", "class", "()")
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def check_hydra(cfg: DictConfig) -> None:
    """Raises ConfigError for a composed config of which Hydra would build what is not allowed."""
    faults = [
        fault
        for section, allowed in _BUILT.items()
        for fault in _faults(f"hydra.{section}", _plain(cfg, section), cfg, allowed)
    ]
    if faults:
        raise ConfigError("\n".join(faults))


def _plain(cfg: DictConfig, section: str) -> Any:
    node = OmegaConf.select(cfg, f"hydra.{section}")
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node


def _faults(where: str, value: Any, cfg: DictConfig, allowed: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _NAMES_A_CALLABLE and not str(inner).startswith((*allowed, *user_targets())):
                yield (
                    f"{where}.{key}: '{inner}' may not be built (name your own packages in the "
                    f"environment, {ALLOWED_TARGETS_VARIABLE}=package)"
                )
            elif key == "filename" and not str(inner).endswith(".log"):
                yield f"{where}.{key}: should be a file NAME.log (it is {inner!r})"
            else:
                yield from _faults(f"{where}.{key}", inner, cfg, allowed)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _faults(f"{where}.{index}", inner, cfg, allowed)
    elif isinstance(value, str) and not _is_plain_text(value, cfg):
        yield f"{where}: should be a plain value, or refer to one (it is {value!r})"


def _is_plain_text(value: str, cfg: DictConfig) -> bool:
    """Whether ``value`` cannot turn into a node that is built: it only refers to plain values."""
    if "${" in _REFERENCE.sub("", value):
        return False
    for path in _REFERENCE.findall(value):
        if path.startswith("hydra."):  # typed by Hydra, and some of it not known yet
            continue
        try:
            if OmegaConf.is_config(OmegaConf.select(cfg, path)):
                return False
        except OmegaConfBaseException:
            return False
    return True
