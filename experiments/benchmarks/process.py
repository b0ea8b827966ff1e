"""Runs a measurement in a process of its own, and notes its time and peak memory."""

import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from schedule import Case

HERE = Path(__file__).parent
FOLDER = "{folder}"  # in a program's arguments: a folder that is there for this measurement only


def measured(
    case: Case, number: int, *, is_estimate: bool, log: Path, limit_s: float = math.inf
) -> dict[str, Any]:
    """Runs a case; what goes wrong in it is part of the record.

    Args:
        case: what to run.
        number: of the round.
        is_estimate: whether to time only a part of it and work out the rest.
        log: file for all that the process prints.
        limit_s: seconds after which the process is ended, which counts as a failure.

    Returns:
        ``seconds`` from its start to its end and ``peak_mib``, the largest resident set, both as
        the system counts them; and what the case itself returned, in ``result``.
    """
    record: dict[str, Any] = {"group": case.group, "case": case.name, "round": number}
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        started = time.perf_counter()
        code, peak_mib = _run(_command(case, is_estimate, folder, result), folder, log, limit_s)
        record |= {"seconds": time.perf_counter() - started, "peak_mib": peak_mib, "ok": code == 0}
        if code:
            record["error"] = f"exit status {code}: {_last_line(log)}"
            if record["seconds"] >= limit_s:
                record["error"] = f"ended after {limit_s:.0f} s"
        elif case.program:
            record["result"] = _of_program(Path(folder))
        else:
            record["result"] = json.loads(result.read_text(encoding="utf-8"))
    record["estimated"] = is_estimate
    if record["ok"]:
        # An estimate leaves steps out and returns how long they would have taken.
        record["seconds"] += record["result"].get("left_out_s", 0.0)
    return record


def _command(case: Case, is_estimate: bool, folder: str, result: Path) -> list[str]:
    if case.program:
        return [sys.executable, *(part.replace(FOLDER, folder) for part in case.program)]
    arguments = case.arguments | ({"estimate": True} if is_estimate else {})
    measure = [sys.executable, str(HERE / "measure.py"), case.call]
    return [*measure, json.dumps(arguments), str(result)]


def _run(command: list[str], folder: str, log: Path, limit_s: float) -> tuple[int, float]:
    environment = os.environ | {
        "LLM_LIGHTNING_CACHE": str(Path(folder) / "cache"),  # nothing is left from the last time
        "LLM_LIGHTNING_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=folder
        )
        clock = threading.Timer(min(limit_s, threading.TIMEOUT_MAX), process.kill)
        clock.daemon = True
        clock.start()
        try:
            # Popen.wait() does not return what this one process has used.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            clock.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB else
    return process.returncode, usage.ru_maxrss / unit


def _of_program(folder: Path) -> dict[str, Any]:
    """What our program wrote about its run; nothing, if it was none."""
    files = list(folder.glob("**/summary.json"))
    if not files:
        return {}
    summary = json.loads(files[0].read_text(encoding="utf-8"))
    frozen = summary["frozen_activations"]
    return {
        "optimizer_steps": summary["optimizer_steps"],
        "examples": summary["epochs"] * summary["examples_per_epoch"],
        "accuracy": {split: values["accuracy"] for split, values in summary["metrics"].items()},
        "frozen_s": frozen and frozen["seconds"],
        "phases_s": summary["seconds"],
        "precision": summary["precision"],
    }


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it printed nothing"
