"""Processor seconds of one command in several checkouts, by turns: what has a change bought?

python experiments/benchmarks/alternating.py --checkouts ../before . --rounds 2 -- \
    -m +experiment=last_block model=nano optim.lr=1e-5,2e-5 seed=1,2,3,4,5

runs ``python -m llm_lightning`` with what follows ``--``, in a new process and with runs and cache
in a new folder each time. Processor seconds hardly depend on what else the machine does, seconds
do.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkouts", type=Path, nargs="+", required=True)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("arguments", nargs="+", help="of the program, after --")
    args = parser.parse_args()
    found: dict[Path, list[float]] = {checkout: [] for checkout in args.checkouts}
    for number in range(args.rounds):
        for checkout in args.checkouts:
            processor, seconds, mib = measured(checkout, args.arguments)
            found[checkout].append(processor)
            print(
                f"round {number + 1}  {checkout}  processor {processor:.1f} s  "
                f"{seconds:.1f} s  peak {mib:,.0f} MiB",
                flush=True,
            )
    for checkout, values in found.items():
        print(f"{checkout}: median {statistics.median(values):.1f} s of processor time")


def measured(checkout: Path, arguments: list[str]) -> tuple[float, float, float]:
    """Runs the command; returns processor seconds, seconds and its peak in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        own = {"LLM_LIGHTNING_OFFLINE": "1", "LLM_LIGHTNING_CACHE": f"{folder}/cache"}
        started = time.perf_counter()
        with log.open("w") as opened:
            process = subprocess.Popen(
                [sys.executable, "-m", "llm_lightning", *arguments, f"runs_dir='{folder}/runs'"],
                cwd=checkout, env=os.environ | own, stdout=opened, stderr=opened,
            )  # fmt: skip
            _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(log.read_text(encoding="utf-8")[-3000:])
    return usage.ru_utime + usage.ru_stime, seconds, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
