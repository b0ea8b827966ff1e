"""The precision that is fastest on a device."""

import torch

AUTO = "auto"


def resolve(precision: str, accelerator: str) -> str:
    """Returns Lightning's name of a precision; ``auto`` is ``bf16-mixed`` on devices with bf16.

    NVIDIA GPUs support it from compute capability 8.0, CPUs with AVX512-BF16 or AMX. Elsewhere bf16
    is emulated, and slower than fp32.

    Args:
        precision: as in ``trainer.precision``.
        accelerator: as in ``trainer.accelerator``.
    """
    if precision != AUTO:
        return precision
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        is_native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif accelerator in ("auto", "cpu") and not torch.backends.mps.is_available():
        instructions = torch.cpu.get_capabilities()
        is_native = any(instructions.get(name) for name in ("avx512_bf16", "amx_bf16"))
    else:
        is_native = False
    return "bf16-mixed" if is_native else "32-true"
