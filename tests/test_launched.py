"""Which process of a run this one is: what launchers leave, and what the config asks for."""

import os
from pathlib import Path
from typing import Any

import pytest

from lab.errors import ConfigError, RankVariableError
from lab.launched import RANK_VARIABLES, rank_of_environment, settle_ranks
from tests import forked
from tests.launch import TINY, environment, train

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "RANK": "1",
    "LOCAL_RANK": "1",
    "GROUP_RANK": "0",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}
SRUN = {
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "0",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_JOB_NAME": "mine",
}
LIGHTNING = {
    "LOCAL_RANK": "1",
    "NODE_RANK": "0",
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
    "LAB_MAIN_PROCESS": "1",
}
BY_MACHINE = {"NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
ONE, TWO, MACHINES = {"devices": 1}, {"devices": 2}, {"devices": 2, "num_nodes": 2}


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*RANK_VARIABLES, *SRUN):
        monkeypatch.setenv(name, "")  # so that it is put back, whatever a test leaves
        monkeypatch.delenv(name)


def settle(variables: dict[str, str], trainer: dict[str, Any]) -> set[str]:
    """The variables of ranks that are left."""
    os.environ.update(variables)
    settle_ranks(trainer)
    return {name for name in RANK_VARIABLES if name in os.environ}


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_NTASKS": "3", "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "7"},
        {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "jupyter", "SLURM_JOB_ID": "1"},
        {"LOCAL_RANK": "-1"},
        {"RANK": "1", "WORLD_SIZE": "2"},
        {"RANK": ""},
        {"RANK": "abc", "MASTER_PORT": "abc"},
        {"RANK": "5"},
        {"JSM_NAMESPACE_RANK": "2"},
        {**TORCHRUN, "WORLD_SIZE": "1"},
        LIGHTNING,
    ],
    ids=lambda variables: ",".join(f"{k}={v}" for k, v in variables.items()),
)
@pytest.mark.parametrize("trainer", [ONE, {"devices": "1"}, {"devices": [0]}, {"devices": "no"}])
def test_a_run_of_one_process_is_nobodys_rank(
    variables: dict[str, str], trainer: dict[str, Any]
) -> None:
    assert settle(variables, trainer) == set()
    assert rank_of_environment() == 0


@pytest.mark.parametrize(
    ("variables", "kept"),
    [
        (TORCHRUN, set(TORCHRUN)),
        ({**TORCHRUN, "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, set(TORCHRUN)),
        (SRUN, {"SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"}),
        (LIGHTNING, {"RANK", *LIGHTNING}),
        ({**LIGHTNING, "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, {"RANK", *LIGHTNING}),
    ],
)
def test_a_rank_keeps_what_its_own_launcher_has_set(
    variables: dict[str, str], kept: set[str]
) -> None:
    assert settle(variables, TWO) == kept
    assert rank_of_environment() == 1


@pytest.mark.parametrize(
    "variables",
    [
        {"MASTER_PORT": "abc", "MASTER_ADDR": "elsewhere"},
        {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},  # an sbatch script
        {"SLURM_NTASKS": "4"},  # a shell of salloc
        {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_NAME": "bash"},
        {"WORLD_SIZE": "8"},
    ],
)
def test_a_run_that_starts_its_processes_itself_uses_nothing_left(
    variables: dict[str, str],
) -> None:
    assert settle(variables, TWO) == set()


def test_the_first_process_of_a_second_machine_is_not_the_first_of_the_run() -> None:
    settle(BY_MACHINE, MACHINES)
    assert rank_of_environment() == 2


@pytest.mark.parametrize(
    ("variables", "trainer", "told"),
    [
        (TORCHRUN, ONE, "torchrun has started 2 processes, but one is asked for"),
        ({**TORCHRUN, "WORLD_SIZE": "4"}, TWO, "torchrun has started 4 processes"),
        ({**SRUN, "SLURM_NTASKS": "3"}, TWO, "srun has started 3 processes"),
        ({}, {"num_nodes": 2}, "nothing says how they meet (MASTER_ADDR, MASTER_PORT, NODE_RANK"),
        ({"NODE_RANK": "1"}, MACHINES, "(MASTER_ADDR, MASTER_PORT not set)"),
    ],
)
def test_another_number_of_processes_than_asked_for_is_refused(
    variables: dict[str, str], trainer: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        settle(variables, trainer)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("variables", "trainer", "name"),
    [
        ({"RANK": "5"}, TWO, "RANK"),
        ({"LOCAL_RANK": "-1"}, TWO, "LOCAL_RANK"),
        ({**LIGHTNING, "LOCAL_RANK": "2"}, TWO, "LOCAL_RANK"),
        ({**LIGHTNING, "WORLD_SIZE": "3"}, TWO, "WORLD_SIZE"),
        ({**LIGHTNING, "MASTER_PORT": "abc"}, TWO, "MASTER_PORT"),
        ({**TORCHRUN, "RANK": "abc"}, TWO, "RANK"),
        ({**TORCHRUN, "MASTER_PORT": "0"}, TWO, "MASTER_PORT"),
        ({k: v for k, v in SRUN.items() if "NODE" not in k}, TWO, "SLURM_NODEID"),
        ({**SRUN, "SLURM_NTASKS_PER_NODE": "1"}, TWO, "SLURM_NTASKS_PER_NODE"),
        ({**BY_MACHINE, "NODE_RANK": "2"}, MACHINES, "NODE_RANK"),
        ({**BY_MACHINE, "MASTER_PORT": "abc"}, MACHINES, "MASTER_PORT"),
    ],
)
def test_ranks_that_are_not_complete_are_refused(
    variables: dict[str, str], trainer: dict[str, Any], name: str
) -> None:
    with pytest.raises(RankVariableError, match=f"^{name}: "):
        settle(variables, trainer)


@pytest.mark.parametrize("sweep", [[], ["-m", "seed=0,1"]])
def test_torchrun_without_a_strategy_is_told_once_and_trains_nothing(
    sweep: list[str], tmp_path: Path
) -> None:
    ranks = [{**TORCHRUN, "RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    first, second = (
        forked.run((*sweep, *TINY), tmp_path, environment(**variables), timeout=90)
        for variables in ranks
    )
    assert (first.returncode, second.returncode, second.stderr) == (2, 2, "")
    (line,) = first.stderr.splitlines()
    assert "add trainer=ddp trainer.devices=2" in line
    assert list(tmp_path.iterdir()) == []


def test_a_continued_run_has_the_ranks_that_its_record_asks_for(tmp_path: Path) -> None:
    """The config that Hydra composes beside ``run=`` is the default one, of one process."""
    assert train(*TINY, "trainer.max_epochs=1", cwd=tmp_path).returncode == 0
    (folder,) = (tmp_path / "runs" / "default").iterdir()
    variables = environment(**{**TORCHRUN, "RANK": "0"})
    refused = forked.run(("trainer=ddp", f"run={folder}"), tmp_path, variables, timeout=90)
    assert refused.returncode == 2
    assert "torchrun has started 2 processes, but one is asked for" in refused.stderr
