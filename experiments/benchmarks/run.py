"""Measures ours and the peers in turn, and writes tables and figures.

python experiments/benchmarks/run.py --out benchmarks --repeats 3

Stopped and called again with the same settings, it goes on where it was; what failed is tried
again.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import records
from cases import all_cases
from process import measured
from schedule import QUICK, Case, Settings, chosen, in_rounds, sizes


def main() -> None:
    args = _arguments()
    settings = Settings(
        **{
            "data": args.data and str(args.data),
            "instructions": args.instructions and str(args.instructions),
            **(QUICK if args.quick else {}),
            **({"model": args.model} if args.model else {}),
        }
    )
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    facts = prepared(settings, out)
    try:
        cases = all_cases(settings, out / "inputs", facts["max_length"])
        wanted = chosen(cases, args.only)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    try:
        measure(wanted, args.repeats, args.long, out)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        _report(out)
        raise SystemExit(130) from None
    if not _report(out):
        raise SystemExit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of all results")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; 0 writes the tables only")
    parser.add_argument("--only", nargs="+", default=[], help="beginnings of group/name")
    parser.add_argument("--quick", action="store_true", help="tiny models: does it run at all?")
    parser.add_argument("--model", choices=("gpt2_small", "nano"), help="default: gpt2_small")
    parser.add_argument("--data", type=Path, help="the SMS collection; default: the packaged texts")
    parser.add_argument("--instructions", type=Path, help="JSON; default: the packaged ones")
    parser.add_argument(
        "--long",
        choices=("once", "always", "estimate"),
        default="once",
        help="padded peers end to end: in full in the first round and then estimated from their "
        "steps, always in full, or always estimated",
    )
    return parser.parse_args()


def measure(
    cases: list[Case], repeats: int, long: str, out: Path, limit_s: float = math.inf
) -> None:
    """Measures what is not measured yet.

    Args:
        cases: in the order of a round.
        repeats: rounds.
        long: as ``--long``.
        out: folder of the records.
        limit_s: seconds for all of it; a case that would take longer than is left is not begun,
            and one that takes three times as long as expected is ended.
    """
    before = records.read(out)
    done = {(r["group"], r["case"], r["round"]) for r in before if r["ok"]}
    schedule = list(in_rounds(cases, repeats))
    left = [(n, case) for n, case in schedule if (case.group, case.name, n) not in done]
    total, forecast = len(schedule), Forecast(before)
    end = time.perf_counter() + limit_s
    for position, (number, case) in enumerate(left):
        is_estimate = is_estimated(case, number, long)
        started = time.perf_counter()
        expected_s = forecast.seconds([(is_estimate, case)])
        if started + expected_s > end:
            print(f"round {number} {case.group}/{case.name}: left out, no time", flush=True)
            continue
        name = f"{case.group}-{case.name}-{number}".translate(str.maketrans("/ ,=", "----"))
        record = measured(
            case,
            number,
            is_estimate=is_estimate,
            log=out / "logs" / f"{name}.log",
            limit_s=math.inf if math.isinf(limit_s) else 3 * expected_s,
        )
        record |= {"took_s": time.perf_counter() - started, "base": case.base, "order": case.order}
        records.append(out, record)
        forecast.add(record)
        rest = [(is_estimated(c, n, long), c) for n, c in left[position + 1 :]]
        count = total - len(left) + position + 1
        result = f"{record['seconds']:.1f} s, {record['peak_mib']:.0f} MiB"
        print(
            f"[{count}/{total}] round {number} {case.group}/{case.name}: "
            f"{result if record['ok'] else 'FAILED: ' + record['error']}; "
            f"ETA {forecast.seconds(rest) / 60:.0f} min",
            flush=True,
        )


def is_estimated(case: Case, number: int, long: str) -> bool:
    """Whether a case is worked out from some of its steps in this round."""
    return case.is_long and (long == "estimate" or (long == "once" and number > 1))


class Forecast:
    """How long cases take: as they took before, or else as guessed."""

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self._took: dict[tuple[str, str, bool], float] = {}
        for record in records:
            self.add(record)

    def add(self, record: dict[str, Any]) -> None:
        """Learns from a measurement."""
        key = (record["group"], record["case"], record["estimated"])
        self._took[key] = record["took_s"]

    def seconds(self, cases: list[tuple[bool, Case]]) -> float:
        """Of all these together."""
        known, guessed = 0.0, 0.0
        for is_estimate, case in cases:
            took = self._took.get((case.group, case.name, is_estimate))
            if took is None:
                guessed += case.guess_s / (10 if is_estimate else 1)
            else:
                known += took
        return known + guessed


def prepared(settings: Settings, out: Path) -> dict[str, Any]:
    """Writes the inputs, unless they are there; refuses a folder of other settings."""
    file = out / "settings.json"
    asked = json.loads(json.dumps(asdict(settings)))
    if file.exists():
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["settings"] != asked:
            changed = [key for key in asked if found["settings"].get(key) != asked[key]]
            raise SystemExit(
                f"{out} holds results of other settings ({', '.join(changed)}): give another --out"
            )
        return found["inputs"]
    inputs = out / "inputs"
    inputs.mkdir(exist_ok=True)
    models = (settings.model, *settings.growth_models)
    case = Case(
        "prepare",
        "inputs",
        "prepare.prepare",
        {
            "folder": str(inputs),
            "data_path": _resolved(settings.data),
            "instructions_path": _resolved(settings.instructions),
            "examples": 8 * (settings.warmup + settings.steps),
            "overhead_examples": 8 * (settings.warmup + settings.overhead_steps),
            "lengths": settings.growth_lengths,
            "examples_of_length": 8 * (1 + settings.growth_steps),
            "prompts": settings.prompts,
            "context": min(sizes(model)["n_positions"] for model in models),
            "max_new_tokens": settings.new_tokens,
        },
    )
    record = measured(case, 0, is_estimate=False, log=out / "logs" / "prepare.log")
    if not record["ok"]:
        raise SystemExit(f"the inputs could not be made: {record['error']}")
    file.write_text(json.dumps({"settings": asked, "inputs": record["result"]}, indent=2) + "\n")
    return record["result"]


def _resolved(path: str | None) -> str | None:
    return None if path is None else str(Path(path).resolve())


def _report(out: Path) -> bool:
    """Writes tables and figures; returns whether all is well.

    In a process of its own, as everything else: this one stays small, because a child's peak
    memory is at least that of the process that started it.
    """
    case = Case("report", "tables", "report.write", {"folder": str(out)})
    record = measured(case, 0, is_estimate=False, log=out / "logs" / "report.log")
    if not record["ok"]:
        raise SystemExit(f"no tables: {record['error']}")
    for complaint in record["result"]["complaints"]:
        print(f"not comparable: {complaint}", file=sys.stderr)
    failed = [record for record in records.read(out) if not record["ok"]]
    print(f"{out / 'results.md'}; {len(failed)} measurements failed")
    return not failed and not record["result"]["complaints"]


if __name__ == "__main__":
    main()
