"""The settings of SLURM's launcher, and what is read of its commands' output."""

import os
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import ablab
from ablab.ablation.launch.slurm_queue import SlurmQueue
from ablab.ablation.launch.slurm_settings import SlurmSettings
from ablab.config.schema.values import read_plugin_settings
from ablab.errors import ConfigError

DEFAULTS = Path(ablab.__file__).parent / "conf/hydra/launcher/slurm.yaml"


def settings(**given: Any) -> SlurmSettings:
    values = OmegaConf.merge(OmegaConf.load(DEFAULTS), {"name": "mine"}, given)
    del values["_target_"]
    return read_plugin_settings(
        SlurmSettings, "hydra.launcher", OmegaConf.to_container(values, resolve=True)
    )


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of a stand-in, in which tests write what it does."""
    path = tmp_path / "squeue"
    path.write_text("")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return path


def test_lines_of_squeue_that_are_no_run_folders_are_passed_over(squeue: Path) -> None:
    lines = r"CLUSTER: b\n1|RUNNING|None|of two\nlines\n2|PENDING|Priority|\377\n"
    squeue.write_text(rf"#!/bin/sh{chr(10)}printf '{lines}3|RUNNING|None|/runs/a\n'")
    assert SlurmQueue(settings()).jobs()[Path("/runs/a")].number == "3"


def test_variables_of_squeue_hide_no_jobs(squeue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")
    squeue.write_text('#!/bin/sh\n[ "$SQUEUE_STATES" ] || echo "4|PENDING|Priority|/runs/a"')
    assert SlurmQueue(settings()).jobs()


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"timeout_min": 1}, "signal_delay_s: should be at most 30, half of timeout_min=1, or"),
        ({"additional_parameters": {"array": "0-3"}}, "not have 'array'"),
        ({"additional_parameters": {"test_only": True}}, "not have 'test-only'"),
        ({"additional_parameters": {"clusters": "b"}}, "start the sweep there"),
        ({"additional_parameters": {"gres": {"gpu": 1}}}, "sbatch --gres= takes"),
    ],
)
def test_what_would_lose_jobs_is_refused(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings(**given)
    (line,) = str(error.value).splitlines()
    assert fault in line


def test_a_list_of_additional_parameters_is_joined_by_commas() -> None:
    flags = settings(additional_parameters={"exclude": ["node7", "node8"]}).additional_parameters
    assert flags == {"exclude": "node7,node8"}
