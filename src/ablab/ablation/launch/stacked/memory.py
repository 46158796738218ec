"""Estimate how many members of a stack fit into memory."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from ablab.config.schema import Config
from ablab.data.memory import memory_groups
from ablab.training.module import SupervisedModule

_SHARE = 0.5  # of the free memory that a stack may take: other jobs and torch take some too
# Copies of a model's parameters beside them: gradients, their parts, two of the optimiser's state.
_COPIES = 5
_OF_A_CHECKPOINT = 3  # parameters and the state of the optimiser


def most_members(config: Config, model: SupervisedModule, tensors: Sequence[Tensor]) -> int:
    """Return how many members with this model fit into memory together, 1 at least."""
    free = _free(tensors[0].device)
    return 10**6 if free is None else max(int(_SHARE * free / _bytes(config, model, tensors)), 1)


def _bytes(config: Config, model: SupervisedModule, tensors: Sequence[Tensor]) -> int:
    """Return about how many bytes a member takes: weights, checkpoints in memory, a batch."""
    checkpoints = config.checkpoints.keep + 1
    state = [*model.parameters(), *model.buffers()]
    weights = sum(tensor.nbytes for tensor in state)
    batch = [t[: config.loading.batch_size] for t in tensors]
    taken: list[int] = []

    def note(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            taken.append(output.nbytes)

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    try:
        with torch.no_grad():
            model.eval()(*model.split_batch(batch)[0])
    finally:
        model.train()
        for hook in hooks:
            hook.remove()
    activations = 2 * sum(taken) + sum(t.nbytes for t in batch)  # forward and backward
    return weights * (1 + _COPIES + _OF_A_CHECKPOINT * checkpoints) + activations + 1


def _free(device: torch.device) -> int | None:
    """Return the free bytes of a device, or None where that is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = []
    with suppress(OSError, ValueError):  # Linux
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free.append(int(lines["MemAvailable"].split()[0]) * 1024)
    for group in memory_groups():
        with suppress(OSError, ValueError, KeyError):  # it has no limit
            most = int((group / "memory.max").read_text())
            taken = int((group / "memory.current").read_text())
            lines = (group / "memory.stat").read_text().splitlines()
            cached = dict(line.split() for line in lines)["inactive_file"]  # given up when needed
            free.append(most - taken + int(cached))
    return min(free, default=None)
