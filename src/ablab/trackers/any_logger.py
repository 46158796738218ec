"""Log to any of Lightning's loggers without ever stopping a run, or holding it up for long."""

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import (
    DummyExperiment,  # pyright: ignore[reportPrivateImportUsage]
)
from lightning.pytorch.utilities import rank_zero_only

from ablab.config.instantiate import instantiate
from ablab.config.targets import component_signature
from ablab.errors import first_line
from ablab.safety.redaction import redacted
from ablab.trackers.base import RunInfo, Tracker

log = logging.getLogger(__name__)
START_SECONDS = 60.0  # a logger gets this long to open: MLflow makes the tables of its store
CALL_SECONDS = 5.0  # and this long for a call; after that the run goes on beside it
END_SECONDS = 60.0
_MOST_WAITING = 10_000  # calls; if more are waiting, the next ones are lost

Action = Callable[[Any], Any]


class LoggerTracker(Tracker):
    """A logger that a config names by ``_target_``; it lives in a thread of its own.

    The run waits for a call as long as the logger answers in time, so that nothing which was logged
    is lost if the run is killed. Once the logger is late, its calls wait for it, and the run does
    not. An error is one line in the log, and the record keeps it.

    Args:
        name: the logger's name in the config's section ``logger``, under which the record keeps it.
        node: its ``_target_`` and arguments. A path ``save_dir`` is relative to the run folder.
    """

    once_more = "may have twice what was logged after the checkpoint"  # of a continued run

    def __init__(self, name: str, node: Mapping[str, Any]) -> None:
        super().__init__()
        self._name, self._node = name, dict(node)
        self._logger: Any = None
        self._calls: queue.Queue[Action | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._late = False
        self._lost = 0
        self._step = 0
        self._description: dict[str, Any] = {"class": node["_target_"]}

    # -- what a kind of logger may do in its own way -----------------------------------------------

    def arguments(self, info: RunInfo, folder: Path) -> dict[str, Any]:
        """Return arguments for those that the config leaves out; ``folder`` is for its files."""
        return {"save_dir": str(folder)}

    def opened(self, logger: Any, info: RunInfo) -> dict[str, Any]:
        """Begin to log; return what the record keeps beside the class."""
        logger.log_hyperparams(info.config)
        return {}

    def send_metrics(self, logger: Any, metrics: Mapping[str, float], step: int) -> None:
        logger.log_metrics(dict(metrics), step)
        logger.save()

    def send_summary(self, logger: Any, values: Mapping[str, float], step: int) -> None:
        self.send_metrics(logger, values, step)

    def send_table(self, logger: Any, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        if hasattr(logger, "log_table"):  # as of Lightning's own logger of W&B
            logger.log_table(name, columns, rows)

    def send_picture(self, logger: Any, name: str, path: Path, step: int) -> None:
        if hasattr(logger, "log_image"):
            logger.log_image(name, [str(path)], step)

    def status(self, exit_code: int) -> str:
        """Return Lightning's word for the end of a run."""
        return "success" if exit_code == 0 else "aborted" if exit_code > 128 else "failed"

    # -- the tracker -------------------------------------------------------------------------------

    @rank_zero_only
    def attach(self, info: RunInfo) -> None:
        folder = info.folder / self._node.get("save_dir", self._name)
        given = {**self._node, **({"save_dir": str(folder)} if "save_dir" in self._node else {})}
        taken = component_signature(self._node["_target_"]).types
        self._step = info.from_step

        def open_logger(_: None) -> None:
            filled = {k: v for k, v in self.arguments(info, folder).items() if k in taken}
            logger: Logger = instantiate({**filled, **given})
            self._description |= self.opened(logger, info)
            self._logger = logger  # from here on it takes calls

        if self.name in info.earlier and self.once_more:
            log.warning("logger.%s: %s", self.name, self.once_more)
        self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
        self._thread.start()
        self._call(open_logger, START_SECONDS)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._step = at = self._step if step is None else step
        self._call(lambda logger: self.send_metrics(logger, metrics, at))

    @rank_zero_only
    def log_summary(self, values: Mapping[str, float]) -> None:
        self._call(lambda logger: self.send_summary(logger, values, self._step))

    @rank_zero_only
    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        cells = [list(row) for row in rows]
        self._call(lambda logger: self.send_table(logger, name, list(columns), cells))

    @rank_zero_only
    def log_picture(self, name: str, path: Path) -> None:
        self._call(lambda logger: self.send_picture(logger, name, path, self._step))

    @rank_zero_only
    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Log the graph here, and not in the thread: the model is trained in this one."""
        if self._logger is not None:
            self._guarded(lambda logger: logger.log_graph(model, input_array))

    @rank_zero_only
    def finish(self, exit_code: int) -> None:
        if self._thread is None:
            return
        self._late = False
        self._call(lambda logger: logger.finalize(self.status(exit_code)), END_SECONDS)
        self._thread = None
        waiting = self._calls.unfinished_tasks
        if not waiting:
            self._calls.put(None)
        if self._lost or waiting:
            self._description["lost"] = self._lost + waiting  # calls

    @property
    def experiment(self) -> Any:
        """The logger's own object, for what a model or a callback logs there itself."""
        return DummyExperiment() if self._logger is None else self._logger.experiment

    @property
    def description(self) -> dict[str, Any]:
        return dict(self._description)

    @property
    def name(self) -> str:
        return self._name

    # -- its thread --------------------------------------------------------------------------------

    def _call(self, action: Action, seconds: float | None = None) -> None:
        """Have the thread call ``action`` with the logger, and wait for it while it is in time."""
        if self._thread is None:
            return
        seconds = CALL_SECONDS if seconds is None else seconds
        self._late = self._late and self._calls.unfinished_tasks > 0
        try:
            self._calls.put_nowait(action)
        except queue.Full:
            self._lost += 1
            return
        with self._calls.all_tasks_done:
            if self._late or self._calls.all_tasks_done.wait_for(
                lambda: not self._calls.unfinished_tasks, seconds
            ):
                return
        self._late = True
        self._fault(TimeoutError(f"no answer in {seconds:.0f} s"), "does not wait for it")

    def _work(self) -> None:
        while (action := self._calls.get()) is not None:
            self._guarded(action)
            self._calls.task_done()

    def _guarded(self, action: Action) -> None:
        try:
            if self._logger is None and "error" in self._description:  # it could not be opened
                self._lost += 1
            else:
                action(self._logger)
        except BaseException as error:
            self._lost += 1
            self._fault(error.__cause__ or error)  # Hydra's own says only what it was building

    def _fault(self, error: BaseException, consequence: str = "goes on without it") -> None:
        """Log one line for the first error; the run record keeps it."""
        cause = redacted(f"{type(error).__name__}: {first_line(error)}")
        if "error" not in self._description:
            log.warning("logger.%s failed (%s); the run %s", self.name, cause, consequence)
        self._description.setdefault("error", cause)
