"""``ablab new NAME``: write a small project that trains as it is."""

import argparse
import keyword
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

from ablab.errors import ConfigError
from ablab.safety.commands import as_command

TEMPLATE = Path(__file__).parents[1] / "template"
_PLACEHOLDER = "heron"  # the template is itself a project of this name
_NEXT = """{folder} is a project: a model, data that it draws, an experiment, a plan.

  cd {quoted}
  make train                             one run, about ten seconds
  make test                              a few steps of every experiment
  python train.py -m ablation=width      a plan: 3 variants x 3 seeds, and its report
  python train.py --help                 every setting

Yours to change: src/{name}/models.py, src/{name}/data.py and the files in conf/.
"""


@as_command
def main(arguments: list[str]) -> int:
    """Write the project and print what to do next; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="ablab new", description="Write a project of a few small files that trains as it is."
    )
    parser.add_argument("name", metavar="NAME", help="name of the project and of its package")
    parser.add_argument(
        "--folder", type=Path, metavar="FOLDER", help="where to write it (default: ./NAME)"
    )
    options = parser.parse_args(arguments)
    folder = options.folder or Path(options.name)
    write_project(options.name, folder)
    told = _NEXT.format(folder=folder, quoted=shlex.quote(str(folder)), name=options.name)
    print(told, end="")  # noqa: T201
    return 0


def write_project(name: str, folder: Path) -> None:
    """Write the template's files to ``folder``, under the name ``name``.

    Raises:
        ConfigError: the name is no name of a package, or is taken, or the folder is not empty.
    """
    if keyword.iskeyword(name):
        raise ConfigError(f"'{name}' is a keyword of Python, not a name; choose another name")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigError(
            f"'{name}' cannot be the name of a Python package; use lower-case letters, digits and _"
        )
    if find_spec(name) is not None:
        raise ConfigError(f"a package '{name}' is already installed; choose another name")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty; choose another folder with --folder")
    try:
        for source in sorted(path for path in TEMPLATE.rglob("*") if path.is_file()):
            if "__pycache__" in source.parts:
                continue
            relative = str(source.relative_to(TEMPLATE)).replace(_PLACEHOLDER, name)
            target = folder / relative.replace("gitignore", ".gitignore")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source.read_text("utf-8").replace(_PLACEHOLDER, name), "utf-8")
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror})") from error
