"""Log to MLflow: a store in the run folder, or the server that the user names."""

import csv
import io
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from ablab.safety.redaction import redacted
from ablab.trackers.any_logger import LoggerTracker
from ablab.trackers.base import RunInfo

_URI = "MLFLOW_TRACKING_URI"


class MLflowTracker(LoggerTracker):
    """Lightning's ``MLFlowLogger``; a continued run goes on under its id, and logs nothing twice.

    The store is the config's ``tracking_uri``, else that of the environment, which is
    ``MLFLOW_TRACKING_URI``, else an SQLite file in the run folder.
    """

    once_more = ""

    def arguments(self, info: RunInfo, folder: Path) -> dict[str, Any]:
        arguments = {
            "experiment_name": info.group,
            "run_name": info.name,
            "tags": dict(tag.split("=", 1) for tag in info.tags),
            "run_id": info.earlier.get(self.name, {}).get("id"),
            "tracking_uri": os.environ.get(_URI),
        }
        if not arguments["tracking_uri"] and "tracking_uri" not in self._node:
            folder = folder.resolve()
            folder.mkdir(parents=True, exist_ok=True)
            arguments["tracking_uri"] = f"sqlite:///{folder / 'mlflow.db'}"
            arguments["artifact_location"] = (folder / "artifacts").as_uri()
        return arguments

    def opened(self, logger: Any, info: RunInfo) -> dict[str, Any]:
        for library in ("mlflow", "alembic", "lightning.pytorch.loggers.mlflow"):
            logging.getLogger(library).setLevel(logging.ERROR)  # they announce each new table
        before = os.environ.get(_URI)
        client, run_id = logger.experiment, logger.run_id
        # MLflow leaves its store in the environment, where the next run of this process finds it.
        os.environ.pop(_URI, None)
        if before is not None:
            os.environ[_URI] = before
        self._logged: set[tuple[str, int]] = set()
        if self.name in info.earlier and "id" in info.earlier[self.name]:
            client.update_run(run_id, status="RUNNING")
            for key in client.get_run(run_id).data.metrics:
                history = client.get_metric_history(run_id, key)
                self._logged |= {(key, metric.step) for metric in history}
        else:
            logger.log_hyperparams(info.config)
        return {"id": run_id, "uri": redacted(logger._tracking_uri)}

    def send_metrics(self, logger: Any, metrics: Mapping[str, float], step: int) -> None:
        named = {re.sub(r"[^\w/. -]", "_", name, flags=re.ASCII): v for name, v in metrics.items()}
        new = {name: v for name, v in named.items() if (name, step) not in self._logged}
        if new:
            logger.log_metrics(new, step)

    def send_table(self, logger: Any, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([columns, *rows])
        logger.experiment.log_text(logger.run_id, text.getvalue(), f"{name}.csv")

    def send_picture(self, logger: Any, name: str, path: Path, step: int) -> None:
        logger.experiment.log_artifact(logger.run_id, str(path), str(PurePath(name).parent))

    def status(self, exit_code: int) -> str:
        return "FINISHED" if exit_code == 0 else "KILLED" if exit_code > 128 else "FAILED"
