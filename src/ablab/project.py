"""The user's project: its folder, its config files, its packages.

The project is the folder of ``train.py``. A program that is not started through it (``ablab
report``, a notebook) finds it from the working folder. A run folder never says which project it
belongs to: a stranger's run must not vouch for its own code.
"""

import functools
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

ENGINE_CONF = Path(__file__).parent / "conf"
TRAIN_FILE = "train.py"


@dataclass(frozen=True)
class Project:
    """A folder with ``train.py``, ``conf/`` and the user's packages in ``src/``.

    Args:
        is_trusted: False for a folder that is only the working folder: its files are not read, and
            it has no packages.
    """

    folder: Path
    is_trusted: bool = True

    @property
    def train_file(self) -> Path:
        return self.folder / TRAIN_FILE

    @property
    def conf(self) -> Path:
        return self.folder / "conf" if self.is_trusted else ENGINE_CONF

    @functools.cached_property  # A check of a config asks for it for each component.
    def packages(self) -> tuple[str, ...]:
        """Names of the packages and modules in ``src/``: classes of these may be built."""
        if not self.is_trusted:
            return ()
        found = {
            path.stem
            for path in (self.folder / "src").glob("*")
            if path.suffix == ".py" or (path / "__init__.py").is_file()
        }
        engine = {"ablab", "hydra_plugins"}  # where the project is the engine's own repository
        return tuple(sorted(name for name in found - engine if name.isidentifier()))

    def modules(self, name: str) -> list[ModuleType]:
        """Import the module ``name`` of each package that has one (``datasets``, say)."""
        source = self.folder / "src"
        return [
            import_module(f"{package}.{name}")
            for package in self.packages
            if (source / package / f"{name}.py").is_file()
        ]

    def config_files(self, group: str) -> dict[str, Path]:
        """The files that can be chosen for ``group``, by name; the project's hide the engine's."""
        return {
            path.stem: path
            for conf in (ENGINE_CONF, self.conf)
            for path in sorted((conf / group).glob("*.yaml"))
        }

    def is_group(self, key: str) -> bool:
        """Return whether ``key=…`` chooses a config file (``optim=sgd``) and sets no value."""
        return any((conf / key).is_dir() for conf in (self.conf, ENGINE_CONF))


_current: Project | None = None


def use(train_file: str | Path) -> Project:
    """Make the folder of ``train_file`` this process's project, and its packages importable."""
    global _current
    _current = Project(Path(train_file).resolve().parent)
    _import_from(_current)
    return _current


def current() -> Project:
    """Return the project that ``use`` named, else the nearest one around the working folder.

    If there is none, the working folder is returned as a project that is not trusted. A run folder
    and what lies within it is never a project, since it may be a stranger's.
    """
    if _current is not None:
        return _current
    here, found = Path.cwd(), None
    for folder in (*reversed(here.parents), here):
        if any((folder / name).exists() for name in ("run.json", "plan.json")):
            break
        if (folder / TRAIN_FILE).is_file() and (folder / "conf").is_dir():
            found = Project(folder)
    if found is None:
        return Project(here, is_trusted=False)
    _import_from(found)
    return found


def _import_from(project: Project) -> None:
    """Put ``src/`` first on the import path, so that its packages need not be installed."""
    source = str(project.folder / "src")
    if project.packages and source not in sys.path:
        sys.path.insert(0, source)


@functools.cache
def git_state() -> Mapping[str, Any]:
    """Return the project's commit and whether files differ from it, or why git cannot tell.

    ``dirty`` counts changes to tracked files, and untracked files of the project that git does not
    ignore. It is the state at the first call: a process goes on with the code that it has imported.
    """
    project = current()

    def git(*arguments: str) -> str:
        # Without a lock, since a killed run would leave it behind in the user's repository, and
        # without a file system monitor, since a git config can name any program as one.
        options = ["--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(project.folder)]
        return subprocess.run(
            ["git", *options, *arguments],
            # GIT_DIR and its like would make git answer for another repository.
            env={k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=True,
            timeout=10,
        ).stdout.strip()

    try:
        commit = git("rev-parse", "--verify", "HEAD")
        # A repository around the project that does not track its files says nothing about them.
        git("ls-files", "--error-unmatch", str(project.train_file))
        changed = git("status", "--porcelain", "--untracked-files=no")
        untracked = git("status", "--porcelain", "--untracked-files=normal", ".")
    except FileNotFoundError:
        return {"error": "git is not installed"}
    except subprocess.CalledProcessError as error:
        return {"error": " ".join(error.stderr.split())}
    except (OSError, subprocess.SubprocessError) as error:
        return {"error": str(error)}
    return {"commit": commit, "dirty": bool(changed or untracked)}
