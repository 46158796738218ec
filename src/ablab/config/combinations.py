"""Settings that are valid alone but contradict each other."""

from ablab.config.loggers import logger_faults
from ablab.config.schema import Config
from ablab.config.schema.schedule import Plateau
from ablab.config.suggestions import suggestion
from ablab.config.targets import component_signature

_CALLBACKS = "lightning.pytorch.callbacks"
_LIGHTNINGS_STEPS = "only works with Lightning's own optimiser steps"
_UNUSABLE_CALLBACKS = {  # and the reason
    f"{_CALLBACKS}.{name}": reason
    for name, reason in {
        "gradient_accumulation_scheduler.GradientAccumulationScheduler": _LIGHTNINGS_STEPS,
        "stochastic_weight_avg.StochasticWeightAveraging": (
            "averages after the last checkpoint, so that none holds the average; take "
            "EMAWeightAveraging, or WeightAveraging"
        ),
        "lr_finder.LearningRateFinder": f"{_LIGHTNINGS_STEPS}; use task=lr_find",
        "batch_size_finder.BatchSizeFinder": f"{_LIGHTNINGS_STEPS}; set loading.batch_size",
        "on_exception_checkpoint.OnExceptionCheckpoint": (
            "would list its checkpoint as one of the run's; use checkpoints.every_n_steps"
        ),
    }.items()
}
_CALLBACKS_OF_STEPS = {  # they do something after each optimiser step
    f"{_CALLBACKS}.{name}"
    for name in (
        "weight_averaging.WeightAveraging",
        "lr_monitor.LearningRateMonitor",
        "device_stats_monitor.DeviceStatsMonitor",
        "model_checkpoint.ModelCheckpoint",
    )
}
_AT_LEAST = {
    "limit_train_batches": 1,
    "limit_val_batches": 0,
    "max_epochs": 1,
    "max_steps": 1,
    "min_epochs": 0,
    "min_steps": 0,
    "log_every_n_steps": 0,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
}
_ENDLESS = ("max_epochs", "max_steps")
FULLY_SHARDED = "ablab.training.sharding.FullySharded"
_SCALED_PRECISIONS = (16, "16", "16-mixed")
_NOT_OF_THE_TRAINER = {
    "logger": "trackers are entries of logger (logger.NAME._target_=…)",
    "callbacks": "they are entries of callbacks (callbacks.NAME._target_=…)",
    "plugins": "checkpoints are written by the run itself",
    "default_root_dir": "a run has its folder under paths.runs",
    "model_registry": "a run uploads none of its checkpoints",
    "overfit_batches": "it would not see the same batches again; use trainer.limit_train_batches",
    "limit_test_batches": "the test is of all rows, as its baselines are; test=false leaves it out",
    "limit_predict_batches": "predictions are of all test rows",
    "reload_dataloaders_every_n_epochs": "the engine makes the training loader once for each phase",
}


def combination_faults(config: Config) -> list[str]:
    """Return a line for each setting that another one rules out."""
    faults = []
    if config.objective.loss is not None:  # else only the run shows what the module logs
        faults += _metric_faults(config)
        faults += _plateau_faults(config)
    faults += logger_faults(config)
    for key, instead in _NOT_OF_THE_TRAINER.items():
        if config.trainer.get(key) is not None:
            faults.append(f"trainer.{key}: is not for a config to set; {instead}")
    faults += _trainer_faults(config)
    faults += _step_faults(config)
    if config.phases and config.trainer.get("max_epochs") is not None:
        faults.append(
            "trainer.max_epochs: each of the phases says how long it is "
            f"(phases.{next(iter(config.phases))}.epochs); set trainer.max_epochs=null"
        )
    faults += _strategy_faults(config)
    if config.task in ("test", "predict") and config.run is None:
        faults.append(f"run: task={config.task} needs a run folder: run=runs/NAME/FOLDER")
    if config.task == "lr_find" and config.run is not None:
        faults.append("run: task=lr_find looks for a rate before there is a run; leave out run=")
    phase = config.lr_find.phase
    if phase is not None and phase not in config.phases:
        faults.append(f"lr_find.phase: no phase '{phase}'{suggestion(phase, list(config.phases))}")
    if config.lr_find.first >= config.lr_find.last:
        faults.append(
            f"lr_find.first: should be below lr_find.last (it is {config.lr_find.first:g}, "
            f"and the last {config.lr_find.last:g})"
        )
    return faults


