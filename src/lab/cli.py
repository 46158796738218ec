"""What stands around Hydra at the command line: overrides, the run folder, and errors that help."""

import contextlib
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from lab.config.check import check, first_line
from lab.config.hydra_nodes import check_hydra
from lab.config.schema import Config
from lab.config.suggestions import suggestion
from lab.errors import ConfigError, RankError, RunFolderError, TrainingError, UserError
from lab.interruption import RunInterrupted
from lab.printable import printable
from lab.quick_start import import_torchmetrics
from lab.record import RunRecord
from lab.secrets import redacted, refuse_secrets

_started: float | None = time.perf_counter()
CONF = Path(__file__).resolve().parents[2] / "conf"
# What torchrun, SLURM, LSF or Lightning leave in the environment of a rank's process.
RANK_VARIABLES = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"),
    *("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"),
    "JSM_NAMESPACE_RANK",
)
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")  # in Lightning's order
_EXTRAS = {"submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray"}  # optional launchers
_OF_ALL_RANKS = (ConfigError, TrainingError, RankError)
_ASSIGNMENT = re.compile(r"^([A-Za-z_][\w.]*)=(\{)?")


def rank_of_environment() -> int:
    """Which process of its run this one is, by what its launcher says; 0 where there is one."""
    ranks = [os.environ[name] for name in _RANKS if name in os.environ]
    return int(ranks[0]) if ranks else 0


def seconds_since_start() -> float:
    """From the program's start to the first call; 0 for the later jobs of a sweep."""
    global _started
    seconds = 0.0 if _started is None else time.perf_counter() - _started
    _started = None
    return seconds


def force_overrides(arguments: list[str], conf: Path = CONF) -> list[str]:
    """``a.b=c`` becomes ``++a.b=c``, so that our own check, not Hydra's, meets every key.

    Hydra refuses an argument that a class takes but no file mentions (``trainer.accelerator=cpu``)
    as it refuses a typo, and advises ``+``, which lets typos through. Group choices stay as is;
    ``model={…}`` is none.
    So does ``a.b=null``, which switches off what a file mentions, and would pass for a typo.
    """
    return [
        f"++{a}"
        if (m := _ASSIGNMENT.match(a))
        and not m[1].startswith("hydra.")
        and (m[2] or not is_group(m[1], conf))
        and not a.endswith("=null")  # there is nothing to switch off where no file mentions it
        else a
        for a in arguments
    ]


def is_group(key: str, conf: Path = CONF) -> bool:
    """Whether ``key=…`` chooses a file (``optim=sgd``) and does not set a value."""
    return (conf / key).is_dir()


def refuse_unknown_options(arguments: list[str]) -> None:
    """Raises ConfigError for ``--max_epochs=3``, at which Hydra prints its whole usage."""
    _, rest = get_args_parser().parse_known_args(arguments)
    options = [a for a in rest if a.startswith("-")]
    if options:
        raise ConfigError(
            f"{options[0]}: no such option; a setting has no dashes: trainer.max_epochs=3 "
            f"(python train.py --help shows them all)"
        )


def check_what_hydra_builds() -> None:
    """Have every config that Hydra composes checked before Hydra builds anything of it."""
    compose = ConfigLoaderImpl.load_configuration
    if compose.__module__ == __name__:
        return

    def composed(*arguments: Any, **settings: Any) -> DictConfig:
        cfg = compose(*arguments, **settings)
        check_hydra(cfg)
        return cfg

    ConfigLoaderImpl.load_configuration = composed  # Hydra has no place for a check of one's own


def run_folder(runs: str, name: str, run: str | None) -> str:
    """Where a run lives: the folder given by ``run=…``, else a new one named by the time.

    Of a new run only rank 0 knows the folder where torchrun or srun has started the others; they
    write nothing.
    """
    if run is None and rank_of_environment() > 0:
        return str(Path(runs) / name)
    if run is None:
        return str(Path(runs) / name / datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f"))
    if not (Path(run) / "run.json").is_file():
        raise RunFolderError(f"run={run}: no run is there (no file run.json)")
    return run


def sweep_folder(runs: str, name: str, run: str | None, plan: str | None) -> str:
    """Where the runs of a sweep live; that of a plan is found again by its name."""
    if run is not None:
        return str(Path(run).parent)
    if plan is not None:
        return str(Path(runs) / "ablation" / plan)
    return str(Path(runs) / name / datetime.now().strftime("multirun_%Y-%m-%d_%H-%M-%S-%f"))


def register_resolvers() -> None:
    # cached: Lightning asks again where the run is, for the processes of the other ranks
    OmegaConf.register_new_resolver("run_folder", run_folder, replace=True, use_cache=True)
    # as a job of a sweep: its folder is there already
    OmegaConf.register_new_resolver(
        "run_name", lambda run, number: number if run is None else Path(run).name, replace=True
    )
    OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True, use_cache=True)


