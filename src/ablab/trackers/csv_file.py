"""Log the history of a run to a CSV file that loses at most its last row to ``kill -9``."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from ablab.config.schema import CsvName
from ablab.config.written import pasteable
from ablab.errors import ConfigError, RunFolderError
from ablab.runs.history import FILE_NAME, read_history
from ablab.safety.atomic_files import atomic_write
from ablab.safety.printable import relative
from ablab.trackers.base import RunInfo, Tracker


class CSVTracker(Tracker):
    """``metrics.csv``: a row for each report, ``step`` (optimiser steps) first, gaps left empty.

    Every run relies on this file, so a row that cannot be written stops the run.

    Raises:
        RunFolderError: the folder cannot be written, or the disk is full.
    """

    def __init__(self, file_name: CsvName = FILE_NAME) -> None:
        super().__init__()
        if Path(file_name).name != file_name:
            raise ConfigError(
                f"logger: file_name should be a name in the run folder, not '{file_name}'"
            )
        self.file_name = file_name
        self.path: Path | None = None
        self._columns: list[str] = []

    @rank_zero_only
    def attach(self, info: RunInfo) -> None:
        self.path = (info.folder / self.file_name).absolute()
        self._columns, rows = read_history(self.path)
        self._rewrite([row for row in rows if int(row["step"]) <= info.from_step])

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row = {"step": step, **metrics}
        new = [name for name in row if name not in self._columns]
        if new:
            _, rows = read_history(self._file)
            self._columns += new
            self._rewrite([*rows, row])
            return
        try:
            with self._file.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        except OSError as error:
            raise self._cannot_write(error) from error

    def finish(self, exit_code: int) -> None:
        return

    @property
    def description(self) -> dict[str, Any]:
        return {"file": self.file_name}

    @property
    def _file(self) -> Path:
        assert self.path is not None, "attach() comes first"
        return self.path

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        if self._columns:
            writer.writeheader()
        writer.writerows(rows)
        content = text.getvalue().encode()
        try:
            if not self._file.is_file() or self._file.read_bytes() != content:
                with atomic_write(self._file) as file:
                    file.write(content)
        except OSError as error:
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> RunFolderError:
        file = relative(self._file)
        return RunFolderError(
            f"{file}: cannot be written ({error.strerror}); make room, then continue with "
            f"python train.py task=fit {pasteable('run', str(file.parent))}"
        )
