"""Wrong configs are refused before anything slow, with a line that says what would be right."""

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from ablab import project
from ablab.command.overrides import (
    options_first,
    refuse_unknown_options,
)
from ablab.command.user_errors import as_user_error
from ablab.config.check import check
from ablab.config.written import pasteable
from ablab.errors import ConfigError, UserError
from tests.ablab.fuzz.cases import changed
from tests.checks import checked

BASE = ["experiment=recipe"]
WITH_VALIDATION = [*BASE, "data.validation_fraction=0.1"]

# override -> what the message must name (the place, and what would be right)
REFUSED = {
    # unknown keys, at every depth
    "sed=1": ["sed", "'seed'"],
    "optm.lr=1": ["optm", "'optim'"],
    "+optm.lr=1": ["optm", "'optim'"],
    "lr=1e-3": ["lr", "'optim.lr'"],
    "optim.lrr=1": ["optim.lrr", "'optim.lr'"],
    "optim.weight_decay.vlaue=1": ["optim.weight_decay.vlaue", "'optim.weight_decay.value'"],
    "schedule.pct_strat=0.2": ["schedule.pct_strat", "'schedule.pct_start'"],
    "seeds.ordr=1": ["seeds.ordr", "'seeds.order'"],
    "model.n_factor=3": ["model.n_factor", "'model.n_factors'"],
    "trainer.max_epocs=3": ["trainer.max_epocs", "'trainer.max_epochs'"],
    "++trainer.max_epocs=3": ["trainer.max_epocs", "'trainer.max_epochs'"],
    "logger.wandb.projct=x": ["logger.wandb.projct", "'logger.wandb.project'"],
    "objective.metrics.rmse.squard=true": ["objective.metrics.rmse.squard", "squared'"],
    "objective.loss.reducton=sum": ["objective.loss.reducton", "'objective.loss.reduction'"],
    # choices
    "experimnt=recipe": ["experimnt", "unknown key"],
    "experiment=recpe": ["experiment", "'recipe'"],
    "optim=adm": ["optim", "'adam'"],
    "optim.name=adamm": ["optim.name", "'adam'"],
    "optim.weight_decay.mode=decopled": ["optim.weight_decay.mode", "'decoupled'"],
    "optim.weight_decay.skip=[biass]": ["optim.weight_decay.skip.0", "'bias'"],
    "optim.lr_spread.kind=flt": ["optim.lr_spread.kind", "'flat'"],
    "task=tset": ["task", "'test'"],
    "logger.wandb.mode=onlin": ["logger.wandb.mode", "'online'"],
    # types, ranges, missing values
    "optim.lr=-1": ["optim.lr", "greater than 0"],
    "optim.lr=0": ["optim.lr", "greater than 0"],
    "optim.lr=fast": ["optim.lr", "'fast'"],
    "optim.lr=nan": ["optim.lr", "finite"],
    "optim.lr=null": ["optim.lr", "None"],
    "optim.lr=???": ["optim.lr", "required"],
    "optim.betas=[0.9]": ["optim.betas.1", "required"],
    "optim.betas=[0.9,1.0]": ["optim.betas.1", "less than 1"],
    "optim.lr_spread={kind:geometric}": ["optim.lr_spread.first", "required"],
    "seed=-1": ["seed", "greater than or equal to 0"],
    "seed=true": ["seed", "integer"],
    "seed=zero": ["seed", "integer"],
    "model.n_factors=2.5": ["model.n_factors", "integer"],
    "model.n_factors=0": ["model.n_factors", "greater than or equal to 1"],
    "model.y_range=[0]": ["model.y_range", "required"],
    "loading.batch_size=0": ["loading.batch_size", "greater than or equal to 1"],
    "data.validation_fraction=1.5": ["data.validation_fraction", "less than 1"],
    "trainer.max_epochs=three": ["trainer.max_epochs", "integer"],
    "trainer.gradient_clip_val=big": ["trainer.gradient_clip_val", "'big'"],
    "checkpoints.keep=1": ["checkpoints.keep", "greater than or equal to 2"],
    "schedule.pct_start=1.0": ["schedule.pct_start", "less than 1"],
    "paths.runs=${paths.dta}": ["paths.runs", "paths.dta"],
    # what is built
    "callbacks.stop.patience=3": ["callbacks.stop", "_target_"],
    "logger.csv2=yes": ["logger.csv2", "'yes'"],
    "logger.tb._target_=os.system": ["logger.tb._target_", "os.system"],
    "logger.tb._target_=torch.load": ["logger.tb._target_", "torch.load"],
    "logger.tb._target_=torch.nn.functional.relu": ["logger.tb._target_", "function"],
    "logger.tb._target_=ablab.trackers.CSVTraker": ["logger.tb._target_", "CSVTracker'"],
    "objective.metric=rsme": ["objective.metric", "'rmse'"],
    "objective.metric=los": ["objective.metric", "'loss'"],
    "callbacks=early_stopping": ["callbacks.early_stopping.monitor", "data.validation_fraction"],
    "task=test": ["run", "run="],
    "lr_find.last=1e-8": ["lr_find.first", "below lr_find.last"],
    "lr_find.steps=5": ["lr_find.steps", "greater than or equal to 20"],
    "lr_find.divergence=1": ["lr_find.divergence", "greater than 1"],
    "task=lr_fnd": ["task", "'lr_find'"],
    "trainer=null": ["NoneType"],
    "~data": ["data", "_target_"],
    # sections, keys and numbers that no later check could take
    "seeds=2": ["seeds: should hold keys", "did you mean ablation.seeds=2?"],
    "paths=x": ["paths: should hold keys"],
    "phases=2": ["phases: should hold keys"],
    "callbacks={1.5:2}": ["callbacks.1.5", "quote it"],
    "callbacks={true:2}": ["callbacks.True", "quote it"],
    "steps_per_execution=18446744073709551616": ["steps_per_execution", "at most"],
    "++trainer.limit_train_batches=18446744073709551616": ["limit_train_batches", "at most"],
    "data.x=-18446744073709551616": ["data.x", "at most"],
    "paths.runs='~/x'": ["paths.runs", "nothing expands the ~", "/x"],
    "data.root='~'": ["data.root", "nothing expands the ~"],
    "++trainer.limit_train_batches=0": ["trainer.limit_train_batches", "1 or more"],
    "trainer.barebones=true": ["trainer.barebones", "set it to false"],
    "trainer.check_val_every_n_epoch=0": ["trainer.check_val_every_n_epoch", "1 or more"],
    f"logger.csv.file_name={'a' * 300}.csv": ["logger.csv.file_name", "at most 100 characters"],
    "logger.csv.file_name=run.json": ["logger.csv.file_name", "match pattern"],
    "logger.csv.file_name=../x.csv": ["logger.csv.file_name", "match pattern"],
    # values that Hydra reads otherwise than they are meant
    "seed=0,1,2": ["seed=0,1,2: are several values", "-m", "seed=[0,1,2]", "'seed=\"0,1,2\"'"],
    "optim=adam,sgd": ["optim=adam,sgd: are several values", "-m"],
    "optim.lr=range(0,3)": ["optim.lr=range(0,3): are several values", "-m"],
    "paths.data=münchen": ["paths.data=münchen", "'paths.data=\"münchen\"'"],
    "paths.data=a(1).csv": ["paths.data=a(1).csv", "'paths.data=\"a(1).csv\"'"],
    "run=runs/lr=0.1/x": ["run=runs/lr=0.1/x", "'run=\"runs/lr=0.1/x\"'"],
    "paths.data=it's": ["paths.data=it's", "'paths.data=\"it'\"'\"'s\"'"],
    "optim.betas=[0.9": ["optim.betas=[0.9: cannot be read as KEY=VALUE"],
    "optim.lr=" + "[" * 1500 + "]" * 1500: ["nested too deeply"],
    # as is usual elsewhere
    "optim._target_=torch.optim.NAdm": ["optim._target_", "'torch.optim.NAdam'"],
    "optim._target_=torch.optim.LBFGS": ["optim.betas", "optim=own"],
    "optim={_target_: torch.optim.LBFGS, lr: 1, weight_decay: {mode: none}}": ["closure"],
    "optim={_target_: torch.nn.Linear, lr: 1, weight_decay: {mode: none}}": ["no Optimizer"],
    "optim={_target_: torch.optim.NAdam, lr: 1, weight_decay: {mode: none}, beats: [0, 0]}": [
        "'optim.betas'"
    ],
    "optim={_target_: torch.optim.AdamW, lr: 1, weight_decay: 0.1}": ["optim.weight_decay"],
    "optim.rules=[{match: {role: wait}, lr: 2}]": ["optim.rules.0.match.role", "'weight'"],
    "optim.rules={match: {role: weight}}": ["optim.rules: should be a list"],
    "optim.rules=[{match: {name: '('}, lr: 2}]": ["optim.rules.0.match.name", "expression"],
    "optim.rules=[{match: {}, optimizer: {_target_: torch.optim.Muon, lr: 1}}]": ["rules.N.lr"],
    "optim.lr_spread={_target_: toy.models.Net}": ["optim.lr_spread", "lr, names"],
    "schedule={_target_: torch.optim.lr_scheduler.StepLR}": ["step, total_steps"],
    "schedule={name: linear, warmup: 1.5}": ["schedule.warmup", "whole number of steps"],
    "schedule=plateau": ["schedule", "data.validation_fraction=0.1"],
    "model={_target_: toy.models.Net}": ["model.n_factors", "n_hidden"],
    "trainer.limit_val_batches=0.5": ["trainer.limit_val_batches", "number of batches"],
    # what Lightning takes and ignores, or fails with later
    "trainer.limit_test_batches=0": ["trainer.limit_test_batches", "test=false"],
    "trainer.limit_predict_batches=5": ["trainer.limit_predict_batches", "all test rows"],
    "trainer.reload_dataloaders_every_n_epochs=1": ["trainer.reload_dataloaders_every_n_epochs"],
    "trainer.gradient_clip_val=-1": ["trainer.gradient_clip_val", "0 or more"],
    "trainer.gradient_clip_algorithm=value": ["trainer.gradient_clip_val"],
    "trainer.min_epochs=7": ["trainer.min_epochs", "trainer.max_epochs", "7 and 5"],
    "trainer.max_epochs=0": ["trainer.max_epochs", "1 or more"],
    "trainer.val_check_interval=0": ["trainer.val_check_interval", "number of batches"],
    "trainer.val_check_interval=true": ["trainer.val_check_interval", "number of batches"],
    "trainer.val_check_interval={seconds: 1}": ["trainer.val_check_interval", "share"],
    "trainer.strategy=ddp_spawn": ["trainer.strategy", "trainer=ddp"],
    "model.n_factors": ["model.n_factors", "KEY=VALUE"],
    "trainer.max_epochs = 3": ["trainer.max_epochs = 3", "KEY=VALUE"],
}


