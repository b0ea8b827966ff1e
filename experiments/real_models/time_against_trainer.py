r"""How long does a fine-tuning take with this project, and with ``transformers.Trainer``?

    python experiments/real_models/time_against_trainer.py MODEL_FOLDER \
        --data sms+spam+collection.zip --out times.json --threads 2 --repeats 3

fine-tunes a transformers model by each strategy with this project's command and with
``peer_trainer.py`` in its default and its best form, on the same splits. Every measurement is a
process of its own; a round holds every case once (ours, default, best), and rounds follow one
another, so that a machine that slows down does so for all. Model and libraries are read from disk
once before. The results are in ``times.json`` after every measurement, and printed at the end as a
Markdown table; the same command goes on where it was stopped.

Seconds are those of fine-tuning: training, validation after each epoch and the final evaluation of
all three splits, without imports, loading and encoding; ours also write checkpoints, predictions
and curves. Peak memory is the largest resident set of the process, as the kernel counts it. Tables
give medians over rounds, and the ratio's range over single rounds.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FOR_ALL = ("task=classify", "model_task=none", "trainer.precision=auto", "baselines=[]")
GROUPED = "data.group_by_length=true"  # as the best form of the Trainer

# Settings of our command for each strategy; the peers' are the same (see peer_trainer.py). Where
# most of the blocks are cached, grouping by length brings little, and costs a little accuracy.
STRATEGIES = {
    "last_layer": ("+experiment=last_layer",),
    "last_block": ("+experiment=last_block",),
    "last_two_blocks": ("+experiment=last_two_blocks",),
    "lora": ("+experiment=lora", GROUPED),
    "all": ("+experiment=all", GROUPED),
}
CASES = ("ours", "default", "best")
PEER = Path(__file__).with_name("peer_trainer.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help="folder of a transformers model")
    parser.add_argument("--data", type=Path, required=True, help="the SMS Spam Collection's zip")
    parser.add_argument("--split", default="table", help="data.split of our runs")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="rounds; 0 prints the table")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=123)
    arguments = parser.parse_args()
    file = arguments.out
    records = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    done = {(r["strategy"], r["case"], r["round"]) for r in records if r["ok"]}
    wanted = [
        (strategy, case, number)
        for strategy in arguments.strategies
        for number in range(1, arguments.repeats + 1)
        for case in arguments.cases
        if (strategy, case, number) not in done
    ]
    with tempfile.TemporaryDirectory() as scratch:
        splits = _splits(arguments, Path(scratch)) if wanted else Path()
        for position, (strategy, case, number) in enumerate(wanted, start=1):
            print(f"{position}/{len(wanted)} {strategy}, {case}, round {number}", flush=True)
            record = _measured(arguments, strategy, case, splits)
            record |= {"strategy": strategy, "case": case, "round": number}
            records = [r for r in records if _key(r) != _key(record)] + [record]
            file.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    print(_table([record for record in records if record["ok"]]))


def _key(record: dict[str, Any]) -> tuple[str, str, int]:
    return record["strategy"], record["case"], record["round"]


def _splits(arguments: argparse.Namespace, scratch: Path) -> Path:
    """Writes the splits, by a run without a network, and reads the model's files once."""
    runs = scratch / "splits"
    command = [*_our_program(arguments, runs), "+experiment=baseline_majority"]
    code, output, _ = _process(command, arguments.threads, scratch)
    if code:
        sys.exit(output)
    for path in arguments.model.iterdir():
        if path.is_file():
            path.read_bytes()
    return next(runs.glob("**/splits"))


def _our_program(arguments: argparse.Namespace, runs: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "llm_lightning"),
        f"data.path='{arguments.data.resolve()}'",
        f"data.split={arguments.split}",
        f"seed={arguments.seed}",
        f"runs_dir='{runs}'",
    ]


