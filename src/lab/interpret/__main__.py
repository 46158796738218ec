"""``python -m lab.interpret KIND RUN``: what a finished run has learned, as tables and pictures."""

import argparse
import functools
import re
import sys
import typing
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from lab.config.nodes import HANDED_TO_INTERPRETATIONS
from lab.config.signatures import defaults_of, docstring_of, signature_of
from lab.config.suggestions import suggestion
from lab.errors import UserError
from lab.interpret.kinds import KINDS
from lab.launched import forget_ranks
from lab.printable import printable
from lab.surroundings import settle_surroundings

_TARGETS = {name: target for kinds in KINDS.values() for name, target in kinds.items()}


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if not arguments or arguments[0].startswith("-"):
            return _overview(arguments)
        forget_ranks()  # Lightning, which is imported for a kind, would take this for another rank
        kind, *rest = arguments
        if kind not in _TARGETS:
            told = suggestion(kind, list(_TARGETS))
            raise UserError(f"no kind '{kind}'{told}; python -m lab.interpret --help lists them")
        _interpret(kind, _settings(kind, rest))
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)  # noqa: T201
        return 2
    except OSError as error:
        print(printable(f"error: {error.filename}: {error.strerror}"), file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _overview(arguments: list[str]) -> int:
    lines = ["kinds, by what the run was trained on:"]
    for of, kinds in KINDS.items():
        lines += [
            f"\n{of}:",
            *(f"  {name:<20} {_summary(target)}" for name, target in kinds.items()),
        ]
    parser = argparse.ArgumentParser(
        prog="python -m lab.interpret KIND RUN",
        description="What a finished run has learned: tables at the terminal, CSV and PNG in its\n"
        "folder. RUN is a run folder, or a folder of runs, of which the newest is taken.",
        epilog="\n".join([*lines, "\nsettings of one: python -m lab.interpret KIND --help"]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    parser.print_help()
    return 0 if arguments else 2


def _settings(kind: str, arguments: list[str]) -> dict[str, Any]:
    """Of the function, and ``run``. Raises UserError for a value that it does not take."""
    target = _TARGETS[kind]
    types = signature_of(target).types
    docstring = docstring_of(target)
    parser = argparse.ArgumentParser(
        prog=f"python -m lab.interpret {kind}",
        description=docstring.partition("\n\nRaises:")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder, or a folder of runs")
    defaults = defaults_of(target)
    options = {name: of for name, of in types.items() if name not in HANDED_TO_INTERPRETATIONS}
    for name, of in options.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            metavar=name.upper(),
            default=argparse.SUPPRESS,
            nargs="+" if _is_list(of) else None,
            help=f"default: {defaults[name]}",
        )
    given = vars(parser.parse_args(arguments))
    return {
        name: value if name == "run" else _parsed(name, value, options[name])
        for name, value in given.items()
    }


def _parsed(name: str, text: str | list[str], of: Any) -> Any:
    """The text itself where text will do, else what it is in YAML."""
    adapter = TypeAdapter(of)
    try:
        return adapter.validate_python(text)
    except ValidationError:
        try:
            values = [yaml.safe_load(one) for one in text] if isinstance(text, list) else None
            return adapter.validate_python(yaml.safe_load(str(text)) if values is None else values)
        except (ValidationError, yaml.YAMLError) as error:
            told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "no value"
            told = told.replace("Input should be", "should be")
            raise UserError(f"--{name.replace('_', '-')}: {told} (it is {text!r})") from error


def _is_list(of: Any) -> bool:
    return typing.get_origin(of) is list or any(_is_list(part) for part in typing.get_args(of))


def _interpret(kind: str, settings: dict[str, Any]) -> None:
    """Raises UserError for a run that is not there, or that this kind is not for."""
    from hydra.utils import get_method  # imports torch with what it finds

    from lab.claim import refuse_links
    from lab.interpret.findings import FOLDER
    from lab.interpret.steps import misfit, take
    from lab.record import RunRecord
    from lab.saved import clear_write_errors, load, newest_run

    given = settings.pop("run")
    run = newest_run(given)
    if run != given:
        print(printable(f"of the newest run there, {run}"), file=sys.stderr)  # noqa: T201
    refuse_links(run)
    status = RunRecord.read(run).status
    if status != "done":
        told = f"{run} is not finished ({status}): what is seen is a checkpoint of it"
        print(printable(told), file=sys.stderr)  # noqa: T201
    step = get_method(_TARGETS[kind])
    model, data = load(run)
    told = misfit(step, model, data)
    if told:
        fitting = [k for k, t in _TARGETS.items() if not misfit(get_method(t), model, data)]
        raise UserError(f"{kind}: {told}; for it there are {', '.join(fitting)}")
    findings = take(functools.partial(step, **settings), model, data, run)
    findings.show()
    with clear_write_errors(run / FOLDER):
        written = findings.write(run / FOLDER)
    for path in written:
        print(printable(str(path)))  # noqa: T201


def _summary(target: str) -> str:
    first = docstring_of(target).partition("\n")[0]
    return re.sub(r"\s*\(.*\)", "", first).rstrip(".")


if __name__ == "__main__":
    settle_surroundings()
    sys.exit(main())
