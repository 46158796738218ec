"""``ablab interpret KIND RUN``: what a finished run has learned, as tables and pictures.

A package of the project adds kinds in a module ``interpretations`` of its own, in the form of
``KINDS`` below: ``KINDS = {"ratings": {"items_by_bias": "package.module.function"}}``.
"""

import argparse
import functools
import re
import sys
import typing
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from ablab import project
from ablab.config.nodes import HANDED_TO_INTERPRETATIONS
from ablab.config.source_reading.signatures import defaults_of, docstring_of, signature_of
from ablab.config.suggestions import suggestion
from ablab.errors import UserError
from ablab.safety.commands import as_command
from ablab.safety.printable import printable
from ablab.training.launched import forget_ranks

KINDS = {  # by what the run was trained on
    "any run": {
        "training_curves": "ablab.interpret.training_curves.training_curves",
    },
    "classes of pictures": {
        "classification": "ablab.interpret.pictures.classification.classification",
        "confusion_matrix": "ablab.interpret.pictures.confusion_matrix.confusion_matrix",
        "top_losses": "ablab.interpret.pictures.top_losses.top_losses",
        "activation_map": "ablab.interpret.pictures.activation_map.activation_map",
        "similar_images": "ablab.interpret.pictures.similar_images.similar_images",
    },
}


@as_command
def main(arguments: list[str]) -> int:
    """Run the command; return its exit status."""
    kinds = all_kinds()
    if not arguments or arguments[0].startswith("-"):
        return _print_overview(arguments, kinds)
    # A kind imports Lightning, which reads its rank from the variables of a launcher.
    forget_ranks()
    kind, *rest = arguments
    targets = {name: target for of in kinds.values() for name, target in of.items()}
    if kind not in targets:
        hint = suggestion(kind, list(targets))
        raise UserError(f"no kind '{kind}'{hint} (ablab interpret --help lists them)")
    run, settings = _read_settings(kind, targets[kind], rest)
    _interpret(kind, targets, run, settings)
    return 0


def all_kinds() -> dict[str, dict[str, str]]:
    """Return the engine's kinds and those of the project's packages."""
    own = project.current().modules("interpretations")
    return {**KINDS, **{of: kinds for module in own for of, kinds in module.KINDS.items()}}


def _print_overview(arguments: list[str], kinds: dict[str, dict[str, str]]) -> int:
    lines = ["kinds, by what the run was trained on:"]
    for of, targets in kinds.items():
        lines += [f"\n{of}:", *(f"  {name:<20} {_summary(t)}" for name, t in targets.items())]
    parser = argparse.ArgumentParser(
        prog="ablab interpret KIND RUN",
        description="Show what a finished run has learned: tables on the terminal, CSV and PNG\n"
        "files in its folder. RUN is a run folder, or a folder of runs, of which the newest is\n"
        "taken.",
        epilog="\n".join([*lines, "\nsettings of a kind: ablab interpret KIND --help"]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    parser.print_help()
    return 0 if arguments else 2


def _summary(target: str) -> str:
    """Return the first line of the function's docstring, without what is in parentheses."""
    first = docstring_of(target).partition("\n")[0]
    return re.sub(r"\s*\(.*\)", "", first).rstrip(".")


def _read_settings(kind: str, target: str, arguments: list[str]) -> tuple[Path, dict[str, Any]]:
    """Return the run and the settings of the function that the command line gives.

    Raises:
        UserError: the function does not take a value.
    """
    parser = argparse.ArgumentParser(
        prog=f"ablab interpret {kind}",
        description=docstring_of(target).partition("\n\nRaises:")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder, or a folder of runs")
    defaults, takes = defaults_of(target), signature_of(target)
    options = {n: of for n, of in takes.types.items() if n not in HANDED_TO_INTERPRETATIONS}
    for name, of in options.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            metavar=name.upper(),
            default=argparse.SUPPRESS,
            nargs="+" if _is_list(of) else None,
            required=name in takes.required,
            help=f"default: {defaults[name]}" if name in defaults else None,
        )
    given = vars(parser.parse_args(arguments))
    run = given.pop("run")
    return run, {name: _parsed(name, value, options[name]) for name, value in given.items()}


def _parsed(name: str, given: str | list[str], of: Any) -> Any:
    """Return the text if the type ``of`` takes text, else the value that YAML reads from it."""
    adapter = TypeAdapter(of)
    try:
        return adapter.validate_python(given)
    except ValidationError:
        pass
    try:
        many = isinstance(given, list)
        read = [yaml.safe_load(text) for text in given] if many else yaml.safe_load(given)
        return adapter.validate_python(read)
    except (ValidationError, yaml.YAMLError) as error:
        fault = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "is no value"
        fault = fault.replace("Input should be", "should be")
        raise UserError(f"--{name.replace('_', '-')}: {fault} (it is {given!r})") from error


def _is_list(of: Any) -> bool:
    return typing.get_origin(of) is list or any(_is_list(part) for part in typing.get_args(of))


def _interpret(kind: str, targets: dict[str, str], given: Path, settings: dict[str, Any]) -> None:
    """Print and write the findings of a kind.

    Raises:
        UserError: there is no run, or the kind is not for its model or data.
    """
    from ablab.command.import_lightning import import_lightning
    from ablab.runs.find import newest_run
    from ablab.runs.record import COPY_THE_RUN, RunRecord, clear_write_errors
    from ablab.safety.folder_lock import refuse_links

    run = newest_run(given)
    if run != given:
        print(printable(f"the newest run in {given} is {run}"), file=sys.stderr)  # noqa: T201
    refuse_links(run)
    status = RunRecord.read(run).status
    if status != "done":
        warning = f"{run} has not finished ({status}); this is what its checkpoint has learned"
        print(printable(warning), file=sys.stderr)  # noqa: T201
    import_lightning()
    from hydra.utils import get_method

    from ablab.findings import FOLDER
    from ablab.training.evaluation import load
    from ablab.training.interpretations import reason_against, run_step

    step = get_method(targets[kind])
    model, data = load(run)
    reason = reason_against(step, model, data)
    if reason:
        fitting = [k for k, t in targets.items() if not reason_against(get_method(t), model, data)]
        raise UserError(f"{kind}: {reason}; kinds for it are {', '.join(fitting)}")
    findings = run_step(functools.partial(step, **settings), model, data, run)
    findings.show()
    with clear_write_errors(run / FOLDER, COPY_THE_RUN):
        written = findings.write(run / FOLDER)
    for path in written:
        print(printable(str(path)))  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
