"""Check a config before every run: refuse what is unknown, mistyped, out of range or missing.

All faults are reported at once. Neither torch nor data are loaded: checking a whole config takes
milliseconds, and the arguments of a ``_target_`` are read from source (``ablab.config.targets``).
"""

import os
import re
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_origin

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, TypeAdapter, ValidationError

from ablab.config.combinations import combination_faults
from ablab.config.model_faults import model_faults
from ablab.config.models import model_class
from ablab.config.nodes import node_faults
from ablab.config.optimisation import optimisation_faults
from ablab.config.schema import OWN, Config, Own
from ablab.config.suggestions import suggestion, unknown_key
from ablab.config.written import leaves
from ablab.errors import ConfigError, first_line
from ablab.safety.printable import printable
from ablab.safety.redaction import redacted, secret_faults

_LARGEST = 2**63 - 1  # torch and Lightning cannot hold larger numbers


def check(cfg: DictConfig) -> Config:
    """Resolve and validate a composed config.

    Raises:
        ConfigError: the config has faults; each has a line.
    """
    try:
        values: Any = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        faults = _values_for_sections(cfg) or [f"{error.full_key or 'config'}: {first_line(error)}"]
        raise ConfigError(printable(redacted("\n".join(faults)))) from error
    return check_resolved(values, lambda: cfg)


def check_resolved(values: dict[str, Any], source: Callable[[], DictConfig]) -> Config:
    """Validate the values of a composed config.

    Args:
        source: return the config, which is asked for only if its values have faults.

    Raises:
        ConfigError: the config has faults; each has a line.
    """
    if (model := model_class(values.get("model"))) and model.has_own_optimizers:
        values |= dict.fromkeys(("optim", "schedule"))  # so the record claims nothing of them
    if unusable := list(_unusable(values)):
        raise ConfigError(printable(redacted("\n".join(unusable))))
    settings = list(leaves(values))
    faults = [f"{path}: is required, and nothing sets it" for path, v in settings if v == "???"]
    config = None
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        faults += [_schema_fault(e, values) for e in error.errors()]
    of_nodes = [*node_faults(values), *optimisation_faults(values)]
    places = {fault.partition(":")[0] for fault in of_nodes}  # where they know better
    faults = [*(f for f in faults if f.partition(":")[0] not in places), *of_nodes]
    if config is not None and not faults:
        faults += [*model_faults(config), *combination_faults(config)]
    faults = list(dict.fromkeys(filter(None, faults)))
    places = {fault.partition(":")[0] for fault in faults}
    faults = [fault for fault in faults if _source_of(fault, source()) not in places]
    faults += [*secret_faults(settings), *_unwritable(settings)]
    if faults:
        raise ConfigError(printable(redacted("\n".join(faults))))
    assert config is not None
    return config


def read_section(where: str, kind: Any, values: dict[str, Any]) -> Any:
    """Return the section ``optim`` or ``schedule``, checked as that of a whole config.

    Raises:
        ConfigError: the section has faults; each has a line.
    """
    within = {where: values}
    parsed, faults = None, []
    try:
        parsed = TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        faults = [_schema_fault({**e, "loc": (where, *e["loc"])}, within) for e in error.errors()]
    faults += optimisation_faults(within)
    if faults:
        raise ConfigError(printable("\n".join(dict.fromkeys(faults))))
    return parsed


def _source_of(fault: str, cfg: DictConfig) -> str | None:
    """Return the key that the faulty key takes its value from (``init: ${seed}``: ``seed``)."""
    parent, _, key = fault.partition(":")[0].rpartition(".")
    node = OmegaConf.select(cfg, parent) if parent else cfg
    if not isinstance(node, DictConfig) or key not in node:
        return None
    raw = OmegaConf.to_container(node, resolve=False)
    match = re.fullmatch(r"\$\{([\w.]+)\}", str(raw[key]))  # type: ignore[index,call-overload]
    return match[1] if match else None


def _values_for_sections(cfg: DictConfig) -> list[str]:
    """Return a line for each section that a value has replaced, as ``seeds=2`` does."""
    raw: Any = OmegaConf.to_container(cfg, resolve=False)
    return [
        _no_section(name, raw[name])
        for name, field in Config.model_fields.items()
        if (_models(field.annotation) or get_origin(field.annotation) is dict)
        and not isinstance(raw.get(name, {}), dict)
    ]


