"""Lightning's loggers in a config: those that a run cannot use, and packages that they need."""

from importlib.util import find_spec

from ablab.config.schema import Config
from ablab.config.targets import component_signature
from ablab.errors import ConfigError

_LOGGERS = "lightning.pytorch.loggers"
_UNUSABLE = {  # and the tracker to take instead
    f"{_LOGGERS}.wandb.WandbLogger": "ablab.trackers.WandbTracker, which never holds a run up",
    f"{_LOGGERS}.csv_logs.CSVLogger": "ablab.trackers.CSVTracker, which continues with its run",
}
_PACKAGES = {  # a logger needs any of these; and what installs it
    f"{_LOGGERS}.tensorboard.TensorBoardLogger": (
        ("tensorboard", "tensorboardX"),
        "'ablation-lab[tensorboard]'",
    ),
    f"{_LOGGERS}.mlflow.MLFlowLogger": (("mlflow",), "'ablation-lab[mlflow]'"),
    f"{_LOGGERS}.comet.CometLogger": (("comet_ml",), "comet-ml"),
    f"{_LOGGERS}.neptune.NeptuneLogger": (("neptune",), "neptune"),
}


def logger_faults(config: Config) -> list[str]:
    """Return a line for each logger that a run cannot use."""
    return [
        f"logger.{name}: {node['_target_']} is not used here; take {_UNUSABLE[base]}"
        for name, node in config.logger.items()
        if node
        for base in component_signature(node["_target_"]).bases & _UNUSABLE.keys()
    ]


def refuse_missing_packages(config: Config) -> None:
    """Raise ConfigError if a logger of a new run needs a package that is not installed.

    A run that is tested, loaded or continued elsewhere goes on without its logger.
    """
    if config.task != "fit" or config.run is not None:
        return
    faults = []
    for name, node in config.logger.items():
        bases = component_signature(node["_target_"]).bases if node else frozenset()
        for packages, extra in (_PACKAGES[base] for base in bases & _PACKAGES.keys()):
            if not any(map(find_spec, packages)):
                needed = f"needs the package {packages[0]}, which is not installed"
                faults.append(f"logger.{name}: {needed}; pip install {extra}")
    if faults:
        raise ConfigError("\n".join(faults))