def _measured(
    arguments: argparse.Namespace, strategy: str, case: str, splits: Path
) -> dict[str, Any]:
    scratch = Path(tempfile.mkdtemp())
    try:
        if case == "ours":
            command = [
                *_our_program(arguments, scratch / "runs"),
                *STRATEGIES[strategy],
                "model=hub",
                f"model.weights='{arguments.model.resolve()}'",
                f"trainer.max_epochs={arguments.epochs}",
                *FOR_ALL,
            ]
        else:
            command = [sys.executable, str(PEER), str(arguments.model.resolve()), str(splits)]
            command += [f"--train={strategy}", f"--form={case}", f"--epochs={arguments.epochs}"]
            command += [f"--seed={arguments.seed}", f"--threads={arguments.threads}"]
        started = time.perf_counter()
        code, output, peak_mib = _process(command, arguments.threads, scratch)
        record = {"process_s": time.perf_counter() - started, "peak_mib": peak_mib, "ok": not code}
        if code:
            print(output[-2000:], file=sys.stderr)
            return record | {"error": output[-2000:]}
        found = _ours(scratch) if case == "ours" else _peer(output)
        return found | record
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _ours(scratch: Path) -> dict[str, Any]:
    summary = json.loads(next(scratch.glob("runs/**/summary.json")).read_text(encoding="utf-8"))
    if summary["fallbacks"]:
        sys.exit(f"not what was asked for: {summary['fallbacks']}")
    return {
        "fine_tuning_s": summary["seconds"]["total"],
        "parts_s": summary["seconds"],
        "frozen_activations": summary["frozen_activations"],
        "precision": summary["precision"],
        "optimizer_steps": summary["optimizer_steps"],
        "max_length": summary["data"]["max_length"],
        "trainable": summary["parameters"]["trainable"],
        "accuracy": {split: values["accuracy"] for split, values in summary["metrics"].items()},
    }


def _peer(output: str) -> dict[str, Any]:
    """The line of JSON among what the peer and its libraries printed."""
    lines = [line for line in output.splitlines() if line.startswith('{"')]
    return json.loads(lines[-1])


def _process(command: list[str], threads: int, folder: Path) -> tuple[int, str, float]:
    """Exit status, what it printed, and its largest resident set in MiB."""
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "LLM_LIGHTNING_CACHE": str(folder / "cache"),  # nothing is left from the last time
        "LLM_LIGHTNING_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    log = folder / "log.txt"
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
        try:
            # Popen.wait() does not return what this one process has used.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB else
    return process.returncode, log.read_text(encoding="utf-8"), usage.ru_maxrss / unit


def _table(records: list[dict[str, Any]]) -> str:
    lines = [
        "| strategy | rounds | ours, s | default, s | ratio | best, s | ratio "
        "| peak MiB: ours, default, best | test %: ours, default, best |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for strategy in STRATEGIES:
        own = {
            case: {r["round"]: r for r in records if _key(r)[:2] == (strategy, case)}
            for case in CASES
        }
        if not own["ours"]:
            continue
        cells = [f"`{strategy}`", str(len(own["ours"])), _median(own["ours"], "fine_tuning_s")]
        for case in CASES[1:]:
            cells += [_median(own[case], "fine_tuning_s"), _ratio(own[case], own["ours"])]
        cells.append(", ".join(_median(own[case], "peak_mib", 0) for case in CASES))
        cells.append(", ".join(_accuracy(own[case]) for case in CASES))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _median(rounds: dict[int, dict[str, Any]], key: str, digits: int = 1) -> str:
    values = [record[key] for record in rounds.values()]
    return f"{statistics.median(values):,.{digits}f}" if values else "-"


def _ratio(peer: dict[int, dict[str, Any]], ours: dict[int, dict[str, Any]]) -> str:
    both = sorted(peer.keys() & ours.keys())
    if not both:
        return "-"
    ratios = [peer[number]["fine_tuning_s"] / ours[number]["fine_tuning_s"] for number in both]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def _accuracy(rounds: dict[int, dict[str, Any]]) -> str:
    values = [100 * record["accuracy"]["test"] for record in rounds.values()]
    return f"{statistics.median(values):.2f}" if values else "-"


if __name__ == "__main__":
    main()