def _plateau_faults(config: Config) -> list[str]:
    """Return the faults of schedules that follow a metric which is not measured."""
    sections = {f"phases.{name}.schedule": p.schedule for name, p in config.phases.items()}
    faults = []
    for path, schedule in {"schedule": config.schedule, **sections}.items():
        if not isinstance(schedule, Plateau):
            continue
        measured = [name for name in _monitors(config) if name.startswith("val/")]
        if not measured:
            faults.append(
                f"{path}: plateau follows a metric of the validation part, and there is none; set "
                f"data.validation_fraction=0.1, for example"
            )
        elif schedule.monitor is not None and schedule.monitor not in measured:
            close = suggestion(schedule.monitor, measured)
            faults.append(f"{path}.monitor: no metric '{schedule.monitor}'{close}")
        elif schedule.monitor not in (None, config.monitor) and schedule.mode is None:
            faults.append(f"{path}.mode: is required with a monitor that is not the objective")
    return faults


def _monitors(config: Config) -> list[str]:
    """Return the names under which a SupervisedModule reports what it measures."""
    stages = ["val"] if config.has_validation else []
    metrics = ["loss", *config.objective.metrics]
    return ["train/loss", *(f"{stage}/{name}" for stage in stages for name in metrics)]


def _metric_faults(config: Config) -> list[str]:
    """Return a line for each name of a metric that the objective does not have."""
    metrics = list(config.objective.metrics)
    names, faults = ["loss", *metrics], []
    chosen = config.objective.metric
    if chosen == "loss" and config.objective.mode == "max":
        faults.append("objective.mode: the loss is minimised; set objective.mode=min")
    elif chosen not in names:
        faults.append(f"objective.metric: no metric '{chosen}'{suggestion(chosen, names)}")
    if "loss" in metrics:
        faults.append("objective.metrics.loss: this is the name of objective.loss; choose another")
    monitors = _monitors(config)
    for name, node in config.callbacks.items():
        monitor = (node or {}).get("monitor")
        if monitor is None or monitor in monitors:
            continue
        if monitor.startswith("val/") and not config.has_validation:
            faults.append(
                f"callbacks.{name}.monitor: '{monitor}' is never measured, since "
                f"data.validation_fraction=0 leaves no validation part; set it to 0.1, for "
                f"example"
            )
        else:
            faults.append(
                f"callbacks.{name}.monitor: no metric '{monitor}'{suggestion(monitor, monitors)}"
            )
    return faults


def _trainer_faults(config: Config) -> list[str]:
    """Return the faults of values that Lightning ignores, or that fail in the middle of a run."""
    trainer, faults = config.trainer, []
    for key in ("limit_train_batches", "limit_val_batches"):
        limit = trainer.get(key)
        if isinstance(limit, float) and limit != 1.0:
            faults.append(f"trainer.{key}: should be a number of batches, not a share")
    duration = trainer.get("max_time")  # Its annotation is a class, which is not checked.
    if not isinstance(duration, str | dict | None):
        faults.append(
            f"trainer.max_time: should be 'DD:HH:MM:SS', or {{hours: 2}} (it is {duration!r})"
        )
    if trainer.get("barebones"):
        faults.append("trainer.barebones: leaves out what a run logs and saves; set it to false")
    for key, least in _AT_LEAST.items():
        value = trainer.get(key)
        if value is not None and value < least and not (key in _ENDLESS and value == -1):
            or_endless = ", or -1 for no limit" if key in _ENDLESS else ""
            faults.append(f"trainer.{key}: should be {least} or more{or_endless} (it is {value})")
    for what in ("epochs", "steps"):
        fewest, most = trainer.get(f"min_{what}"), trainer.get(f"max_{what}")
        if fewest is not None and most not in (None, -1) and fewest > most:
            faults.append(
                f"trainer.min_{what}: should not be above trainer.max_{what}, at which a run ends "
                f"(they are {fewest} and {most})"
            )
    if trainer.get("gradient_clip_algorithm") and not trainer.get("gradient_clip_val"):
        faults.append(
            "trainer.gradient_clip_algorithm: does nothing without trainer.gradient_clip_val; "
            "set it to 1.0, for example"
        )
    interval = trainer.get("val_check_interval")
    if isinstance(interval, bool | str | dict) or (interval is not None and interval <= 0):
        faults.append(
            "trainer.val_check_interval: should be a number of batches, or a share of an epoch "
            f"(it is {interval!r})"
        )
    return faults


