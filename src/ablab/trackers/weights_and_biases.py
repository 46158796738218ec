"""Log to Weights & Biases without ever stopping a run.

Lightning's WandbLogger merges the jobs of a multirun into one W&B run, reports crashed jobs as
finished, leaks its mode into the environment, and lets a dead server stop or hang the training.
"""

import contextlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning.pytorch.utilities import rank_zero_only

from ablab.config.schema import Positive, Text
from ablab.errors import first_line
from ablab.trackers.base import RunInfo, Tracker
from ablab.trackers.import_wandb import quicken_import

if TYPE_CHECKING:
    from wandb.sdk.wandb_run import Run

log = logging.getLogger(__name__)
GRACE_SECONDS = 5.0  # wandb gets this long to keep its own finish_timeout


class WandbTracker(Tracker):
    """A W&B run with the run's name, group, tags, nested config and true exit status.

    Args:
        mode: ``auto`` follows wandb's own settings (``WANDB_MODE``, ``wandb offline``), and is off
            without an API key; ``offline`` needs no account, and ``wandb sync`` sends its files.
        project: by default ``WANDB_PROJECT``, else ``ablation-lab``.
        entity, group, tags, notes: as in wandb; what is None or empty follows wandb's settings.
        init_timeout: seconds to wait for the server; after that, the run is tracked offline.
        finish_timeout: seconds to wait at the end for data that are still to be sent.
    """

    def __init__(
        self,
        mode: Literal["auto", "online", "offline", "off"] = "auto",
        project: Text | None = None,
        entity: Text | None = None,
        group: Text | None = None,
        tags: list[Text] | None = None,
        notes: Text | None = None,
        init_timeout: Positive = 30.0,
        finish_timeout: Positive = 60.0,
    ) -> None:
        super().__init__()
        self.mode: Literal["online", "offline", "off"]
        quicken_import()
        self.mode, self._why_off = resolve_mode(mode)
        self._follows_wandb = mode == "auto"
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
            log.info("W&B is off (%s)", self._why_off)
            return
        try:
            if self.mode == "online" and self._follows_wandb:
                # The mode of wandb's own settings may be another online one, such as shared.
                self._run = self._start(info, None)
            else:
                self._run = self._start(info, self.mode)
        except Exception as error:
            with contextlib.suppress(Exception):
                self._run = self._start(info, "offline")
            tracked = "tracked offline" if self._run else "not tracked"
            self._broken("cannot be reached", error, f"the run is {tracked}")
        if self._run is None:
            return
        folder = str(Path(self._run.dir).parent)
        self._description |= {"id": self._run.id, "mode": "offline", "folder": folder}
        if self._run.offline:
            log.info("W&B: offline; send it with: wandb sync %s", folder)
        else:
            self._description |= {"mode": "online", "url": self._run.url}
            log.info("W&B: %s", self._run.url)

    def attach_plan(self, info: RunInfo) -> bool:
        """Start the W&B run of a plan's table, in the group of its jobs."""
        if self.mode == "online":  # a server that could not be reached is not waited for again
            self.mode = info.earlier[type(self).__name__]["mode"]
        self.attach(info)
        return True

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        # wandb drops a row whose step it has already, which a continued run logs again.
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
        """Finish the W&B run, within a bounded time even if wandb exceeds its own time limit."""
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
        if time.monotonic() - started >= self.finish_timeout:  # wandb gives up without an error
            errors.append(TimeoutError(f"no answer in {self.finish_timeout:.0f} s"))
        if errors:
            send = f"send the rest with: wandb sync {self._description['folder']}"
            self._broken("could not be finished", errors[0], send)

    @property
    def description(self) -> dict[str, Any]:
        return dict(self._description)

    def _start(self, info: RunInfo, mode: Literal["online", "offline"] | None) -> "Run":
        """Start a W&B run; wandb's own settings fill in what the config leaves open."""
        import wandb
        from wandb.sdk import wandb_setup

        own = wandb_setup.singleton().settings
        # WANDB_RUN_ID and WANDB_NAME are for one run: two jobs with one id would be one W&B run.
        new_id = uuid.uuid4().hex[:8] if info.in_plan else None
        run = wandb.init(
            mode=mode,
            project=self.project or own.project or "ablation-lab",
            entity=self.entity,
            group=self.group or own.run_group or info.group,
            name=info.name if info.in_plan else own.run_name or info.name,
            tags=[*info.tags, *self.tags, *(own.run_tags or ())],
            notes=self.notes,
            config=info.config,
            dir=info.folder,
            id=info.earlier.get(type(self).__name__, {}).get("id") or new_id,
            resume="allow",
            job_type=info.job_type or own.run_job_type or "fit",
            reinit="create_new" if info.beside_others else None,
            settings=wandb.Settings(
                init_timeout=self.init_timeout,
                finish_timeout=self.finish_timeout,
                x_transaction_log_flush_interval=1,  # a killed run loses a second, not fifteen
                console="off",
                silent=True,  # this tracker logs its own lines
                save_code=False,
                disable_git=True,  # the run record has the commit
            ),
        )
        # It links to wandb's cache, and a run with a link out of its folder cannot be continued.
        with contextlib.suppress(OSError):
            (Path(run.dir).parent / "logs" / "debug-core.log").unlink()
        return run

    def _guarded(self, action: Callable[["Run"], Any]) -> None:
        if self._run is None:
            return
        try:
            action(self._run)
        except Exception as error:
            self._broken("failed", error, "the run continues without it")

    def _broken(self, what: str, error: Exception, consequence: str) -> None:
        """Log one line for the first error; the run record keeps it."""
        cause = f"{type(error).__name__}: {first_line(error)}"
        if "error" not in self._description:
            log.warning("W&B %s (%s); %s", what, cause, consequence)
        self._description.setdefault("error", cause)


def resolve_mode(mode: str) -> tuple[Literal["online", "offline", "off"], str]:
    """Return the mode that ``mode`` means here and, if that is off, the reason.

    For ``auto``, wandb's own settings decide: its variables (``WANDB_MODE``), then its files, which
    ``wandb offline`` writes.
    """
    if mode != "auto":
        return mode, "logger.wandb.mode=off"  # type: ignore[return-value]
    if os.environ.get("WANDB_DISABLED", "").lower() not in ("", "0", "false", "no", "off"):
        return "off", "WANDB_DISABLED is set"
    no_key = (
        "no API key; logger.wandb.mode=offline tracks without an account, `wandb login` turns it on"
    )
    if not _is_configured():
        return "off", no_key
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib import wbauth

    try:
        settings = wandb_setup.singleton().settings
        if settings.mode == "disabled":
            return "off", "wandb's own settings say disabled"
        if settings.mode in ("offline", "dryrun"):
            return "offline", ""
        key = wbauth.authenticate_session(
            host=settings.base_url, source="ablation-lab", prompt=False, update_session=False
        )
    except Exception as error:
        wandb_setup.teardown()  # or wandb would continue online with half-read settings
        return "off", f"wandb refuses its settings: {' '.join(str(error).split())}"
    return ("online", "") if key else ("off", no_key)


def _is_configured() -> bool:
    """Return whether wandb may be configured here; if not, its slow import is avoided."""
    files = ("~/.config/wandb/settings", "wandb/settings", ".wandb/settings", "~/.netrc")
    return any(name == "NETRC" or name.startswith("WANDB_") for name in os.environ) or any(
        Path(file).expanduser().exists() for file in files
    )
