"""How much slower is a run beside busy programs? Whole commands and their training, alternating.

python experiments/scale/beside_other_work.py [--rounds 3] [--limit 440]

On a quiet machine. A command trains LoRA on nano, as it is, alone and beside one and two programs
that use a core each: there before it starts, or once its threads are chosen. Alone also with all
cores and threads that spin, which is what was before threads were chosen, on gpt2_small too; and
with threads that spin less. It begins nothing that could pass the limit, ends what does, and
prints every run and the medians of what it has.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

CORES = str(len(os.sched_getaffinity(0)))
SPINNING = {"OMP_NUM_THREADS": CORES}
NANO = ("+experiment=lora", "model=nano", "trainer=smoke", "trainer.limit_train_batches=100")
SMALL = (
    "+experiment=lora", "model=gpt2_small", "trainer=smoke", "trainer.limit_train_batches=10",
    "data.batch_size=4",
    "trainer.limit_val_batches=1", "trainer.limit_test_batches=1",
)  # fmt: skip
EITHER = ("model.weights=random", "baselines=[]")


@dataclass(frozen=True)
class Case:
    """What is measured."""

    command: tuple[str, ...] = NANO
    environment: dict[str, str] = field(default_factory=dict)
    before: int = 0
    """Busy programs that are there when the command starts."""
    after: int = 0
    """Those that come once it has chosen its threads."""
    base: str = "alone"
    """The case that it is compared with."""
    goal: str = ""
    rounds: int = 99


SHORTER = {"GOMP_SPINCOUNT": "1000"}
CASES = {
    "alone": Case(),
    "alone, all cores, spinning": Case(environment=SPINNING, goal=">= 0.97"),
    "alone, 1,000 spins": Case(environment=SHORTER, goal="<= 1.03"),
    "gpt2_small alone": Case(SMALL, base="gpt2_small alone"),
    "gpt2_small alone, all cores, spinning": Case(
        SMALL, SPINNING, base="gpt2_small alone", goal=">= 0.97"
    ),
    "gpt2_small alone, 1,000 spins": Case(SMALL, SHORTER, base="gpt2_small alone", goal="<= 1.03"),
    "beside one": Case(before=1, goal="<= 1.6", rounds=2),
    "beside two": Case(before=2, goal="<= 2.5", rounds=2),
    "two come later": Case(after=2, rounds=1),
    "two come later, 1,000 spins": Case(environment=SHORTER, after=2, rounds=1),
    "four come later": Case(after=4, rounds=1),
    "four come later, 1,000 spins": Case(environment=SHORTER, after=4, rounds=1),
}


class Busy:
    """Programs that use a core each, until the end of the body."""

    def __enter__(self) -> "Busy":
        self._running: list[subprocess.Popen[bytes]] = []
        return self

    def start(self, number: int) -> None:
        """Starts so many."""
        spin = [sys.executable, "-c", "while True: pass"]
        self._running += [subprocess.Popen(spin) for _ in range(number)]

    def __exit__(self, *raised: object) -> None:
        for one in self._running:
            one.kill()
            one.wait()


@dataclass(frozen=True)
class Took:
    """Seconds of a run."""

    whole: float
    training: float
    threads: str
    """What it said about them."""


def measured(case: Case, limit: float) -> Took | None:
    """Returns what a run took; ``None`` if it was ended at the limit."""
    variables = {
        k: v
        for k, v in os.environ.items()
        if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    variables |= {"LLM_LIGHTNING_OFFLINE": "1", "HF_HUB_OFFLINE": "1"} | case.environment
    with tempfile.TemporaryDirectory() as folder, Busy() as busy:
        busy.start(case.before)
        time.sleep(1)  # as another program that is there already
        output = Path(folder) / "output.txt"
        command = [sys.executable, "-u", "-m", "llm_lightning", *case.command, *EITHER]
        begun = time.perf_counter()
        with output.open("w") as out:
            process = subprocess.Popen(
                [*command, f"runs_dir={folder}"], stdout=out, stderr=out, env=variables
            )
            try:
                _wait(process, limit, output, lambda: busy.start(case.after))
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
        took = time.perf_counter() - begun
        if took >= limit:
            return None
        if process.returncode:
            sys.exit(output.read_text())
        (file,) = Path(folder).glob("*/*/summary.json")
        return Took(took, json.loads(file.read_text())["seconds"]["training"], _threads(output))


def _wait(
    process: "subprocess.Popen[bytes]", limit: float, output: Path, begins: Callable[[], None]
) -> None:
    """Until it ends or the limit is there; calls once when the run begins, after its choice."""
    end, has_begun = time.monotonic() + limit, False
    while process.poll() is None and time.monotonic() < end:
        if not has_begun and "\nfolder" in output.read_text():
            has_begun = True
            begins()
        time.sleep(0.02)


def _threads(output: Path) -> str:
    rows = [row for row in output.read_text().splitlines() if row.startswith("threads")]
    return rows[0].removeprefix("threads").strip() if rows else "as the environment says"


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=440, help="seconds of all")
    parser.add_argument("--cases", default=",".join(map(str, range(len(CASES)))), help="numbers")
    options = parser.parse_args()
    end = time.monotonic() + options.limit
    cases = {list(CASES)[int(n)]: CASES[list(CASES)[int(n)]] for n in options.cases.split(",")}
    measured(Case(), options.limit)  # what is read from the disk is read now
    found: dict[str, list[Took]] = {name: [] for name in cases}
    for turn in range(options.rounds):
        for name, case in cases.items():
            left = end - time.monotonic()
            expected = max((took.whole for took in found[name]), default=15)
            if turn >= case.rounds or left < expected:
                continue
            took = measured(case, left)
            if took is None:
                print(f"{name}: ended after {left:.0f} s", flush=True)
                continue
            found[name].append(took)
            print(
                f"{name}: {took.whole:.2f} s, training {took.training:.2f} s; "
                f"threads: {took.threads}",
                flush=True,
            )
    print("\n| case | runs | whole, s | times | training, s | times | goal |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for name, times in found.items():
        if not times:
            continue
        case = cases[name]
        cells = []
        for part in ("whole", "training"):
            own, base = (
                statistics.median(getattr(took, part) for took in some) if some else float("nan")
                for some in (times, found.get(case.base, []))
            )
            cells.append(f"{own:.2f} | {own / base:.2f}")
        print(f"| {name} | {len(times)} | {' | '.join(cells)} | {case.goal} |")


if __name__ == "__main__":
    main()
