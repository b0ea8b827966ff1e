"""Whether every experiment runs on a device: a few steps of each."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from llm_lightning.config.experiments import list_experiments

_OTHER_KINDS = ("instruct", "pretrain", "gpt_vs", "qlora", "baseline")


def smoke(*, names: list[str], overrides: list[str]) -> dict[str, Any]:
    """Runs experiments for a few steps, as a sweep in one process.

    Args:
        names: of the experiments.
        overrides: settings of all.

    Raises:
        RuntimeError: with the end of what was printed, if one fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "llm_lightning", "-m", f"+experiment={','.join(names)}"]
        command += ["trainer=smoke", "baselines=[]", "untrained_responses=false", *overrides]
        command.append(f"runs_dir='{folder}'")
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            shown = (done.stdout + done.stderr)[-2000:]
            raise RuntimeError(f"exit status {done.returncode}: {shown}")
        found = sorted(file.parts[-3] for file in Path(folder).glob("*/*/summary.json"))
    return {"experiments": found, "smoke_s": time.perf_counter() - started}


def classifiers() -> list[str]:
    """Returns the experiments that train a classifier, whatever its model."""
    return [name for name in list_experiments() if not name.startswith(_OTHER_KINDS)]