class JobFailed(BaseException):
    """Carries a single run's exception past Hydra, which would announce it in its own words."""


def execute(cfg: DictConfig) -> float | None:
    """Check a composed config, and only then import what is slow and run it."""
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    try:
        config = _checked(cfg, hydra.overrides.task, folder)
        import_torchmetrics()
        from lab.run import run  # imports torch

        return run(config, _relative(folder), list(hydra.overrides.task))
    except Exception as error:
        if hydra.mode == RunMode.RUN:
            raise JobFailed from error
        raise  # the sweep goes on with its next job


def execute_run(cfg: DictConfig) -> float | None:
    """As ``execute``, of a job that ``run=FOLDER`` names: its record brings a config to check."""
    import_torchmetrics()
    from lab.run import continue_run  # imports torch

    return continue_run(_relative(Path(cfg.run)))


def _checked(cfg: DictConfig, overrides: list[str], folder: Path) -> Config:
    try:
        if cfg.run is not None:
            refuse_other_settings(cfg, overrides)
        if "ablation" in cfg:
            raise ConfigError("ablation: a plan is many runs: python train.py -m ablation=NAME")
        try:
            config = check(cfg)
        except ConfigError as error:
            experiment = HydraConfig.get().runtime.choices.get("experiment")
            raise ConfigError(name_experiment(str(error), experiment)) from error
        refuse_new_phases(cfg, overrides)
    except ConfigError:
        for empty in (folder, folder.parent):  # Hydra has made them already
            with contextlib.suppress(OSError):  # it is not empty, or another rank was faster
                empty.rmdir()
        raise
    return config


def refuse_other_settings(cfg: DictConfig, overrides: list[str]) -> None:
    """Raises ConfigError for what is said beside a run folder, and is not as the run has it.

    ``trainer.max_epochs`` is let through for a fit: whether the run may be that long shows later.
    """
    run = OmegaConf.create(RunRecord.read(Path(cfg.run)).config)
    differing = []
    for override in overrides:
        key = override.lstrip("+~").split("=")[0]
        if key in ("task", "run") or (key == "trainer.max_epochs" and cfg.task == "fit"):
            continue
        ours, said = OmegaConf.select(run, key), OmegaConf.select(cfg, key)
        told = override.removeprefix("++")
        if key in ("experiment", "ablation"):
            differing.append(told)
        elif isinstance(ours, DictConfig) and isinstance(said, DictConfig):
            names = [f"{key}.{n}" for n in {**ours, **said} if ours.get(n) != said.get(n)]
            differing += [f"{told} (another {', '.join(names)})"] if names else []
        elif ours != said:
            differing.append(f"{told} (the run has {ours})")
    if differing:
        raise ConfigError(
            f"run: a run folder brings its own config; leave out {', '.join(differing)}"
        )


def name_experiment(faults: str, experiment: str | None, conf: Path = CONF) -> str:
    """``faults`` with the remedy for keys that ``experiment`` sets, and another choice lacks."""
    file = conf / "experiment" / f"{experiment}.yaml"
    if not file.is_file():
        return faults
    stated = OmegaConf.load(file)
    lines = []
    for line in faults.splitlines():
        key, unknown, _ = line.partition(": unknown key")
        if unknown and OmegaConf.select(stated, key) is not None:
            line = f"{key}: unknown key, which experiment={experiment} sets; leave it out: ~{key}"
        lines.append(line)
    return "\n".join(lines)


def refuse_new_phases(cfg: DictConfig, overrides: list[str]) -> None:
    """``phases.hed.epochs=1`` would add a phase of that name; ``+phases.NAME={…}`` is meant to."""
    for name, phase in cfg.phases.items():
        start = f"++phases.{name}."
        said = {o.removeprefix(start).split("=")[0] for o in overrides if o.startswith(start)}
        if said and set(phase) <= said:
            others = [str(other) for other in cfg.phases if other != name]
            raise ConfigError(
                f"phases.{name}: no such phase{suggestion(str(name), others)} "
                f"(a new one: +phases.{name}={{epochs: 1}})"
            )


