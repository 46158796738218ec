"""Build the members of a stack, and find those that cannot be trained in it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ablab.ablation.launch.stacked.members import Member, SharedClock
from ablab.ablation.launch.stacked.memory import most_members
from ablab.ablation.launch.stacked.refusals import (
    NotStackable,
    refuse_data,
    refuse_model,
    refuse_trackers,
)
from ablab.ablation.launch.stacked.trust import refuse_other_results
from ablab.config.schema import Config
from ablab.data.module import PartsDataModule
from ablab.errors import FAULTS_OF_A_JOB, first_line
from ablab.runs.record import RunRecord
from ablab.safety.signals import Interruption
from ablab.training.build import build_data, build_model, build_trackers
from ablab.training.module import SupervisedModule
from ablab.training.run import facts_of
from ablab.training.trial import check_on_two_rows


def build_members(
    folders: Sequence[Path],
    interruption: Interruption,
    clock: SharedClock,
    members: list[Member],
    left: list[Path],
) -> tuple[dict[Path, str], PartsDataModule | None, list[Tensor]]:
    """Build ``members``; return the others, with the reasons, and what the members train on.

    Those for which there is no memory go into ``left``.

    Raises:
        NotStackable: none of them can be trained in a stack.
    """
    alone: dict[Path, str] = {}
    try:
        first = Config.model_validate(RunRecord.read(folders[0]).config)
        data, tensors = _data_of(first)
        facts = facts_of(data)
    except NotStackable as reason:
        return dict.fromkeys(folders, str(reason)), None, []
    except FAULTS_OF_A_JOB as error:  # The runs themselves will fail with it.
        return dict.fromkeys(folders, f"the data cannot be had: {first_line(error)}"), None, []
    most = len(folders)
    for folder in folders:
        interruption.raise_if_requested()
        if len(members) >= most:
            left.append(folder)
            continue
        try:
            member = Member(folder, interruption, clock, data, facts, tensors)
        except NotStackable as reason:
            alone[folder] = str(reason)
        except FAULTS_OF_A_JOB as error:  # The run itself will fail with it.
            alone[folder] = f"it cannot be built: {first_line(error)}"
        else:
            members.append(member)
            if len(members) == 1:
                with member.logged():
                    most, reason = _room_for(first, member.model, data, tensors)
                if reason:
                    left_alone(members, reason)
                    return {**dict.fromkeys(folders, reason), **alone}, data, tensors
    for member in members:
        member.model.several = set(members[0].model.several)
    if len(members) > 1:
        try:
            for phase in reversed(range(len(members[0].phases))):
                refuse_other_results([member.settings_of(phase) for member in members], tensors)
        except NotStackable as reason:
            alone |= left_alone(members, str(reason))
    return alone, data, tensors


def room_for(config: Config) -> tuple[int, str]:
    """Return how many jobs like this one fit into a stack, and what is against one.

    Raises:
        Exception: the data are not there, or job and data have a fault.
    """
    try:
        data, tensors = _data_of(config, fetch=False)
        model = build_model(config, data)
        refuse_model(model)
    except NotStackable as reason:
        return 0, str(reason)
    assert isinstance(model, SupervisedModule)
    return _room_for(config, model, data, tensors)


def _data_of(config: Config, *, fetch: bool = True) -> tuple[PartsDataModule, list[Tensor]]:
    """Return the data of a stack, and its training part on the device. Raises NotStackable."""
    refuse_trackers(build_trackers(config))
    data = build_data(config, fetch=fetch)
    refuse_data(data)
    assert isinstance(data, PartsDataModule)
    device = _device(config)
    tensors = [tensor.to(device) for tensor in data.parts["train"]]
    if not len(tensors[0]):
        raise NotStackable("the training part is empty")
    return data, tensors


def _room_for(
    config: Config, model: SupervisedModule, data: PartsDataModule, tensors: list[Tensor]
) -> tuple[int, str]:
    """Return how many members like the first one there is room for, and what is against a stack."""
    try:
        check_on_two_rows(config, model, data)
        most = most_members(config, model, tensors)
    except FAULTS_OF_A_JOB as error:  # The runs themselves will fail with it.
        return 0, f"model, objective and data do not fit: {first_line(error)}"
    return most, "" if most > 1 else "there is no memory for two of them"


def left_alone(members: list[Member], reason: str) -> dict[Path, str]:
    """Give the runs of ``members`` free, and take them from the list; return the reason of each."""
    folders = [member.folder for member in members]
    for member in members:
        member.release()
    members.clear()
    return dict.fromkeys(folders, reason)


def _device(config: Config) -> torch.device:
    wanted = config.trainer.get("accelerator") or "auto"
    if wanted in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if wanted in ("auto", "cpu"):
        return torch.device("cpu")
    raise NotStackable(f"trainer.accelerator={wanted}")