@pytest.mark.parametrize("override", REFUSED)
def test_refused_with_the_place_and_the_remedy(override: str) -> None:
    with pytest.raises(UserError) as caught:
        checked([*BASE, override])
    message = str(caught.value)
    for part in REFUSED[override]:
        assert part in message
    assert "+" not in message
    assert "append" not in message


@pytest.mark.parametrize("said", [["--max_epochs", "3"], ["--trainer.max_epochs=3"], ["-x"]])
def test_a_setting_said_as_an_option_is_told_how_to_be_said(said: list[str]) -> None:
    with pytest.raises(ConfigError, match=f"{said[0]}: no such option.*trainer.max_epochs=3"):
        refuse_unknown_options(["-m", "seed=0,1", *said])
    refuse_unknown_options(["-m", "seed=0,1", "--cfg", "job", "--config-dir=mine", "~data.split"])


def test_a_config_that_lacks_nothing_but_has_an_endless_number_is_refused() -> None:
    """Such as YAML's 0xFFF…, of which Python cannot even say what it is."""
    values = checked(BASE).model_dump(mode="json") | {"seed": 16**5000}
    with pytest.raises(ConfigError, match="seed: should be a number of at most"):
        check(OmegaConf.create(values))


@pytest.mark.parametrize(
    "text",
    ["plain", "a b", "a,b", "1", "null", "münchen", "a(1).csv", "lr=0.1/x", "~/x", "$x", "it's",
     'x"y', "a\\b", "a\\", 'a\\"b', "a{b}", "a[1]", "a#b", "a&b;c!d", "a%b", "\\\\"],
)  # fmt: skip
def test_a_remedy_can_be_pasted(text: str) -> None:
    (word,) = shlex.split(pasteable("run", text))
    assert OverridesParser.create().parse_override(word).value() == text