def _no_section(where: str, given: Any) -> str:
    plans = f"; did you mean ablation.seeds={given}?" if where == "seeds" else ""
    return f"{where}: should hold keys, such as {where}.KEY=VALUE (it is {given!r}){plans}"


def _unusable(values: Any, prefix: str = "") -> Iterator[str]:
    """Yield a line for what breaks the later checks: keys that are no text, and huge numbers."""
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        where = f"{prefix}{key}"
        if isinstance(values, dict) and not isinstance(key, str):
            yield f"{where}: a key should be a text; YAML reads this one as {key!r}, so quote it"
        if isinstance(value, dict | list):
            yield from _unusable(value, f"{where}.")
        elif isinstance(value, int) and abs(value) > _LARGEST:
            yield f"{where}: should be a number of at most {_LARGEST}"


# -- the typed part -------------------------------------------------------------------------------


def _schema_fault(error: Any, values: dict[str, Any]) -> str:
    if error["loc"][-1] == "[key]":
        where = ".".join(map(str, error["loc"][:-2]))
        return (
            f"{where}: {error['input']!r} is no name; use a letter, then letters, digits, _ and -"
        )
    path, owner = _locate(error["loc"], values)
    where = ".".join(map(str, path))
    given = error.get("input")
    if given == "???":
        return ""  # It is reported as missing.
    match error["type"]:
        case "extra_forbidden":
            return unknown_key(where, str(path[-1]), list(owner.model_fields), values)
        case "missing":
            return f"{where}: is required"
        case "literal_error":
            options = [
                o.strip("'") for o in error["ctx"]["expected"].replace(" or ", ", ").split(", ")
            ]
            return f"{where}: '{given}' is not known{suggestion(str(given), options)}"
        case "union_tag_invalid":
            tag = error["ctx"]["discriminator"].strip("'()")
            options = [o.strip(" '") for o in error["ctx"]["expected_tags"].split(",")]
            options.remove(OWN)
            given = error["ctx"]["tag"]
            return f"{where}.{tag}: '{given}' is not known{suggestion(str(given), options)}"
        case "union_tag_not_found":
            tag = error["ctx"]["discriminator"].strip("'()")
            return f"{where}.{tag}: is required"
    if error["type"] in ("model_attributes_type", "model_type", "dict_type"):
        return _no_section(where, given)
    message = error["msg"].replace("Input should", "should").replace("valid tuple", "list")
    message = message[0].lower() + message[1:]
    return f"{where}: {message.replace(' after validation', '')} (it is {given!r})"


def _locate(loc: tuple[int | str, ...], values: Any) -> tuple[list[int | str], type[BaseModel]]:
    """Return the path without pydantic's union tags, and the model class that owns its last key."""
    path: list[int | str] = []
    owner: Any = Config
    current = values
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(current, dict) and part not in current and not last:
            tagged = [m for m in _models(owner) if part in _tags(m)]
            owner = tagged[0] if tagged else owner
            continue
        path.append(part)
        if last:
            break
        if isinstance(owner, type) and part in owner.model_fields:
            owner = owner.model_fields[str(part)].annotation
            models = _models(owner)
            owner = models[0] if len(models) == 1 else owner
        current = current[part] if isinstance(current, dict | list) else None  # type: ignore[index]
    models = _models(owner)
    return path, models[0] if models else Config


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the model classes that an annotation allows."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in get_args(annotation) for m in _models(a)]


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    if issubclass(model, Own):
        return (OWN,)
    return tuple(
        tag
        for f in model.model_fields.values()
        for tag in get_args(f.annotation)
        if get_origin(f.annotation)
    )


def _unwritable(settings: list[tuple[str, Any]]) -> Iterator[str]:
    """Yield a line for each setting that a run's record cannot hold as it is.

    An escaped ``${…}`` would be resolved, unchecked, when a component is built from the config.
    Bytes of a command line that are not UTF-8 reach Python as half a character (a surrogate).
    """
    for path, value in settings:
        where = printable(path)
        for text in (path, value):
            if isinstance(text, str) and not _is_utf8(text):
                yield f"{where}: should be UTF-8 (it is {text!r})"
        if not isinstance(value, str):
            continue
        expanded = os.path.expanduser(value)  # noqa: PTH111 (pathlib raises for ~NAME of nobody)
        if "${" in value:
            yield f"{where}: should hold no escaped '${{' (it is {value!r})"
        elif expanded != value:
            yield f"{where}: nothing expands the ~ of {value!r}; write {expanded}"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
