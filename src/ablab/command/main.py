"""Run ``train.py`` through Hydra: choose the run folder, check the config, set the exit status."""

import contextlib
import copy
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.hydra_config import HydraConfig
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from ablab import project
from ablab.command.compose_once import compose_once
from ablab.command.folders import register_resolvers
from ablab.command.import_lightning import import_lightning
from ablab.command.overrides import (
    config_of_run,
    force_overrides,
    keys_set_by,
    name_experiment,
    only_shows,
    options_first,
    refuse_new_phases,
    refuse_unknown_options,
)
from ablab.command.user_errors import as_user_error
from ablab.config.check import check
from ablab.config.hydra_nodes import check_hydra
from ablab.config.loggers import refuse_missing_packages
from ablab.config.model_faults import refuse_unused
from ablab.config.schema import Config
from ablab.config.yaml_files import check_yaml
from ablab.errors import (
    FAULTS_OF_A_JOB,
    ConfigError,
    RankError,
    RunFolderError,
    TrainingError,
    UserError,
)
from ablab.runs import clock
from ablab.runs.record import RunRecord
from ablab.safety.folder_lock import refuse_links
from ablab.safety.printable import printable, relative
from ablab.safety.redaction import redacted, refuse_secrets
from ablab.safety.signals import RunInterrupted
from ablab.safety.streams import drop_output_errors, end_output, prepare_streams
from ablab.training.launched import forget_ranks, rank_of_environment, settle_ranks

_OF_ALL_RANKS = (ConfigError, TrainingError, RankError)


def check_what_hydra_builds() -> None:
    """Have every file that Hydra reads, and every config that it composes, checked before it acts.

    So the folder of a single run is made after its config is found good.
    """
    if ConfigLoaderImpl.load_configuration.__module__ == __name__:
        return
    compose = compose_once(ConfigLoaderImpl.load_configuration)
    load = ConfigRepository.load_config

    def composed(*arguments: Any, **settings: Any) -> DictConfig:
        cfg = compose(*arguments, **settings)
        check_hydra(cfg)
        if cfg.hydra.mode != RunMode.MULTIRUN:
            settle_ranks(_trainer_of(cfg))
        if cfg.hydra.mode == RunMode.RUN:  # unlike --cfg job, and the jobs of a sweep
            _check_single_run(cfg)
        return cfg

    def loaded(self: ConfigRepository, config_path: str) -> ConfigResult | None:
        found = (source for source in self.get_sources() if source.is_config(config_path))
        if (source := next(found, None)) is not None and source.scheme() == "file":
            check_yaml(Path(source.path, f"{config_path.removesuffix('.yaml')}.yaml"))
        return load(self, config_path)

    # Hydra has no hook for checks.
    ConfigLoaderImpl.load_configuration, ConfigRepository.load_config = composed, loaded


def _check_single_run(cfg: DictConfig) -> None:
    """Raise ConfigError, as ``execute`` would after Hydra has made the run folder."""
    HydraConfig.instance().set_config(cfg)  # a config may refer to it: ${hydra:runtime.output_dir}
    with contextlib.suppress(OmegaConfBaseException), open_dict(cfg.hydra.runtime):
        cfg.hydra.runtime.output_dir = str(Path.cwd() / OmegaConf.select(cfg, "hydra.run.dir"))
    task = copy.deepcopy(cfg)
    with read_write(task), open_dict(task):
        del task["hydra"]
    _checked(task, list(cfg.hydra.overrides.task))


def _trainer_of(cfg: DictConfig) -> dict[str, Any]:
    """Return the trainer's settings, of a run folder's record where one is named.

    They are not checked yet. For anything but a mapping, one device is returned; the check refuses
    it later.
    """
    trainer: Any = None
    with contextlib.suppress(OmegaConfBaseException, RunFolderError):
        if isinstance(cfg.run, str):
            trainer = RunRecord.read(Path(cfg.run)).config.get("trainer")
        elif isinstance(cfg.trainer, DictConfig):
            trainer = OmegaConf.to_container(cfg.trainer, resolve=True)
    return trainer if isinstance(trainer, dict) else {"devices": 1}


class JobFailed(BaseException):
    """Carries a single run's exception past Hydra, which would announce it in its own words."""


