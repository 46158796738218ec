"""Copies of the repository as a clone has it, with the files that are not committed yet."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.launch import ROOT


def clone_into(folder: Path, *, but: Sequence[str] = ()) -> Path:
    """Make ``folder`` a git repository with one commit of this repository's files.

    Args:
        but: folders that are left out.
    """
    left_out = tuple(f"{path}/" for path in but)
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for path in filter(None, listed.split("\0")):
        if (ROOT / path).is_file() and not path.startswith(left_out):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
    _git("init", "--quiet", cwd=folder)
    _git("config", "user.name", "Reader", cwd=folder)
    _git("config", "user.email", "reader@example.org", cwd=folder)
    _git("-c", "core.compression=0", "add", ".", cwd=folder)  # takes a third less
    _git("commit", "--quiet", "--message", "A clone", cwd=folder)
    return folder


def _git(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout
