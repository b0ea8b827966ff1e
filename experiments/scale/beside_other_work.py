"""How much slower is a run beside busy programs? Whole commands and their training, alternating.

python experiments/scale/beside_other_work.py [--rounds 2] [--limit 220]

On a quiet machine. A command trains LoRA on nano for 12 steps, as it is, alone and beside one and
two programs that use a core each; and alone with all cores and threads that spin, which is what
was before threads were chosen. It stops before its limit, and prints medians of what it has.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMAND = (
    "+experiment=lora", "model=nano", "model.weights=random", "baselines=[]",
    "trainer=smoke", "trainer.limit_train_batches=12",
)  # fmt: skip
GOALS = {1: 1.6, 2: 2.5}
"""Times the quiet time, by busy programs."""


@contextmanager
def busy(number: int) -> Iterator[None]:
    """So many programs that use a core each."""
    spin = [sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(spin) for _ in range(number)]
    time.sleep(1 if number else 0)  # as another program that is there already
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def measured(environment: dict[str, str]) -> tuple[float, float]:
    """Returns seconds of the whole command, and of its training."""
    variables = {
        k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT")
    }
    variables |= {"LLM_LIGHTNING_OFFLINE": "1", "HF_HUB_OFFLINE": "1"} | environment
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "llm_lightning", *COMMAND, f"runs_dir={folder}"],
            check=True,
            stdout=subprocess.DEVNULL,
            env=variables,
        )
        took = time.perf_counter() - begun
        (file,) = Path(folder).glob("*/*/summary.json")
        return took, json.loads(file.read_text())["seconds"]["training"]


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--limit", type=float, default=220, help="seconds of all")
    options = parser.parse_args()
    end = time.monotonic() + options.limit
    cores = str(len(os.sched_getaffinity(0)))
    cases = {
        "alone": (0, {}),
        "alone, all cores, spinning": (0, {"OMP_NUM_THREADS": cores}),
        "beside one": (1, {}),
        "beside two": (2, {}),
    }
    measured({})  # what is read from the disk is read now
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for _ in range(options.rounds):
        for name, (others, environment) in cases.items():
            longest = max((took for times in found.values() for took, _ in times), default=30)
            if time.monotonic() + longest > end:
                continue
            with busy(others):
                found[name].append(measured(environment))
    print("| case | runs | whole, s | times | training, s | times | goal |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    quiet = [statistics.median(times) for times in zip(*found["alone"], strict=True)]
    for name, times in found.items():
        if times:
            cells = [
                f"{value:.2f} | {value / base:.2f}"
                for value, base in zip(
                    map(statistics.median, zip(*times, strict=True)), quiet, strict=True
                )
            ]
            goal = GOALS.get(cases[name][0], "")
            print(f"| {name} | {len(times)} | {' | '.join(cells)} | {goal} |")


if __name__ == "__main__":
    main()
