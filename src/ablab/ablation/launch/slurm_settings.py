"""The settings of ``hydra.launcher`` under SLURM, and the checks of what would lose jobs."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ablab.config.schema.values import Count, Integer, Positive, Section, Text

_ONE_JOB = "a run folder is one job, which the sweep queues and looks for itself"
_ONE_CLUSTER = "squeue would look for the jobs on this cluster; start the sweep there"
_REFUSED = {  # flags of sbatch
    **dict.fromkeys(("comment", "array", "wrap", "parsable", "test-only", "wait"), _ONE_JOB),
    **dict.fromkeys(("clusters", "cluster"), _ONE_CLUSTER),
    "time": "set hydra.launcher.timeout_min instead",
    "signal": "set hydra.launcher.signal_delay_s instead",
}


class SlurmSettings(Section):
    """The settings of ``hydra.launcher``."""

    name: Text
    jobs_at_a_time: Count
    timeout_min: Count
    signal_delay_s: Count
    max_num_timeout: Annotated[Integer, Field(ge=0)]
    gpus_per_node: Literal["auto"] | Annotated[Integer, Field(ge=0)] | None
    cpus_per_task: Count
    mem_gb: Positive | None
    partition: Text | None
    qos: Text | None
    account: Text | None
    constraint: Text | None
    setup: tuple[Text, ...] | None
    additional_parameters: dict[str, Any] | None
    poll_seconds: Positive

    @field_validator("signal_delay_s")
    @classmethod
    def _leaves_time_to_train(cls, delay: int, info: ValidationInfo) -> int:
        """Refuse a delay that ends each stretch at its start; SLURM signals a minute early."""
        minutes = info.data.get("timeout_min")  # None if that is wrong itself
        if minutes is not None and 2 * delay > 60 * minutes:
            raise _should(
                f"be at most {30 * minutes}, half of timeout_min={minutes}, or a job is told to "
                f"stop before it has trained; lower it, or set timeout_min to {-(-delay // 30)}"
            )
        return delay

    @field_validator("additional_parameters")
    @classmethod
    def _are_flags(cls, given: dict[str, Any] | None) -> dict[str, Any] | None:
        """Write names as sbatch has them, and lists with commas."""
        flags = {key.replace("_", "-"): value for key, value in (given or {}).items()}
        for key, value in flags.items():
            if key in _REFUSED:
                raise _should(f"not have {key!r}: {_REFUSED[key]}")
            values = value if isinstance(value, list) else [value]
            if any(isinstance(each, dict | list) for each in values):
                raise _should(f"have a text, number or list for {key!r}, as sbatch --{key}= takes")
            if isinstance(value, list):
                flags[key] = ",".join(map(str, value))
        return flags


def _should(what: str) -> PydanticCustomError:
    return PydanticCustomError("slurm", "should {what}", {"what": what})
