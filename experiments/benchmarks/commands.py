"""How long people wait for a command of ours, from its start: nano, offline, in a new process."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_RUN = ("+experiment=last_block", "model=nano")


def first_line() -> dict[str, Any]:
    """Seconds until a training run has said something."""
    started = time.perf_counter()
    process = _started(*_RUN, "runs_dir=runs")
    if process.stdout is None:
        raise RuntimeError("its output is piped")
    line = process.stdout.readline()
    seconds = time.perf_counter() - started
    process.kill()
    process.communicate()
    return {"seconds": seconds, "line": line.strip()}


def whole_run() -> dict[str, Any]:
    """Seconds of a training run of five epochs, with everything that it writes."""
    return {"seconds": _seconds(*_RUN, "runs_dir=runs")}


def predict() -> dict[str, Any]:
    """Seconds of a prediction for one text; the run is trained before, and not counted."""
    _seconds(*_RUN, "trainer=smoke", "baselines=[]", "runs_dir=runs")
    (summary,) = Path("runs").glob("*/*/summary.json")
    return {"seconds": _seconds("predict", str(summary.parent), "You won a prize!")}


def sweep(*, rows: int, seeds: int) -> dict[str, Any]:
    """Seconds of a sweep of so many rows and seeds on kept activations, in one process.

    Args:
        rows: an even number: half of them train the head alone, half the last block too.
        seeds: of each.
    """
    rates = ",".join(f"{1e-5 * (number + 1):.0e}" for number in range(rows // 2))
    each = ",".join(str(number) for number in range(1, seeds + 1))
    settings = ("+experiment=last_layer,last_block", "model=nano", f"optim.lr={rates}")
    seconds = _seconds("-m", *settings, f"seed={each}", "runs_dir=runs")
    return {"seconds": seconds, "runs": len(list(Path("runs").glob("*/*/summary.json")))}


def _seconds(*arguments: str) -> float:
    started = time.perf_counter()
    process = _started(*arguments)
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(output[-2000:])
    return time.perf_counter() - started


def _started(*arguments: str) -> "subprocess.Popen[str]":
    """Starts our program; standard error comes with its output."""
    return subprocess.Popen(
        [sys.executable, "-m", "llm_lightning", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"LLM_LIGHTNING_OFFLINE": "1"},
    )
