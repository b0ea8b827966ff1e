"""What is recorded about timed training steps, the same for all."""

import statistics
from typing import Any

import torch
from flops import step_flops

from llm_lightning.training.device_peak import peak_flops

LOG_EVERY = 10  # steps, as in `trainer.log_every_n_steps`


def step_result(
    seconds: list[float],
    shapes: list[list[int]],
    *,
    first_pass_s: float | None = None,
    real_tokens: int,
    precision: str,
    sizes: dict[str, int],
    strategy: str,
    **work: Any,
) -> dict[str, Any]:
    """Typical seconds of a step, and the operations that the steps took by formula.

    Args:
        seconds: of each step.
        shapes: [rows, width] of each.
        first_pass_s: seconds of an earlier pass over the same batches, if there was one.
        real_tokens: of all steps together, padding left out: equal where the work is.
        precision: ``fp32`` or ``bf16``.
        sizes: ``n_layer`` and ``n_embd``, and more.
        strategy: what trains.
        work: see :func:`flops.step_flops`.
    """
    flops = sum(
        step_flops(
            n_layer=sizes["n_layer"],
            n_head=sizes["n_head"],
            n_embd=sizes["n_embd"],
            strategy=strategy,
            rows=rows,
            width=width,
            **work,
        )
        for rows, width in shapes
    )
    return {
        "step_s": statistics.median(seconds),
        "logged_step_s": statistics.median(_means(seconds, LOG_EVERY)),
        "first_pass_s": first_pass_s,
        "steps": len(seconds),
        "examples": sum(rows for rows, _ in shapes),
        "real_tokens": real_tokens,
        "gflops": flops / sum(seconds) / 1e9,
        "precision": precision,
    }


def device_facts(device: torch.device) -> dict[str, Any]:
    """Name, peak memory and best rate of a GPU; nothing of a CPU.

    The rate is the manufacturer's for dense products in bf16.
    """
    if device.type != "cuda":
        return {}
    peak = peak_flops(device, torch.bfloat16)
    return {
        "device": torch.cuda.get_device_name(device),
        "device_mib": torch.cuda.max_memory_allocated(device) / 2**20,
        "peak_gflops": None if peak is None else peak / 1e9,
    }


def _means(seconds: list[float], count: int) -> list[float]:
    """Of as many steps at a time, so that each mean has its share of what is done now and then."""
    parts = [seconds[at : at + count] for at in range(0, len(seconds), count)]
    whole = [part for part in parts if len(part) == count] or parts
    return [statistics.fmean(part) for part in whole]
