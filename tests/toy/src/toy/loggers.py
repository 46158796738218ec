"""Loggers of a user's own: one that keeps what it gets, and one that fails or hangs."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger


class Lines(Logger):
    """A line of JSON in ``log.jsonl`` for each call."""

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        Path(save_dir).mkdir(parents=True, exist_ok=True)
        self.path = Path(save_dir, "log.jsonl")

    @property
    def name(self) -> str:
        return "lines"

    @property
    def version(self) -> str:
        return ""

    def write(self, **line: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        self.write(config=params)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.write(step=step, metrics=metrics)

    def log_table(self, key: str, columns: list[str], data: list[list[Any]]) -> None:
        self.write(table=key, columns=columns, rows=data)

    def log_image(self, key: str, images: list[str], step: int) -> None:
        self.write(image=key, exists=all(Path(path).exists() for path in images))

    def finalize(self, status: str) -> None:
        self.write(status=status)


class Faulty(Lines):
    """Fails, exits or hangs when it is opened, logs a metric or ends."""

    def __init__(
        self,
        save_dir: str,
        when: Literal["open", "metric", "end"],
        how: Literal["raise", "exit", "hang"] = "raise",
    ) -> None:
        super().__init__(save_dir)
        self.when, self.how = when, how
        self.fail("open")

    def fail(self, now: str) -> None:
        if now == self.when:
            if self.how == "hang":
                time.sleep(600)
            raise SystemExit(3) if self.how == "exit" else ConnectionError("no such host")

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.fail("metric")
        super().log_metrics(metrics, step)

    def finalize(self, status: str) -> None:
        self.fail("end")
        super().finalize(status)
