"""What is said on the command line: as Hydra is to read it, and where it cannot be meant."""

import contextlib
import re
import shlex
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from lab.config.suggestions import suggestion
from lab.errors import ConfigError
from lab.record import RunRecord

CONF = Path(__file__).resolve().parents[2] / "conf"
_WHERE_DATA_LIE = ("data.path", "data.root", "data.cache")
_MAY_BE_SAID = {  # beside a run folder, of a task
    "fit": ("trainer.max_epochs",),
    "test": _WHERE_DATA_LIE,
    "predict": _WHERE_DATA_LIE,
}
_ASSIGNMENT = re.compile(r"^([A-Za-z_][\w.]*)=(\{)?")


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


def options_first(arguments: list[str]) -> list[str]:
    """Return ``arguments`` with Hydra's options, such as ``-m``, before all else.

    Hydra's parser takes the overrides from one place only, and calls those after ``-m`` unknown.
    """
    overrides = get_args_parser().parse_known_intermixed_args(arguments)[0].overrides
    return [*(a for a in arguments if a not in overrides), *overrides]


def assignment(key: str, text: str) -> str:
    """Return ``key=text`` as Hydra reads it back, in quotes where ``text`` is not plain."""
    plain = f"{key}={text}"
    with contextlib.suppress(HydraException):
        if OverridesParser.create().parse_override(plain).value() == text:
            return plain
    # within quotes, a backslash counts only before a quote
    escaped = re.sub(r'(\\*)"', r"\1\1\"", text)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f'{key}="{escaped}"'


def pasteable(key: str, text: str) -> str:
    """Return ``key=text`` as one word of a shell's command line."""
    return shlex.quote(assignment(key, text))


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


def only_shows(arguments: list[str]) -> bool:
    """Return whether the command only prints something: ``--help``, ``--cfg job``."""
    options, _ = get_args_parser().parse_known_args(arguments)
    return any((options.help, options.hydra_help, options.cfg, options.info))


def config_of_run(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """Return the config of the run that ``cfg.run`` names, with what may be said beside its folder.

    A test and a prediction may be told where the data lie now. A fit may be told
    ``trainer.max_epochs``: ``cfg`` itself is returned for it, since whether the run may be that
    long shows when its record is continued.

    Raises:
        ConfigError: something else is said, and is not as the run has it.
    """
    run = OmegaConf.create(RunRecord.read(Path(cfg.run)).config)
    changes, differing = {"task": cfg.task, "run": cfg.run}, []
    for override in overrides:
        key = override.lstrip("+~").split("=")[0]
        ours, said = OmegaConf.select(run, key), OmegaConf.select(cfg, key)
        told = override.removeprefix("++")
        if key in ("task", "run"):
            continue
        if key in _MAY_BE_SAID.get(cfg.task, ()):
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
    for key, value in changes.items():
        OmegaConf.update(run, key, value)
    return run


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
