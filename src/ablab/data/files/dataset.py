"""Data sets that are downloaded once, verified by their sha256, and kept."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ablab.data.files.download import MAX_UNPACKED
from ablab.errors import DataError
from ablab.safety.atomic_files import atomic_write

log = logging.getLogger(__name__)
Files = dict[str, bytes]  # file name -> content
THE_COPY = "the verified copy"

_verified: dict[str, tuple[int, ...]] = {}  # sha256 -> the version of a file that has it


@dataclass(frozen=True)
class Source:
    """A place that may have the files; ``fetch`` raises DataError if it does not."""

    name: str
    fetch: Callable[[], Files]


@dataclass(frozen=True)
class Dataset:
    """Files that any of several sources can give, and the verified copy that is made of them.

    Attributes:
        title: the name of the data in messages.
        description, terms: what ``ablab data list`` shows.
        folder: where the verified copy lies, below the folder of all data.
        sha256: the digest of each file by its name. None for a file of which the sources have
            different versions: the copy is then compared with what was downloaded.
        sources: the places that have the files, given the folder of all data; tried in order.
        remedy: what users can do if no source works; ``{root}`` is the folder of all data.
    """

    title: str
    description: str
    terms: str
    folder: str
    sha256: Mapping[str, str | None]
    sources: Callable[[Path], list[Source]]
    remedy: str

    def fetch(self, root: Path) -> tuple[Files, str]:
        """Return the files and where they came from: the copy in ``root``, or the first source.

        Raises:
            DataError: no source has the files (the message says why of each), or the copy cannot
                be written.
        """
        files = self._read_copy(root / self.folder)
        if files is not None:
            return files, THE_COPY
        failures = []
        for source in self.sources(root):
            try:
                files = self._verified(source.fetch())
            except DataError as error:
                failures.append(f"{source.name}: {error}")
                log.info("%s: not from %s (%s)", self.title, source.name, error)
                continue
            log.info("%s: fetched from %s", self.title, source.name)
            self._write_copy(root / self.folder, files)
            return files, source.name
        remedy = f"remedy: {self.remedy.format(root=root)}"
        raise DataError("\n".join([f"{self.title} could not be fetched", *failures, remedy]))

    def _verified(self, files: Files) -> Files:
        for name, sha256 in self.sha256.items():
            if sha256 not in (None, _digest(files[name])):
                raise DataError(
                    f"{name} is not that of {self.title}: its {len(files[name]):,} bytes have "
                    f"another sha256; it is damaged, cut short or another version"
                )
        return files

    def _read_copy(self, folder: Path) -> Files | None:
        """Return the files of the copy, or None if one is missing or damaged."""
        files = {}
        try:
            for name, sha256 in self.sha256.items():
                expected = sha256 or _digest_file(folder, name).read_text()
                files[name] = _read_verified(folder / name, expected)
        except (OSError, ValueError):
            return None
        return files

    def _write_copy(self, folder: Path, files: Files) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, sha256 in self.sha256.items():
                with atomic_write(folder / name) as file:
                    file.write(files[name])
                if sha256 is None:
                    with atomic_write(_digest_file(folder, name)) as file:
                        file.write(_digest(files[name]).encode())
        except OSError as error:
            raise DataError(
                f"{folder}: cannot be written ({error.strerror}); make room or choose another "
                f"folder with paths.data=…"
            ) from error


def read_file(path: Path, *, max_bytes: int = MAX_UNPACKED) -> bytes:
    """Return the content of a local file, at most ``max_bytes`` of it.

    Raises:
        DataError: there is no such file, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(max_bytes)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error


def _read_verified(path: Path, sha256: str) -> bytes:
    """Return the content of a file. Raises ValueError if it has another sha256.

    A process that runs many jobs computes the sha256 once, unless the file changes meanwhile.
    """
    stat = path.stat()
    content = path.read_bytes()
    version = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if _verified.get(sha256) != version:
        if _digest(content) != sha256:
            raise ValueError(f"{path} is damaged")
        _verified[sha256] = version
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.sha256"