def _relative(folder: Path) -> Path:
    """As the user would type it."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def run_with_clear_errors(main: Callable[[], None]) -> None:
    """Run a ``hydra.main`` function; what the user can mend is one line and exit status 2."""
    show_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let Hydra raise what it would print in its own words
    register_resolvers()
    sys.argv[1:] = force_overrides(sys.argv[1:])
    if {"-m", "--multirun"} & set(
        sys.argv
    ):  # a sweep is nobody's rank, and its jobs start their own
        for name in RANK_VARIABLES:
            os.environ.pop(name, None)
    try:
        refuse_unknown_options(sys.argv[1:])
        refuse_secrets(sys.argv[1:])
        check_what_hydra_builds()
        main()
    except RunInterrupted as stop:
        sys.exit(stop.exit_code)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # who reads has seen enough: train.py --help | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except (JobFailed, Exception) as failure:
        error = failure.__cause__ or failure if isinstance(failure, JobFailed) else failure
        told = as_user_error(error)
        if told is None or show_traceback:
            print(redacted("".join(traceback.format_exception(error))), file=sys.stderr)  # noqa: T201
            sys.exit(1 if told is None else told.exit_status)
        # what all ranks meet, and what another has met, is rank 0's to tell
        if not (rank_of_environment() and isinstance(told, _OF_ALL_RANKS)):
            _print_error(told)
        sys.exit(told.exit_status)


def as_user_error(error: BaseException) -> UserError | None:
    """``error`` as something the user can mend, or None if it is a fault of the program."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return cause
        if _is_out_of_memory(cause):
            return UserError(
                f"not enough memory ({str(cause).splitlines()[0]}); take smaller batches "
                f"(data.batch_size, data.eval_batch_size), a smaller model or fewer rows"
            )
        # OmegaConf names no cause when a resolver raises
        from_resolver = isinstance(cause, OmegaConfBaseException)
        cause = cause.__cause__ or (cause.__context__ if from_resolver else None)
    if isinstance(error, MarkedYAMLError):
        where = error.problem_mark or error.context_mark
        at = f"{where.name}, line {where.line + 1}" if where else "a config file"
        return ConfigError(f"{at}: is no YAML ({error.problem or error.context})")
    if isinstance(error, OverrideParseException):
        said = error.override.removeprefix("++")
        told = [line for line in str(error).splitlines() if "Error parsing override" not in line]
        return ConfigError(f"{said}: cannot be read as KEY=VALUE ({told[0]})")
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        if choice in _EXTRAS:
            return ConfigError(
                f"{group}: '{choice}' is not installed; pip install -e '.[{_EXTRAS[choice]}]' "
                f"(docs/launchers.md)"
            )
        if error.options:
            return ConfigError(f"{group}: no '{choice}'{suggestion(choice, list(error.options))}")
    if not isinstance(error, HydraException | OmegaConfBaseException) and not _raised_by_hydra(
        error
    ):
        return None
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return RunFolderError(
            f"{error.filename}: the run folder cannot be made ({error.strerror}); "
            f"choose another with paths.runs=…"
        )
    told = _without_append_advice(error)
    unknown = re.search(r"Could not override '([^']+)'", told)
    if unknown and "not in struct" in told:  # KEY=null, or Hydra's: others are forced past Hydra
        told = f"{unknown[1]}: unknown key"
        if unknown[1].startswith("hydra."):
            told += _suggestion_of_hydra(unknown[1])
        else:
            told += "; nothing of that name is there to be null"
    return ConfigError(told)


def _is_out_of_memory(error: BaseException) -> bool:
    """Of NumPy, of torch on a GPU, of torch on a CPU; torch is not imported for it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return str(error) != ""
    return isinstance(error, RuntimeError) and "you tried to allocate" in str(error)


def _suggestion_of_hydra(key: str) -> str:
    """For ``hydra.launcher.KEY`` and ``hydra.sweeper.KEY``: the keys of the files that we have."""
    group, _, word = key.rpartition(".")
    files = (CONF / group.replace(".", "/")).glob("*.yaml")
    ours = {str(k) for file in files for k in OmegaConf.load(file)} - {"_target_", "defaults"}  # type: ignore[union-attr]
    return suggestion(word, sorted(ours))


def _raised_by_hydra(error: BaseException) -> bool:
    """Whether Hydra itself raised, as it does (ValueError) for ``trainer=null``."""
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    ours = [file for file in files if file.parent != Path(os.__file__).parent]  # not the library's
    return bool(ours) and "hydra" in ours[-1].parts


def _without_append_advice(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if "append" not in line and line.strip()]
    causes = first_line(error.__cause__) if error.__cause__ else ""
    return "\n".join(dict.fromkeys([*lines[:2], *([causes] if causes else [])]))


def _print_error(error: UserError) -> None:
    first, *rest = printable(redacted(str(error))).splitlines()
    if rest and isinstance(error, ConfigError):
        first, rest = f"{len(rest) + 1} faults", [first, *rest]
    print("\n  ".join([f"error: {first}", *rest]), file=sys.stderr)  # noqa: T201