@pytest.mark.parametrize("values", [{"name": "a\udcff"}, {"callbacks": {"\ud800": None}}])
def test_half_a_character_is_refused(values: dict[str, Any]) -> None:
    """Which a YAML file can name, and no record could hold."""
    with pytest.raises(
        ConfigError, match=r"should be UTF-8 \(it is '(a|callbacks.)\\ud.*'\)"
    ) as told:
        check(OmegaConf.merge(checked(BASE).model_dump(mode="json"), values))  # type: ignore[arg-type]
    str(told.value).encode()


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("logger.csv.file_name", "a\0.csv"),
        ("optim.name", "\ud800"),
        ("task", "\ud800"),
        ("optim.lr_spread.kind", None),
        ("schedule.momentum", {"a": 1}),
        ("optim.weight_decay.skip", {"a": {"b": 1}}),
        ("optim.betas", {"a": [1]}),
        ("phases.x", {"schedule": {"name": "\ud800", "up": 1}}),
        ("phases", {1.5: {"epochs": 1}}),
    ],
)
def test_what_only_a_file_can_say_is_refused_in_lines(where: str, value: Any) -> None:
    values = checked(BASE).model_dump(mode="json")
    config = changed(values, tuple(where.split(".")), value)
    with pytest.raises(ConfigError) as told:
        check(OmegaConf.create(config))
    assert where in str(told.value)
    str(told.value).encode()


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        checked([*BASE, "optim.lr=-1", "trainer.max_epocs=3", "seed=zero", "model.n_factor=1"])
    assert len(str(caught.value).splitlines()) == 4


