"""`serve` beside other servers of the same model: speed, errors, memory, equal answers.

    python experiments/serving/measure.py RUN FOLDER --out results.json

RUN is a classifier's run folder; FOLDER its export in format hf. The texts are those of its test
split. Servers take turns, three rounds each, and the median of each figure is printed.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

HERE = Path(__file__).parent
LOADS = {1: 200, 8: 600, 64: 2000}
"""Requests by number of clients."""
ROUNDS = 3
MANY = 20_000


def commands(run: Path, folder: Path) -> dict[str, list[str]]:
    """The servers; each gets its port as the last argument."""
    return {
        "serve": ["-m", "llm_lightning", "serve", str(run), "--port"],
        "FastAPI + pipeline": [str(HERE / "plain_server.py"), str(folder)],
        "LitServe": [str(HERE / "litserve_server.py"), str(run)],
    }


@contextmanager
def running(arguments: list[str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Starts a server and ends it with all of its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, *arguments, str(port)], stdout=subprocess.DEVNULL, start_new_session=True
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1800):
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=1):
                    break
            except OSError:
                time.sleep(0.1)
        yield url, server
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        time.sleep(1)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def load(url: str, texts: Path, clients: int, requests: int, answers: Path) -> dict[str, float]:
    """Runs the load in a process of its own."""
    command = [sys.executable, HERE / "load.py", url, texts, "--clients", clients]
    command += ["--requests", requests, "--answers", answers]
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def cpu_s(server: subprocess.Popen[bytes]) -> float:
    """Processor time of a server and its processes, whatever else the machine computes."""
    own = psutil.Process(server.pid)
    times = [one.cpu_times() for one in (own, *own.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def rss_mib(server: subprocess.Popen[bytes]) -> float:
    """Memory of a server and its processes."""
    own = psutil.Process(server.pid)
    return sum(one.memory_info().rss for one in (own, *own.children(recursive=True))) / 2**20


def predicted(run: Path, texts: list[str]) -> list[dict[str, Any]]:
    """What `predict` says."""
    from llm_lightning.runs.load import load_classifier
    from llm_lightning.runs.prediction import decision_of, predict

    model, summary = load_classifier(run)
    return [found.fields() for found in predict(model, texts, decision_of(summary))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    texts = pd.read_csv(options.run / "predictions_test.csv")["text"].tolist()
    file, answers = options.out.with_suffix(".texts"), options.out.with_suffix(".answers")
    file.write_text(json.dumps(texts), encoding="utf-8")
    found: dict[str, dict[int, list[dict[str, float]]]] = {}
    for _ in range(ROUNDS):
        for name, command in commands(options.run, options.folder).items():
            with running(command) as (url, server):
                load(url, file, 8, 200, answers)  # the first requests are slower
                for clients, requests in LOADS.items():
                    before = cpu_s(server)
                    figures = load(url, file, clients, requests, answers)
                    figures["cpu_ms_a_request"] = 1000 * (cpu_s(server) - before) / requests
                    print(name, figures, flush=True)
                    found.setdefault(name, {}).setdefault(clients, []).append(figures)
    rows = [
        {"server": name, **{key: statistics.median(one[key] for one in many) for key in many[0]}}
        for name, by_clients in found.items()
        for many in by_clients.values()
    ]
    with running(commands(options.run, options.folder)["serve"]) as (url, server):
        load(url, file, 64, 2000, answers)
        memory = [rss_mib(server)]
        for _ in range(4):
            load(url, file, 64, MANY // 4, answers)
            memory.append(rss_mib(server))
        load(url, file, 64, len(texts), answers)
    ours = predicted(options.run, texts)
    theirs = json.loads(answers.read_text(encoding="utf-8"))
    pairs = list(zip(ours, theirs, strict=True))
    names = ("label", "abstained", "truncated")
    result = {
        "rows": rows,
        "rss_mib": memory,
        "texts": len(texts),
        "equal_labels": sum(all(a[key] == b[key] for key in names) for a, b in pairs),
        "equal_to_the_bit": sum(a["probabilities"] == b["probabilities"] for a, b in pairs),
        "largest_difference": max(abs(a["probability"] - b["probability"]) for a, b in pairs),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
