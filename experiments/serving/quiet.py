"""`serve` beside the plain server on a machine that does nothing else: under four minutes.

    python experiments/serving/quiet.py RUN FOLDER --out quiet.json

RUN and FOLDER are those of measure.py. The two servers take turns, each started anew, first as a
user starts them, with as many threads as their libraries take, and then with one thread an
operation (OMP_NUM_THREADS=1). Medians are printed, and how many times as many requests `serve`
answers as the plain server.
"""

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

import pandas as pd
from measure import commands, cpu_s, load, running

LOADS = {1: 150, 64: 1500}
"""Requests by number of clients."""
ROUNDS = 2
SERVERS = ("serve", "FastAPI + pipeline")
FIGURES = ("requests_per_second", "p50_ms", "p95_ms", "cpu_ms_a_request", "errors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    texts = pd.read_csv(options.run / "predictions_test.csv")["text"].tolist()
    file, answers = options.out.with_suffix(".texts"), options.out.with_suffix(".answers")
    file.write_text(json.dumps(texts), encoding="utf-8")
    found: dict[str, dict[str, dict[int, list[dict[str, float]]]]] = {}
    for threads in ("as started", "one"):
        os.environ.pop("OMP_NUM_THREADS", None)
        if threads == "one":
            os.environ["OMP_NUM_THREADS"] = "1"
        for _ in range(ROUNDS):
            for name in SERVERS:
                with running(commands(options.run, options.folder)[name]) as (url, server):
                    load(url, file, 8, 200, answers)  # the first requests are slower
                    for clients, requests in LOADS.items():
                        before = cpu_s(server)
                        figures = load(url, file, clients, requests, answers)
                        figures["cpu_ms_a_request"] = 1000 * (cpu_s(server) - before) / requests
                        by_clients = found.setdefault(threads, {}).setdefault(name, {})
                        by_clients.setdefault(clients, []).append(figures)
    rows: list[dict[str, Any]] = []
    for threads, servers in found.items():
        for clients in LOADS:
            medians = {
                name: {
                    key: statistics.median(one[key] for one in servers[name][clients])
                    for key in FIGURES
                }
                for name in SERVERS
            }
            ours, theirs = (medians[name]["requests_per_second"] for name in SERVERS)
            for name, figures in medians.items():
                rows.append({"threads": threads, "clients": clients, "server": name, **figures})
                print({key: _rounded(value) for key, value in rows[-1].items()})
            print(f"{threads}, {clients} clients: {ours / theirs:.2f} times as many", flush=True)
    options.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    for scratch in (file, answers):
        scratch.unlink()


def _rounded(value: Any) -> Any:
    return round(value, 2) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