def test_a_monitor_is_held_against_the_metrics() -> None:
    checked([*WITH_VALIDATION, "callbacks=early_stopping"])
    monitor = "callbacks.early_stopping.monitor=val/rsme"
    with pytest.raises(ConfigError, match="'val/rmse'"):
        checked([*WITH_VALIDATION, "callbacks=early_stopping", monitor])


def test_what_a_class_takes_may_be_set_though_no_file_mentions_it() -> None:
    config = checked([*BASE, "trainer.gradient_clip_val=1.0"])
    assert config.trainer["gradient_clip_val"] == 1.0


def test_seed_zero_is_a_seed() -> None:
    config = checked([*BASE, "seed=0"])
    assert (config.seed, config.seeds.init, config.seeds.order) == (0, 0, 0)
    config = checked([*BASE, "seed=7", "seeds.order=0"])
    assert (config.seeds.init, config.seeds.order) == (7, 0)


@pytest.fixture
def own_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the ``conf/`` of a copy of the toy, to which a test can add files."""
    shutil.copytree(project.current().conf, tmp_path / "conf")
    (tmp_path / "src").symlink_to(project.current().folder / "src")
    monkeypatch.setattr(project, "_current", project.Project(tmp_path))
    return tmp_path / "conf"


def test_a_typo_inside_a_file_is_refused(own_conf: Path) -> None:
    (own_conf / "experiment" / "bad.yaml").write_text(
        "# @package _global_\ntrainr: {max_epochs: 3}\noptim: {lrr: 1}\nmodel: {n_facters: 2}\n"
    )
    with pytest.raises(ConfigError) as caught:
        checked(["experiment=bad"])
    message = str(caught.value)
    assert "trainr" in message
    assert "'optim.lr'" in message
    assert "'model.n_factors'" in message


def test_a_class_within_another_is_what_its_argument_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_parts.py").write_text(
        "import subprocess\n"
        "from torch import nn\n"
        "from lightning.pytorch import Callback\n"
        "class Rule: ...\n"
        "class Sharper(Rule):\n    def __init__(self, by: float): ...\n"
        "class Head(nn.Linear): ...\n"
        "def run(command: str) -> None: ...\n"
        "class Stop(Callback):\n"
        "    def __init__(self, rules: 'dict[str, Rule] | None' = None, head=None): ..."
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ABLAB_ALLOWED_TARGETS", "their_parts")
    stop = "callbacks.stop={_target_: their_parts.Stop, %s}"
    rules = "rules: {a: {_target_: their_parts.Sharper, by: 0.5}}"
    head = "head: {_target_: their_parts.Head, in_features: 2, out_features: 3}"
    assert checked([*BASE, stop % f"{rules}, {head}"]).callbacks["stop"] is not None
    with pytest.raises(ConfigError, match=r"rules\.a\.by: should be a valid number"):
        checked([*BASE, stop % rules.replace("0.5", "much")])
    with pytest.raises(ConfigError, match=r"head\._target_: 'their_parts.Sharper' is no Module"):
        checked([*BASE, stop % "head: {_target_: their_parts.Sharper, by: 1.0}"])
    with pytest.raises(ConfigError, match="is a function"):
        checked([*BASE, stop % "head: {_target_: their_parts.run, command: ls}"])
    with pytest.raises(ConfigError, match=r"no module 'their_parts\.subprocess'"):
        checked([*BASE, stop % "head: {_target_: their_parts.subprocess.Popen, args: [ls]}"])
    with pytest.raises(ConfigError, match="no interpretation"):
        checked([*BASE, "interpret.x={_target_: their_parts.run, command: ls}"])


@pytest.mark.parametrize(
    ("group", "choice"),
    [
        (group, path.stem)
        for group in ("optim", "schedule", "trainer", "callbacks", "logger", "objective")
        for path in sorted((project.ENGINE_CONF / group).glob("*.yaml"))
        if path.stem not in ("own", "logged")  # the user says what these name
    ],
)
def test_every_choice_of_every_group_is_valid(group: str, choice: str) -> None:
    checked([f"{group}={choice}"])


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "data._target_=ablab.config.source_reading.signature.TypeAdapter",
            "is of pydantic",
        ),  # would eval its argument
        ("data._target_=ablab.data.files.download.wheel_members", "is a function"),
        ("callbacks.x._target_=lightning.pytorch.cli.LightningCLI", "may not be built"),
        ("callbacks.x._target_=torch.nn.ReLU", "is no Callback"),
        ("logger.x._target_=lightning.pytorch.loggers.CSVLogger", "take ablab.trackers.CSVTracker"),
        ("objective.metrics.x={_target_: torch.nn.ReLU}", "is no Metric"),
        ("model={_target_: torch.nn.ReLU}", "is no LightningModule"),
        ("model.n_factors={_target_: torch.nn.ReLU}", "should not be a mapping"),
        ("model.y_range=[{_target_: os.system}, 1]", "may not be built"),
        # what would empty a file, delete one, or run anything, within what may be built
        (
            (
                "objective.metrics.rmse.dist_sync_fn="
                "{_target_: ablab.safety.log_file.LogFile, filename: x}"
            ),
            "rmse.dist_sync_fn._target_: 'ablab.safety.log_file.LogFile' is no Module",
        ),
        (
            (
                "callbacks.x={_target_: lightning.pytorch.callbacks.LambdaCallback, setup: "
                "{_target_: lightning.pytorch.loggers.csv_logs.ExperimentWriter, log_dir: x}}"
            ),
            "callbacks.x.setup._target_: .* is no Module",
        ),
        (
            (
                "trainer.profiler={_target_: lightning.pytorch.profilers.PyTorchProfiler, "
                "on_trace_ready: [{a: {_target_: ablab.safety.log_file.LogFile, filename: x}}]}"
            ),
            "on_trace_ready.0.a._target_: .* is no Module",
        ),
        ("objective.loss._args_=[x]", "objective.loss._args_: is not for a config to set"),
        ("trainer._recursive_=false", "trainer._recursive_: is not for a config to set"),
        (
            (
                "interpret.x={_partial_: false,"
                "_target_: ablab.interpret.training_curves.training_curves}"
            ),
            "interpret.x._partial_: is not for a config to set",
        ),
        (
            "callbacks.x={_target_: lightning.pytorch.callbacks.ModelCheckpoint, dirpath: /tmp/x}",
            "callbacks.x.dirpath: should be a path within the run folder",
        ),
        (
            (
                "callbacks.x={_target_: lightning.pytorch.callbacks.ModelCheckpoint, filename: "
                "'{epoch:/>9}'}"
            ),
            "callbacks.x.filename: should be a path within the run folder",
        ),
        (
            (
                "trainer.profiler={_target_: lightning.pytorch.profilers.AdvancedProfiler, "
                "dirpath: ../..}"
            ),
            "trainer.profiler.dirpath: should be a path within the run folder",
        ),
        ("trainer.model_registry=theirs", "uploads none"),
        (
            "callbacks.x._target_=lightning.pytorch.callbacks.BatchSizeFinder",
            "callbacks.x: .* set loading.batch_size",
        ),
        (
            "callbacks.x._target_=lightning.pytorch.callbacks.LearningRateFinder",
            "callbacks.x: .* use task=lr_find",
        ),
        (
            "callbacks.x={_target_: lightning.pytorch.callbacks.OnExceptionCheckpoint, dirpath: x}",
            "callbacks.x: .* use checkpoints.every_n_steps",
        ),
        ("data._partial_=true", "not for a config to set"),
        ("trainer.logger=false", "trackers are entries of logger"),
        ("trainer.callbacks=[]", "entries of callbacks"),
        ("trainer.strategy=fsdp", "take trainer=fsdp"),
        ("name=../../elsewhere", "name: "),
    ],
)
def test_nothing_else_is_built(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        checked([*BASE, override])


@pytest.mark.parametrize(
    ("arguments", "ordered"),
    [
        (["a=1", "-m", "b=0,1"], ["-m", "a=1", "b=0,1"]),
        (["a=1", "--cfg", "job", "b=2"], ["--cfg", "job", "a=1", "b=2"]),
        (["-m", "a=1", "~b", "+c=3"], ["-m", "a=1", "~b", "+c=3"]),
        (["a=1", "--config-dir=mine", "b=2"], ["--config-dir=mine", "a=1", "b=2"]),
    ],
)
def test_options_may_stand_anywhere(arguments: list[str], ordered: list[str]) -> None:
    assert options_first(arguments) == ordered


def test_an_error_of_a_constructor_is_one_line_with_its_cause_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_classes.py").write_text(
        "class Bad:\n    def __init__(self):\n        raise ValueError('no such\\nplace')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InstantiationException) as caught:
        instantiate({"_target_": "their_classes.Bad"})
    told = as_user_error(caught.value)
    assert isinstance(told, ConfigError)
    assert str(told) == "ValueError: no such place (raised by their_classes.Bad)"


@pytest.mark.parametrize("defaults", ["[self]", "[/experiment/self]", "[other]"])
def test_files_that_include_each_other_are_refused(defaults: str, own_conf: Path) -> None:
    head = "# @package _global_\ndefaults: "
    (own_conf / "experiment" / "self.yaml").write_text(f"{head}{defaults}\n")
    (own_conf / "experiment" / "other.yaml").write_text(f"{head}[self]\n")
    with pytest.raises(ConfigError, match=r"^experiment/\w+.yaml: its defaults lead back"):
        checked(["experiment=self"])


def test_null_is_for_what_there_is() -> None:
    assert checked([*BASE, "logger.wandb=null"]).logger["wandb"] is None
    with pytest.raises(ConfigError, match="wnadb"):
        checked([*BASE, "logger.wnadb=null"])
