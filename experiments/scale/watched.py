"""Runs the program, and watches how much memory each of its processes takes."""

import csv
import json
import multiprocessing
import os
import re
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
LIMIT_S = 1200.0
"""After so many seconds a command is ended."""
MOST_MIB = 20 * 1024.0
"""With more memory than this in all its processes a command is ended."""


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
    summary: dict[str, Any]
    """Of its only run; empty if it has none."""
    curves: list[dict[str, str]]
    """Rows of what that run logged."""

    @property
    def losses(self) -> list[float]:
        """The training loss of each step."""
        return [float(row["train/loss"]) for row in self.curves if row.get("train/loss")]

    @property
    def expected_mib(self) -> float | None:
        """The peak that a dry run prints."""
        told = re.search(r"peak of .*?([\d,]+\.\d)\s*$", self.output, re.MULTILINE)
        return float(told[1].replace(",", "")) if told else None


def run(*settings: str, threads: int = 1) -> Watched:
    """Does what ``python -m llm_lightning`` does with these settings in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        environment = {
            "OMP_NUM_THREADS": str(threads),
            "LLM_LIGHTNING_OFFLINE": "1",
            "LLM_LIGHTNING_CACHE": str(folder / "cache"),
            "COLUMNS": "150",
        }
        started = time.perf_counter()
        arguments = [*settings, f"runs_dir={folder / 'runs'}"]
        process = _STARTER.Process(target=_command, args=(arguments, environment, folder))
        process.start()
        peaks, ended = _watch(process, started + LIMIT_S)
        process.join()
        seconds = time.perf_counter() - started
        output = (folder / "output.txt").read_text() + ended
        summaries = [json.loads(f.read_text()) for f in folder.glob("runs/*/*/summary.json")]
        curves = [
            row for f in folder.glob("runs/*/*/metrics.csv") for row in csv.DictReader(f.open())
        ]
    return Watched(
        status=process.exitcode or 0,
        seconds=seconds,
        peaks_mib=peaks,
        output=output,
        summary=summaries[0] if summaries else {},
        curves=curves,
    )


def _watch(process: Any, end: float) -> tuple[list[float], str]:
    """Peaks of a command's processes; and why it was ended, if it was."""
    main, peaks, why = psutil.Process(process.pid), {}, ""
    while process.is_alive():
        now = 0.0
        for one in (main, *_children(main)):
            if (marks := _memory_mib(one.pid)) is not None:
                peaks[one.pid] = max(marks[0], peaks.get(one.pid, 0.0))
                now += marks[1]
        if now > MOST_MIB or time.perf_counter() > end:
            why = f"\nended with {now:,.0f} MiB in all its processes, at its limit\n"
            for one in (*_children(main), main):
                one.kill()
            break
        time.sleep(0.1)
    return [peak for peak in peaks.values() if peak > 300], why  # others ask git or the linker


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


def _memory_mib(pid: int) -> tuple[float, float] | None:
    """The high-water mark, which the program sets back when training begins, and what it has."""
    try:
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    found = {
        row.split(":")[0]: row.split()[1] for row in rows if row.startswith(("VmHWM", "VmRSS"))
    }
    if len(found) < 2:
        return None  # it has ended
    return int(found["VmHWM"]) / 1024, int(found["VmRSS"]) / 1024
