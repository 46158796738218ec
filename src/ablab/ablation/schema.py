"""``ablab schema NAME``: the JSON schema of a file of a project, or of what a command prints.

An editor that reads the schema of an experiment completes its keys and underlines those that do not
exist. What only a whole config shows (such as arguments of a ``_target_``) is checked by a run.
"""

import argparse
import json
from typing import Any

from pydantic import TypeAdapter

from ablab.ablation.plan.plan import Plan
from ablab.config.schema import Config
from ablab.report.documents import DOCUMENTS
from ablab.safety.commands import as_command

FILES = {"experiment": Config, "ablation": Plan}  # by the folder in conf/ where they lie
_DRAFT = "http://json-schema.org/draft-07/schema#"  # which editors know
_DRAFT_OF_DOCUMENTS = "https://json-schema.org/draft/2020-12/schema"
_INTERPOLATION = {"type": "string", "pattern": r"^(.*\$\{.+\}.*|\?\?\?)$"}
_RENAMED: dict[str, str] = {"oneOf": "anyOf", "prefixItems": "items"}
_OF_HYDRA = {"defaults": {"type": "array"}, "hydra": {"type": "object"}}


@as_command
def main(arguments: list[str]) -> int:
    """Print a schema; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="ablab schema",
        description="Print the JSON schema of a file in conf/experiment or conf/ablation, for "
        "editors, or of the JSON that ablab report, diff and status print.",
    )
    parser.add_argument("name", choices=(*FILES, *DOCUMENTS))
    print(json_schema(parser.parse_args(arguments).name), end="")  # noqa: T201
    return 0


def json_schema(name: str) -> str:
    """Return the JSON schema of one of ``FILES`` or ``DOCUMENTS``."""
    if name in DOCUMENTS:
        schema = TypeAdapter(DOCUMENTS[name]).json_schema(mode="serialization")
        return _written({"$schema": _DRAFT_OF_DOCUMENTS, **schema})
    schema = _for_editors(FILES[name].model_json_schema(), partly=name == "experiment")
    if name == "experiment":
        schema["properties"] |= _OF_HYDRA
    return _written({"$schema": _DRAFT, **schema})


def _written(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2) + "\n"


def _for_editors(schema: Any, *, partly: bool) -> Any:
    """Return a schema in the draft that editors know.

    ``partly``: the file holds a part of the keys, since other files have the rest, and a value may
    be an interpolation such as ``${seed}``.
    """
    if isinstance(schema, list):
        return [_for_editors(item, partly=partly) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("title", "discriminator"):
            continue
        if key in ("properties", "patternProperties", "$defs"):
            found[key] = {name: _for_editors(v, partly=partly) for name, v in value.items()}
        elif key == "required" and partly:
            # Without it, a section of the user's own would take any key.
            found |= {"required": ["_target_"]} if "_target_" in value else {}
        elif key in ("default", "enum", "const", "description", "pattern", "required"):
            found[key] = value
        else:
            found[_RENAMED.get(str(key), str(key))] = _for_editors(value, partly=partly)
    is_value = found.get("type") in ("integer", "number", "boolean") or found.keys() & {
        "enum",
        "const",
    }
    if not (partly and is_value):
        return found
    about = {key: found.pop(key) for key in ("description", "default") if key in found}
    return {"anyOf": [found, _INTERPOLATION], **about}
