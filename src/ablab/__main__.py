"""The command ``ablab``: a new project, reports, interpretations, data, exports."""

import importlib
import sys

from ablab.safety.commands import as_command

_COMMANDS = {
    "new": ("ablab.command.new_project", "write a small project that trains as it is"),
    "report": ("ablab.report.__main__", "the table of finished runs, or of a plan"),
    "status": ("ablab.report.status", "which jobs of a plan are done, failed or missing"),
    "interpret": ("ablab.interpret.__main__", "what a finished run has learned"),
    "data": ("ablab.data.__main__", "list and fetch the data sets of this project"),
    "export": ("ablab.command.export", "a trained model as tensors, a torch program or ONNX"),
    "schema": ("ablab.ablation.schema", "the JSON schema of an experiment, a plan or a report"),
    "slim": ("ablab.runs.slim", "remove from finished runs what only continuing them needs"),
}


@as_command
def main(arguments: list[str]) -> int:
    """Run a subcommand; return the exit status."""
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in _COMMANDS:
        return importlib.import_module(_COMMANDS[name][0]).main(rest)
    lines = [f"  {command:<10} {what}" for command, (_, what) in _COMMANDS.items()]
    text = "\n".join(
        [
            "usage: ablab COMMAND [ARGUMENT ...]",
            "",
            *lines,
            "",
            "ablab COMMAND --help shows its arguments. Runs are started by a project's train.py:",
            "python train.py --help",
        ]
    )
    known = name in ("-h", "--help")
    print(
        text if known else f"error: no command '{name}'\n{text}",
        file=sys.stdout if known else sys.stderr,
    )
    return 0 if known else 2


if __name__ == "__main__":
    sys.exit(main())
