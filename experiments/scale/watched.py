"""Runs the program, and watches how much memory each of its processes takes."""

import json
import multiprocessing
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

SHORT = (
    "trainer.max_epochs=1", "trainer.limit_train_batches=4", "trainer.limit_val_batches=2",
    "trainer.limit_test_batches=2", "trainer.log_every_n_steps=1", "baselines=[]",
    "untrained_responses=false",
)  # fmt: skip
"""Settings of a run of four steps that does all that a run does."""


# Processes that have imported everything already; what they take is the same.
_STARTER = multiprocessing.get_context("forkserver")
_STARTER.set_forkserver_preload(["llm_lightning.commands.main", "llm_lightning.commands.train"])


@dataclass
class Watched:
    """What a command did."""

    status: int
    seconds: float
    peaks_mib: list[float]
    """The largest resident set of each process, in the order of their start."""
    output: str
    folder: Path

    @property
    def summary(self) -> dict[str, Any]:
        """The summary of its only run."""
        (file,) = self.folder.glob("*/seed_*/summary.json")
        found: dict[str, Any] = json.loads(file.read_text())
        return found


def run(*settings: str, threads: int = 1) -> Watched:
    """Does what ``python -m llm_lightning`` does with these settings in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="scale-"))
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "LLM_LIGHTNING_OFFLINE": "1",
        "LLM_LIGHTNING_CACHE": str(folder / "cache"),
        "COLUMNS": "150",
    }
    started = time.perf_counter()
    peaks: dict[int, float] = {}
    arguments = [*settings, f"runs_dir={folder}"]
    process = _STARTER.Process(target=_command, args=(arguments, environment, folder))
    process.start()
    main = psutil.Process(process.pid)
    while process.is_alive():
        for one in (main, *_children(main)):
            if (peak := _peak_mib(one.pid)) is not None:
                peaks[one.pid] = max(peak, peaks.get(one.pid, 0.0))
        time.sleep(0.1)
    process.join()
    output = (folder / "output.txt").read_text()
    seconds = time.perf_counter() - started
    trained = [peak for peak in peaks.values() if peak > 300]  # others only ask git or the linker
    return Watched(process.exitcode or 0, seconds, trained, output, folder)


def _command(arguments: list[str], environment: dict[str, str], folder: Path) -> None:
    os.environ.update(environment)
    with (folder / "output.txt").open("w") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    from llm_lightning.commands.main import main

    sys.argv = ["llm_lightning"]
    sys.exit(main(arguments))


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found


def _peak_mib(pid: int) -> float | None:
    """The high-water mark, which the program sets back when training begins."""
    try:
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    marks = [int(row.split()[1]) / 1024 for row in rows if row.startswith("VmHWM")]
    return marks[0] if marks else None