def execute(cfg: DictConfig) -> float | None:
    """Check a composed config, and only then import what is slow and run it."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    try:
        config = _checked_in(folder, cfg, hydra_config.overrides.task)
        # This imports rich, which a config that is refused does not need.
        from ablab.terminal import doing

        shows = hydra_config.mode == RunMode.RUN and rank_of_environment() == 0
        with doing("importing torch") if shows else contextlib.nullcontext():
            import_lightning()
            from ablab.training.tasks import run_task

        return run_task(config, relative(folder), list(hydra_config.overrides.task))
    except FAULTS_OF_A_JOB as error:
        if hydra_config.mode == RunMode.RUN:
            raise JobFailed from error
        raise  # the sweep goes on with its next job


def execute_run(cfg: DictConfig) -> float | None:
    """Run the job whose record lies in the folder ``cfg.run``; a plan has checked it."""
    import_lightning()
    from ablab.training.tasks import continue_run  # imports torch

    return continue_run(relative(Path(cfg.run)))


def _checked_in(folder: Path, cfg: DictConfig, overrides: list[str]) -> Config:
    """Check as ``_checked`` does; if the config is refused, remove the folder that Hydra made."""
    try:
        return _checked(cfg, overrides)
    except ConfigError:
        for empty in (folder, folder.parent):  # Hydra has made them already
            with contextlib.suppress(OSError):  # it is not empty, or another rank was faster
                empty.rmdir()
        raise


def _checked(cfg: DictConfig, overrides: list[str]) -> Config:
    if isinstance(cfg.run, str):
        refuse_links(Path(cfg.run))
        cfg = config_of_run(cfg, overrides)
    if "ablation" in cfg:
        raise ConfigError("ablation: a plan is many runs: python train.py -m ablation=NAME")
    experiment = HydraConfig.get().runtime.choices.get("experiment")
    try:
        config = check(cfg)
    except ConfigError as error:
        raise ConfigError(name_experiment(str(error), experiment)) from error
    refuse_new_phases(cfg, overrides)
    refuse_missing_packages(config)
    refuse_unused(config, keys_set_by(overrides, experiment))
    return config


def main(train_file: str) -> None:
    """Run the command line of the project whose ``train.py`` is ``train_file``."""
    clock.start()
    conf = project.use(train_file).conf
    run_with_clear_errors(
        hydra.main(version_base="1.3", config_path=str(conf), config_name="config")(execute)
    )


def run_with_clear_errors(main: Callable[[], None]) -> None:
    """Run a ``hydra.main`` function; print errors that the user can fix as one line, status 2."""
    show_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let Hydra raise what it would print in its own words
    prepare_streams()
    register_resolvers()
    sys.argv[1:] = force_overrides(options_first(sys.argv[1:]))
    try:
        if {"-m", "--multirun"} & set(sys.argv):  # its jobs start their own ranks
            forget_ranks()
        refuse_unknown_options(sys.argv[1:])
        if not only_shows(sys.argv[1:]):
            drop_output_errors()
        refuse_secrets(sys.argv[1:])
        check_what_hydra_builds()
        try:
            main()
        finally:  # Hydra ends --help with sys.exit.
            _flush_output()
    except RunInterrupted as stop:
        sys.exit(stop.exit_code)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # The reader has seen enough: train.py --help | head
        sys.exit(128 + signal.SIGPIPE)
    except (JobFailed, Exception) as failure:
        error = failure.__cause__ or failure if isinstance(failure, JobFailed) else failure
        told = as_user_error(error)
        if told is None or show_traceback:
            shown = printable(redacted("".join(traceback.format_exception(error))))
            print(shown, file=sys.stderr)  # noqa: T201
            sys.exit(1 if told is None else told.exit_status)
        # Every rank raises these errors; only rank 0 prints them.
        if not (rank_of_environment() and isinstance(told, _OF_ALL_RANKS)):
            _print_error(told)
        sys.exit(told.exit_status)
    finally:
        end_output()


def _flush_output() -> None:
    """Write the output that waits; raise UserError if it cannot be written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"standard output cannot be written ({error.strerror})") from error


def _print_error(error: UserError) -> None:
    first, *rest = printable(redacted(str(error))).splitlines()
    if rest and isinstance(error, ConfigError):
        first, rest = f"{len(rest) + 1} faults", [first, *rest]
    print("\n  ".join([f"error: {first}", *rest]), file=sys.stderr)  # noqa: T201
