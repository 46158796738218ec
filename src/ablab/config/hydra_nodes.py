"""Check Hydra's own node, on which Hydra acts before a run's config is checked.

Any config file can set keys of ``hydra``: the environment, callbacks, the sweeper, the launcher and
the factories of Python's logging. Hydra itself only refuses a list of functions there; this check
refuses everything but a list of what is safe.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ablab import project
from ablab.config.nodes import check_node
from ablab.config.written import leaves
from ablab.errors import ConfigError
from ablab.safety.printable import printable

_HYDRAS = Path(hydra.__file__).parent / "conf" / "hydra"
_LOGGING = {  # Hydra's other files write to a path that a config can choose.
    "hydra_logging": [_HYDRAS / f"hydra_logging/{n}.yaml" for n in ("default", "none", "disabled")],
    "job_logging": [
        project.ENGINE_CONF / "hydra/job_logging/ablab.yaml",
        *(_HYDRAS / f"job_logging/{n}.yaml" for n in ("stdout", "none", "disabled")),
    ],
}
_LEVELS = ("CRITICAL", "FATAL", "ERROR", "WARN", "WARNING", "INFO", "DEBUG", "NOTSET")
_CALLBACK = "hydra.experimental.callback.Callback"
_PLUGINS = ("hydra_plugins.", "hydra._internal.core_plugins.")
_COMMANDS = (  # keys of launchers that run commands: of SLURM, Ray and submitit
    *("setup", "additional_parameters", "python", "srun_args"),
    *("runtime_env", "address"),
)
# Hydra fills in these texts later, so they may not be known yet.
_STRINGS = {f"hydra.{k}" for k in ("sweep.dir", "sweep.subdir", "job.name", "job.id", "job.num")}
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def check_hydra(cfg: DictConfig, arguments: Sequence[str] | None = None) -> None:
    """Raise ConfigError if the ``hydra`` node of a composed config is not safe.

    Args:
        arguments: the command line, which may set more than a file may; default: this process's.
    """
    values: Any = OmegaConf.to_container(cfg.hydra, resolve=False)
    faults = [
        *_job_faults(values),
        *(fault for section in _LOGGING for fault in _logging_faults(section, values)),
        *_callback_faults(values),
        *_plugin_faults("sweeper", values, cfg),
        *_plugin_faults("launcher", values, cfg),
        *_command_faults(values, sys.argv[1:] if arguments is None else arguments),
    ]
    if faults:
        raise ConfigError("\n".join(faults))


def _job_faults(values: dict[str, Any]) -> Iterator[str]:
    for key in ("env_set", "env_copy"):
        if values["job"].get(key):
            yield (
                f"hydra.job.{key}: a config must not set environment variables, which other "
                f"programs obey; set them in the shell: NAME=VALUE python train.py …"
            )
    for section in ("help", "hydra_help"):
        for key, text in (values.get(section) or {}).items():
            if printable(str(text)) != str(text):
                yield f"hydra.{section}.{key}: holds control characters, which a terminal obeys"
    subfolder = values.get("output_subdir")
    if subfolder is not None and not re.fullmatch(r"\.?\w[\w-]*", str(subfolder)):
        yield (
            f"hydra.output_subdir: should be the name of a folder, or null (it is {subfolder!r})"
        )


def _logging_faults(section: str, values: dict[str, Any]) -> Iterator[str]:
    """Yield a line unless a logging config equals one of ``_LOGGING``; levels may differ."""
    given = _without_levels(values.get(section))
    differing: list[str] = []
    for file in _LOGGING[section]:
        ours = _without_levels(OmegaConf.to_container(OmegaConf.load(file)))
        if set(given.get("root.handlers") or []) <= set(ours.get("root.handlers") or []):
            ours["root.handlers"] = given.get("root.handlers")
        keys = [key for key in {**ours, **given} if ours.get(key) != given.get(key)]
        if not keys:
            return
        differing = differing or keys
    yield (
        f"hydra.{section}.{differing[0]}: a config may set nothing of the logging but levels "
        f"(hydra.{section}.root.level, hydra.{section}.loggers.NAME.level)"
    )


def _without_levels(node: Any) -> dict[str, Any]:
    """Return the settings of a logging config but its levels, by dotted key."""
    return {
        key: value
        for key, value in leaves(node, in_lists=False)
        if value != {} and not (key.endswith(".level") and value in _LEVELS)
    }


def _callback_faults(values: dict[str, Any]) -> Iterator[str]:
    callbacks = values.get("callbacks") or {}
    if not isinstance(callbacks, dict):
        yield f"hydra.callbacks: should be a mapping (it is {callbacks!r})"
        return
    for name, node in callbacks.items():
        where = f"hydra.callbacks.{name}"
        if faults := list(_interpolations(where, node, None)):
            yield from faults
        elif node is not None:
            yield from check_node(where, node, {}, (_CALLBACK,))


def _plugin_faults(section: str, values: dict[str, Any], cfg: DictConfig) -> Iterator[str]:
    """Yield the faults of a node that Hydra builds with all its values if its class is a plugin."""
    where, node = f"hydra.{section}", values.get(section)
    node = node if isinstance(node, dict) else {}
    target = str(node.get("_target_"))
    if not target.startswith(_PLUGINS):
        yield (
            f"{where}._target_: '{target}' is no plugin of Hydra; choose one with "
            f"hydra/{section}=NAME"
        )
        return
    for key, value in node.items():
        if key != "_target_":
            yield from _interpolations(f"{where}.{key}", value, cfg)


def _interpolations(where: str, value: Any, cfg: DictConfig | None) -> Iterator[str]:
    """Yield a line for each value that is a component, or that can turn into one.

    Args:
        cfg: what values may refer to; None where they may refer to nothing, and where components
            are checked by the caller.
    """
    for path, leaf in leaves(value, path=where):
        if cfg is not None and "_target_" in path.removeprefix(where).split("."):
            yield f"{path}: '{leaf}' may not be built here"
        elif isinstance(leaf, str) and not _is_plain_text(leaf, cfg):
            yield f"{path}: should be a plain value, or refer to one (it is {leaf!r})"


def _is_plain_text(value: str, cfg: DictConfig | None) -> bool:
    """Return whether ``value`` refers to plain values only, so it cannot become a component."""
    if cfg is None:
        return "${" not in value
    if "${" in _REFERENCE.sub("", value):
        return False
    for path in _REFERENCE.findall(value):
        if path in _STRINGS:
            continue
        # A relative reference depends on its place, and Hydra's values can be of any type.
        if path.startswith((".", "hydra.")):
            return False
        try:
            if OmegaConf.is_config(OmegaConf.select(cfg, path)):
                return False
        except OmegaConfBaseException:
            return False
    return True


def _command_faults(values: dict[str, Any], arguments: Sequence[str]) -> Iterator[str]:
    """Yield a line for each command of a launcher that a config file has set.

    Only the command line and the file of this machine, ``conf/local/default.yaml``, may set one.
    """
    file = project.current().conf / "local" / "default.yaml"
    local = OmegaConf.load(file) if file.is_file() else OmegaConf.create()
    for where, value in _commands("hydra.launcher", values.get("launcher")):
        is_given = any(
            word.lstrip("+").startswith((f"{where}=", f"{where}.")) for word in arguments
        )
        if not is_given and OmegaConf.select(local, where) != value:
            yield (
                f"{where}: can run commands, so only the command line and conf/local/default.yaml "
                f"may set it"
            )


def _commands(where: str, node: Any) -> Iterator[tuple[str, Any]]:
    for key, value in node.items() if isinstance(node, dict) else ():
        if key in _COMMANDS and value:
            yield f"{where}.{key}", value
        else:
            yield from _commands(f"{where}.{key}", value)
