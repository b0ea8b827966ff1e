"""Memory of one step of bitsandbytes' AdamW in 8 bits on a CPU, over a single parameter of 256 MiB.

python experiments/scale/eight_bit_step.py
"""

from pathlib import Path

import torch
from bitsandbytes.optim import AdamW8bit

_STATUS = Path("/proc/self/status")


def main() -> None:
    """Prints how far the step's peak lies above what is left after it."""
    parameter = torch.nn.Parameter(torch.randn(64 * 2**20))
    parameter.grad = torch.randn_like(parameter)
    optimizer = AdamW8bit([parameter], lr=1e-3)
    Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back
    optimizer.step()
    left, peak = mib("VmRSS"), mib("VmHWM")
    print(f"left {left:,.0f} MiB, peak {peak:,.0f}, {peak - left:,.0f} above it")


def mib(kind: str) -> float:
    """Returns what the kernel counts of this process."""
    rows = _STATUS.read_text().splitlines()
    return int(next(row.split()[1] for row in rows if row.startswith(kind))) / 1024


if __name__ == "__main__":
    main()
