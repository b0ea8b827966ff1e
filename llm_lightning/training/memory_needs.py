"""What each process of a run keeps in memory while it trains, by arithmetic."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

_AS_LOADED = 4
"""Bytes of a weight until its precision is lowered."""
_QUANTIZED = 0.53
"""Bytes of a weight in four bits, its scales in eight bits included."""
_STATE_IN_8_BITS = 2 + 8 / 256
"""Bytes of both moments of a weight, a scale in fp32 for 256 of each included."""


@dataclass(frozen=True)
class MemoryNeeds:
    """Bytes of each process; activations and the program itself come on top."""

    weights: int
    gradients: int
    optimizer: int
    start: int
    """Weights at first: every process makes the whole model, in 32 bits."""
    put_together: int = 0
    """Trained weights of shared out blocks, whole, as the main process has them for a checkpoint;
    each of their two moments takes as much."""

    @property
    def kept(self) -> int:
        """What it keeps from step to step, where it computes."""
        return self.weights + self.gradients + self.optimizer


def memory_needs(
    model: nn.Module,
    blocks: Iterable[nn.Module],
    *,
    num_shares: int = 1,
    half: bool = False,
    state_bits: int = 32,
    quantized_base: bool = False,
) -> MemoryNeeds:
    """Counts the bytes of a model's parameters and what training keeps beside them.

    Args:
        model: with its strategy applied; it may be on the meta device.
        blocks: those of its parts that processes share out.
        num_shares: into how many parts each block falls; 1 leaves it whole.
        half: whether parameters have 16 bits (``bf16-true``, ``16-true``).
        state_bits: ``optim.state_bits``.
        quantized_base: whether the frozen matrices of the blocks are in four bits.
    """
    size = 2 if half else 4
    state = 2 * size if state_bits == 32 else _STATE_IN_8_BITS
    in_blocks = {id(p) for block in blocks for p in block.parameters()}
    weights = gradients = optimizer = start = largest = together = 0.0
    for parameter in model.parameters():
        is_in_block, number = id(parameter) in in_blocks, parameter.numel()
        is_quantized = quantized_base and is_in_block and parameter.ndim == 2
        own = _QUANTIZED if is_quantized and not parameter.requires_grad else float(size)
        share = number / (num_shares if is_in_block else 1)
        start += number * _AS_LOADED
        weights += share * own
        if parameter.requires_grad:
            gradients += share * size
            optimizer += share * state
            together += number * size if is_in_block and num_shares > 1 else 0
    for block in blocks if num_shares > 1 else ():
        # Put together for its passes.
        largest = max(largest, sum(p.numel() * size for p in block.parameters()))
    return MemoryNeeds(
        int(weights + largest), int(gradients), int(optimizer), int(start), int(together)
    )


def peak_in_parts_mib(
    whole_mib: float, program_mib: float, whole: MemoryNeeds, part: MemoryNeeds, saved: int
) -> float:
    """Returns the peak of a process that has parts of the blocks, from that of one with all.

    It is that of the main process, which puts checkpoints together.

    Args:
        whole_mib: the measured peak of one process, in MiB.
        program_mib: of these, what the program takes without a model.
        whole: what the process keeps that was measured.
        part: what each process will keep.
        saved: bytes that it puts together for a checkpoint.
    """
    in_parts = whole_mib + (part.kept - whole.kept) / 2**20
    return max(in_parts, program_mib + max(part.start, part.kept + saved) / 2**20)
