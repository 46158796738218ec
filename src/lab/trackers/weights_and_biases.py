"""Weights & Biases, never in the way of a run.

Lightning's WandbLogger merges the jobs of a multirun into one W&B run, reports crashed jobs as
finished, leaks its mode into the environment, and lets a dead server stop or hang the training.
"""

import contextlib
import logging
import netrc
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlparse

from lightning.pytorch.utilities import rank_zero_only

from lab.config.schema import Positive, Text
from lab.trackers.base import RunInfo, Tracker

if TYPE_CHECKING:
    from wandb.sdk.wandb_run import Run

log = logging.getLogger(__name__)
GRACE_SECONDS = 5.0  # for wandb to keep its own finish_timeout


class WandbTracker(Tracker):
    """A W&B run with the run's name, group, tags, nested config and true exit status.

    Args:
        mode: ``auto`` is online where an API key is configured and off elsewhere; ``offline`` needs
            no account, and ``wandb sync`` sends what it kept.
        init_timeout: seconds to wait for the server, after which the run is tracked offline.
        finish_timeout: seconds to wait at the end for what is still to be sent.
    """

    def __init__(
        self,
        mode: Literal["auto", "online", "offline", "off"] = "auto",
        project: Text = "ablation-lab",
        entity: Text | None = None,
        group: Text | None = None,
        tags: list[Text] | None = None,
        notes: Text | None = None,
        init_timeout: Positive = 30.0,
        finish_timeout: Positive = 60.0,
    ) -> None:
        super().__init__()
        self.mode = resolve_mode(mode)
        self.project = project
        self.entity = entity
        self.group = group
        self.tags = tags or []
        self.notes = notes
        self.init_timeout = init_timeout
        self.finish_timeout = finish_timeout
        self._run: Run | None = None
        self._description: dict[str, Any] = {"mode": self.mode}

    @rank_zero_only
    def attach(self, info: RunInfo) -> None:
        if self.mode == "off":
            log.info(
                "W&B is off (no API key); logger.wandb.mode=offline tracks without an account, "
                "`wandb login` turns it on"
            )
            return
        try:
            self._run = self._start(info, self.mode)
        except Exception as error:
            self._broken("cannot be reached", error, "the run is tracked offline")
            with contextlib.suppress(Exception):
                self._run = self._start(info, "offline")
        if self._run is None:
            return
        folder = str(Path(self._run.dir).parent)
        self._description |= {"id": self._run.id, "mode": "offline", "folder": folder}
        if self._run.offline:
            log.info("W&B: offline; send it with: wandb sync %s", folder)
        else:
            self._description |= {"mode": "online", "url": self._run.url}
            log.info("W&B: %s", self._run.url)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        # with its step given, a row that a continued run logs again is not taken twice
        self._guarded(lambda run: run.log(dict(metrics), step=step))

    @rank_zero_only
    def log_summary(self, values: Mapping[str, float]) -> None:
        self._guarded(lambda run: run.summary.update(dict(values)))

    @rank_zero_only
    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        def send(run: "Run") -> None:
            import wandb

            run.log({name: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

        self._guarded(send)

    @rank_zero_only
    def log_picture(self, name: str, path: Path) -> None:
        def send(run: "Run") -> None:
            import wandb

            run.log({name: wandb.Image(str(path))})

        self._guarded(send)

    @rank_zero_only
    def finish(self, exit_code: int) -> None:
        """Bounded also where wandb's own time limit is not kept."""
        run, self._run = self._run, None
        if run is None:
            return
        errors: list[Exception] = []

        def finish() -> None:
            try:
                run.finish(exit_code=exit_code)
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=finish, daemon=True)
        started = time.monotonic()
        thread.start()
        thread.join(self.finish_timeout + GRACE_SECONDS)
        if time.monotonic() - started >= self.finish_timeout:  # wandb gives up without raising
            errors.append(TimeoutError(f"no answer in {self.finish_timeout:.0f} s"))
        if errors:
            send = f"send what it has not got with: wandb sync {self._description['folder']}"
            self._broken("could not be finished", errors[0], send)

    @property
    def description(self) -> dict[str, Any]:
        return dict(self._description)

    def _start(self, info: RunInfo, mode: str) -> "Run":
        import wandb

        return wandb.init(
            mode="offline" if mode == "offline" else "online",
            project=self.project,
            entity=self.entity,
            group=self.group or info.group,
            name=info.name,
            tags=[*info.tags, *self.tags],
            notes=self.notes,
            config=info.config,
            dir=info.folder,
            id=info.wandb_id,
            resume="allow",
            job_type=info.job_type,
            settings=wandb.Settings(
                init_timeout=self.init_timeout,
                finish_timeout=self.finish_timeout,
                x_transaction_log_flush_interval=1,  # a killed run loses a second, not fifteen
                console="off",
                silent=True,  # our own lines say what there is to say
                save_code=False,
                disable_git=True,  # the run record has the commit
            ),
        )

    def _guarded(self, action: Callable[["Run"], Any]) -> None:
        if self._run is None:
            return
        try:
            action(self._run)
        except Exception as error:
            self._broken("failed", error, "the run goes on without it, metrics.csv is complete")

    def _broken(self, what: str, error: Exception, consequence: str) -> None:
        """One line for the first fault; the run record keeps it."""
        told = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        if "error" not in self._description:
            log.warning("W&B %s (%s); %s", what, told, consequence)
        self._description.setdefault("error", told)


def resolve_mode(mode: str) -> Literal["online", "offline", "off"]:
    """What ``auto`` comes to here; ``WANDB_MODE`` of the environment counts for ``auto`` alone."""
    if mode in ("online", "offline", "off"):
        return mode  # type: ignore[return-value]
    match os.environ.get("WANDB_MODE"):
        case "offline":
            return "offline"
        case "disabled":
            return "off"
    return "online" if has_api_key() else "off"


def has_api_key() -> bool:
    """Whether wandb would find a key, without importing it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False
