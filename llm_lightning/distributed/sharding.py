"""Blocks of which every process keeps a part (FSDP2: ``torch.distributed.fsdp.fully_shard``).

A block is put together for its forward and its backward pass and falls apart again. What is outside
of the blocks, embeddings, final norm and head, is whole in every process: it is reached by other
ways than a module's call, which a sharded module would not notice.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from llm_lightning.distributed.collectives import group_size


def shard_blocks(blocks: Iterable[nn.Module], mesh: DeviceMesh) -> None:
    """Leaves every process a part of each block's parameters; sharded ones stay as they are."""
    for block in blocks:
        if not is_sharded(block):
            # A block that is in no other sharded module would stay whole after its forward pass.
            fully_shard(block, mesh=mesh, reshard_after_forward=True)


def is_sharded(module: nn.Module) -> bool:
    """Whether this process has only a part of some parameters, between their uses."""
    return any(isinstance(part, FSDPModule) for part in module.modules())


def average_whole(parameters: Iterable[nn.Parameter]) -> None:
    """Averages the gradients of parameters that are not sharded over all processes."""
    for parameter in parameters:
        if parameter.grad is not None and not isinstance(parameter.grad, DTensor):
            dist.all_reduce(parameter.grad)
            parameter.grad /= group_size()


def full_state(state: Mapping[str, Any], *, wanted: bool) -> dict[str, Any]:
    """Returns a state dict of whole tensors on the CPU; every process must take part.

    Args:
        state: of a module, or a dict in an optimizer's.
        wanted: whether this process keeps them; others return an empty dict.
    """
    found: dict[str, Any] = {}
    for name, value in state.items():
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if wanted:
            found[name] = whole.cpu() if isinstance(whole, Tensor) else whole
    return found


def as_part(whole: Tensor, like: Tensor) -> Tensor:
    """Returns this process's part of a tensor that is sharded as another one; else the tensor."""
    if not isinstance(like, DTensor) or isinstance(whole, DTensor):
        return whole
    # All processes have the whole: nothing needs to be sent.
    return distribute_tensor(
        whole.to(like.device, like.dtype), like.device_mesh, like.placements, src_data_rank=None
    )


def load_full_state(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Loads a state dict of whole tensors into a module, sharded or not.

    Raises:
        RuntimeError: if names or shapes differ.
    """
    own = module.state_dict()
    with torch.no_grad():
        parts = {k: as_part(v, own[k]) if k in own else v for k, v in state.items()}
        module.load_state_dict(parts, strict=True)
