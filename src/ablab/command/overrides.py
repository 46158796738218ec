"""Prepare the command line for Hydra, and refuse arguments that cannot be meant as written."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig, OmegaConf

from ablab import project
from ablab.config.suggestions import suggestion
from ablab.errors import ConfigError
from ablab.runs.identity import PLACES, with_places
from ablab.runs.record import RunRecord

_WHERE_DATA_LIE = re.compile(rf"paths\.data|data\.(.+\.)?({'|'.join(PLACES)})")
_BESIDE_A_RUN = {  # which settings a task accepts beside run=FOLDER
    "fit": re.compile(r"trainer\.max_epochs"),
    "test": _WHERE_DATA_LIE,
    "predict": _WHERE_DATA_LIE,
}
_ASSIGNMENT = re.compile(r"^([A-Za-z_][\w.]*)=(\{)?")


def force_overrides(arguments: list[str]) -> list[str]:
    """Write ``a.b=c`` as ``++a.b=c``, so that our own check sees every key, and not Hydra's.

    Hydra refuses an argument that a class takes but no file mentions (``trainer.accelerator=cpu``)
    as it refuses a typo, and advises ``+``, which lets typos through. A choice of a group stays as
    it is, unlike ``model={…}``. So does ``a.b=null``: it switches off what a file mentions, and
    with ``++`` a misspelt key would pass.
    """
    return [
        f"++{a}"
        if (m := _ASSIGNMENT.match(a))
        and not m[1].startswith("hydra.")
        and (m[2] or not project.current().is_group(m[1]))
        and not a.endswith("=null")
        else a
        for a in arguments
    ]


def options_first(arguments: list[str]) -> list[str]:
    """Return ``arguments`` with Hydra's options, such as ``-m``, before all else.

    Hydra's parser takes the overrides from one place only, and calls those after ``-m`` unknown.
    """
    overrides = get_args_parser().parse_known_intermixed_args(arguments)[0].overrides
    return [*(a for a in arguments if a not in overrides), *overrides]


def refuse_unknown_options(arguments: list[str]) -> None:
    """Raise ConfigError for an unknown option, for which Hydra would print its whole usage."""
    _, rest = get_args_parser().parse_known_args(arguments)
    options = [a for a in rest if a.startswith("-")]
    if options:
        raise ConfigError(
            f"{options[0]}: no such option; a setting has no dashes: trainer.max_epochs=3 "
            f"(python train.py --help shows them all)"
        )


def only_shows(arguments: list[str]) -> bool:
    """Return whether the command only prints something: ``--help``, ``--cfg job``."""
    options, _ = get_args_parser().parse_known_args(arguments)
    return any((options.help, options.hydra_help, options.cfg, options.info))


def config_of_run(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """Return the config of the run ``cfg.run``, with the settings that are allowed beside ``run=``.

    For a test or a prediction these are the places of the data; ``paths.data`` moves all places
    below it. For a fit it is ``trainer.max_epochs``; ``cfg`` itself is returned then, since whether
    the run can be that long is checked when it is continued.

    Raises:
        ConfigError: another setting is given that differs from the run's.
    """
    run = OmegaConf.create(RunRecord.read(Path(cfg.run)).config)
    changes, differing = {"task": cfg.task, "run": cfg.run}, []
    for override in overrides:
        key = override.lstrip("+~").split("=")[0]
        ours, said = OmegaConf.select(run, key), OmegaConf.select(cfg, key)
        told = override.removeprefix("++")
        if key in ("task", "run"):
            continue
        if (beside := _BESIDE_A_RUN.get(cfg.task)) and beside.fullmatch(key):
            changes[key] = said
        elif key in ("experiment", "ablation"):
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
    if cfg.task == "fit":
        return cfg
    before, now = run.paths.get("data"), changes.get("paths.data")
    if isinstance(before, str) and isinstance(now, str):
        data = OmegaConf.to_container(run.data)
        run.data = with_places(data, lambda place: _moved(place, before, now))
    for key, value in changes.items():
        OmegaConf.update(run, key, value)
    return run


def _moved(place: str, before: str, now: str) -> str:
    path = Path(place)
    return str(Path(now, path.relative_to(before))) if path.is_relative_to(before) else place


def name_experiment(faults: str, experiment: str | None) -> str:
    """Return ``faults``, with a remedy for keys that ``experiment`` sets and other choices lack."""
    file = project.current().config_files("experiment").get(str(experiment))
    if file is None:
        return faults
    stated = OmegaConf.load(file)
    lines = []
    for line in faults.splitlines():
        key, unknown, _ = line.partition(": unknown key")
        if unknown and OmegaConf.select(stated, key) is not None:
            line = f"{key}: unknown key, which experiment={experiment} sets; leave it out: ~{key}"
        lines.append(line)
    return "\n".join(lines)


def keys_set_by(overrides: Sequence[str], experiment: str | None) -> Iterator[str]:
    """Yield the keys that command-line overrides and the file of an experiment set."""
    yield from (override.lstrip("+~").partition("=")[0] for override in overrides)
    file = project.current().config_files("experiment").get(str(experiment))
    if file is not None:
        yield from _keys_of(file, file.stat().st_mtime_ns)


@lru_cache
def _keys_of(file: Path, changed: int) -> list[str]:
    """Return the keys of a file; ``changed`` is when it was, so that each version is read once."""
    return list(map(str, OmegaConf.load(file)))


def refuse_new_phases(cfg: DictConfig, overrides: list[str]) -> None:
    """Raise ConfigError for ``phases.hed.epochs=1``, which would add a phase ``hed``.

    A new phase is written ``+phases.NAME={…}``.
    """
    for name, phase in cfg.phases.items():
        start = f"++phases.{name}."
        said = {o.removeprefix(start).split("=")[0] for o in overrides if o.startswith(start)}
        if said and set(phase) <= said:
            others = [str(other) for other in cfg.phases if other != name]
            raise ConfigError(
                f"phases.{name}: no such phase{suggestion(str(name), others)} "
                f"(a new one: +phases.{name}={{epochs: 1}})"
            )
