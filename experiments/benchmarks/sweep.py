"""A sweep of rows on kept activations in one process: how long, and where the time goes.

python experiments/benchmarks/sweep.py --rows 20 --seeds 5

prints seconds in all, the seconds of processor time of each run after the first, and their parts by
``summary.json``. ``--profile FILE`` writes what ``cProfile`` saw instead; it makes everything about
twice as slow.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

_STRATEGIES = ("last_layer", "last_block")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20, help="an even number of settings")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", nargs="*", default=[], help="further settings of all runs")
    parser.add_argument("--profile", type=Path, help="file for cProfile")
    args = parser.parse_args()
    rates = [f"{1e-5 * (n + 1):.0e}" for n in range(args.rows // len(_STRATEGIES))]
    with tempfile.TemporaryDirectory() as folder:
        profiling = ["-m", "cProfile", "-o", str(args.profile)] if args.profile else []
        command = [
            *(sys.executable, *profiling, "-m", "llm_lightning", "-m"),
            f"+experiment={','.join(_STRATEGIES)}",
            "model=nano",
            f"optim.lr={','.join(rates)}",
            f"seed={','.join(str(n) for n in range(1, args.seeds + 1))}",
            f"runs_dir='{folder}/runs'",
            *args.set,
        ]
        offline = {"LLM_LIGHTNING_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
        started = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ | offline, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        files = sorted(Path(folder).glob("runs/*/*/summary.json"), key=lambda f: f.stat().st_mtime)
        summaries = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        ends = [file.stat().st_mtime for file in files]
    print(
        f"{len(files)} runs: {seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} of processor time"
    )
    each = [later - earlier for earlier, later in pairwise(ends)]
    if each:
        print(f"from the end of one to the end of the next: {statistics.median(each):.2f} s")
    for part in ("total", "training", "validation", "evaluation"):
        print(f"  {part}: {statistics.median(s['seconds'][part] for s in summaries):.2f} s")
    print(f"  optimizer steps: {statistics.median(s['optimizer_steps'] for s in summaries):.0f}")


if __name__ == "__main__":
    main()
