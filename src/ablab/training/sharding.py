"""FSDP2: each process holds a shard of every parameter, its gradient and its optimiser state."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FullyShardedDataParallel, OptimStateKeyType, fully_shard
from torch.distributed.tensor import DTensor

from ablab.config.schema.values import Positive

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class FullySharded(ModelParallelStrategy):
    """Lightning's strategy for FSDP2, with checkpoints like those of a run of one process.

    Rank 0 writes whole checkpoints through the run's own CheckpointIO. They are read through it
    too: Lightning would not check their digests.

    Args:
        timeout_s: how long a process waits for another one before the run fails.
    """

    def __init__(self, timeout_s: Positive = 600.0) -> None:
        super().__init__(
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            timeout=timedelta(seconds=timeout_s),
        )

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> Any:
        from torch.distributed.checkpoint.state_dict import (  # slow to import, and rarely needed
            StateDictOptions,
            set_model_state_dict,
            set_optimizer_state_dict,
        )

        checkpoint = self.checkpoint_io.load_checkpoint(checkpoint_path)
        whole = StateDictOptions(full_state_dict=True)
        assert self.model is not None
        set_model_state_dict(self.model, checkpoint["state_dict"], options=whole)
        states = checkpoint["optimizer_states"]
        for optimizer, state in zip(self.optimizers, states, strict=True):
            named = FullyShardedDataParallel.rekey_optim_state_dict(
                state, OptimStateKeyType.PARAM_NAME, self.model
            )
            set_optimizer_state_dict(self.model, optimizer, named, options=whole)
        return checkpoint


def is_sharded(model: nn.Module) -> bool:
    """Return whether the parameters of ``model`` are shards."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Shard each layer of ``model``; calling it again does nothing.

    The model as a whole is sharded only if it has parameters of its own: a loss that is computed
    without its ``forward`` would not find them gathered.
    """
    if is_sharded(model):
        return
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # a shard cannot be in channels_last format
    for layer in _layers(model):
        fully_shard(layer, mesh=mesh)
    if any(True for _ in model.parameters(recurse=False)):
        fully_shard(model, mesh=mesh)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, _CONTAINERS):
            yield from _layers(child)
        elif any(True for _ in child.parameters()):
            yield child
