"""Run an experiment for a few steps in this process, for a project's own tests."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from ablab import project
from ablab.command.folders import register_resolvers
from ablab.command.main import JobFailed, execute
from ablab.command.overrides import force_overrides
from ablab.runs.record import RunRecord

FEW_STEPS = (
    *("trainer.accelerator=cpu", "trainer.limit_train_batches=2", "trainer.limit_val_batches=2"),
    *("logger=csv", "steps_per_execution=1"),
)


def run(overrides: list[str], folder: Path) -> float | None:
    """Do what ``python train.py OVERRIDES`` does, with ``folder`` as the run folder.

    Returns:
        The chosen checkpoint's value of the objective's metric, or None if nothing was chosen.

    Raises:
        UserError: as the command line would print it.
    """
    register_resolvers()
    GlobalHydra.instance().clear()
    forced = force_overrides(overrides)
    with initialize_config_dir(str(project.current().conf), version_base="1.3"):
        cfg = compose("config", overrides=forced, return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.runtime.output_dir = str(folder)
        cfg.hydra.mode = "RUN"
        cfg.hydra.overrides.task = forced
        HydraConfig.instance().set_config(cfg)
        del cfg["hydra"]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return execute(cfg)
    except JobFailed as failure:
        raise (failure.__cause__ or failure) from None


def try_run(overrides: list[str], folder: Path) -> RunRecord:
    """Run an experiment with two batches an epoch and return its record; the test is whole.

    Every epoch and phase takes place: shorten them with ``trainer.max_epochs=1`` or
    ``phases.NAME.epochs=1`` among the overrides.

    Args:
        overrides: as on the command line: ``["experiment=mine", "data.n_rows=100"]``.
        folder: an empty folder, which becomes the run folder.

    Raises:
        UserError: as the command line would print it.
    """
    run([*FEW_STEPS, *overrides], folder)
    return RunRecord.read(folder)