def _strategy_faults(config: Config) -> list[str]:
    """Return the fault of a strategy that this engine's runs cannot use."""
    strategy = config.trainer.get("strategy")
    if isinstance(strategy, str) and strategy.startswith(("fsdp", "deepspeed")):
        return [f"trainer.strategy: '{strategy}' has checkpoints of its own; take trainer=fsdp"]
    started = strategy.get("start_method") if isinstance(strategy, dict) else strategy
    if isinstance(started, str) and any(way in started for way in ("spawn", "fork", "notebook")):
        reason = "copies a running process; take trainer=ddp, which starts new ones"
        return [f"trainer.strategy: {started!r} {reason}"]
    in_shares = isinstance(strategy, dict) and strategy.get("_target_") == FULLY_SHARDED
    if in_shares and len(config.phases) > 1:
        reason = "sharded parameters cannot be frozen or thawed between phases"
        return [f"trainer.strategy: {reason}; take trainer=ddp"]
    return []


def _step_faults(config: Config) -> list[str]:
    """Return the faults of batches, optimiser steps and executions (``StepPlan``)."""
    faults = []
    accumulated = config.trainer.get("accumulate_grad_batches")
    if accumulated is not None and accumulated < 1:
        faults.append(f"trainer.accumulate_grad_batches: should be 1 or more (it is {accumulated})")
    algorithm = config.trainer.get("gradient_clip_algorithm")
    if algorithm not in (None, "norm", "value"):
        close = suggestion(algorithm, ["norm", "value"])
        faults.append(f"trainer.gradient_clip_algorithm: no '{algorithm}'{close}")
    if (
        config.error_if_nonfinite == "gradients"
        and config.trainer.get("precision") in _SCALED_PRECISIONS
    ):
        faults.append(
            "error_if_nonfinite: 'gradients' of trainer.precision=16-mixed are scaled up until "
            "some are not finite, and such a step is left out; take 'loss', or bf16-mixed"
        )
    for name, node in config.callbacks.items():
        bases = component_signature(node["_target_"]).bases if node else frozenset()
        unusable = [reason for c, reason in _UNUSABLE_CALLBACKS.items() if c in bases]
        if unusable:
            faults.append(f"callbacks.{name}: {unusable[0]}")
        elif bases & _CALLBACKS_OF_STEPS and config.steps_per_execution > 1:
            faults.append(
                f"callbacks.{name}: does something at each optimiser step, but is called after "
                f"{config.steps_per_execution} of them; set steps_per_execution=1"
            )
    batches = config.steps_per_execution * max(accumulated or 1, 1)
    interval = config.trainer.get("val_check_interval")
    if batches == 1 or interval in (None, 1.0) or config.objective.loss is None:
        return faults  # without a loss, the module has its own steps, and gets single batches
    of = f"steps_per_execution × trainer.accumulate_grad_batches = {batches}"
    if config.trainer.get("check_val_every_n_epoch", 1) is None or not isinstance(interval, int):
        faults.append(
            f"trainer.val_check_interval: should be a number of batches within an epoch, a "
            f"multiple of {of}; or set steps_per_execution=1 without accumulation"
        )
    elif interval % batches:
        faults.append(
            f"trainer.val_check_interval: should be a multiple of {of} (it is {interval})"
        )
    return faults
