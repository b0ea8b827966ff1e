"""Steps on a GPU, ours and the peers at their best, a profile and a smoke test: in nine minutes.

python experiments/benchmarks/gpu.py --device cuda --out gpu

writes ``gpu.md`` and profiles into the folder, beside the records and logs. What is done is not
done again by the same command. ``--quick --device cpu`` shows that everything runs.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import records
from gpu_smoke import classifiers
from run import measure, prepared
from schedule import QUICK, Case, Settings, chosen, placed, sizes
from table import Row, complaints, rows

LENGTH = 1024  # tokens of every text
_WARMUP = 1  # steps of the second pass that do not count
_MANY, _MOST = 32, 64  # texts of a batch that keep a GPU busy; elsewhere there are eight
_MACHINE = "machine/matmul"


def main() -> None:
    args = _arguments()
    quick = QUICK | {"growth_lengths": (32,), "growth_models": (), "growth_steps": 31}
    full = {"growth_lengths": (LENGTH,), "growth_models": (), "growth_steps": 39}
    settings = Settings(**(quick if args.quick else full | {"model": "gpt2_medium"}))
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    prepared(settings, out)
    cases = gpu_cases(settings, out, args.device)
    measure(chosen(cases, args.only), 1, "estimate", out, limit_s=60 * args.minutes)
    found = records.read(out)
    text = markdown(found)
    (out / "gpu.md").write_text(text, encoding="utf-8")
    print(text)
    if not all(record["ok"] for record in found) or len(found) < len(chosen(cases, args.only)):
        raise SystemExit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of all results")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", nargs="+", default=[], help="beginnings of group/name")
    parser.add_argument("--minutes", type=float, default=8.5, help="for everything")
    parser.add_argument("--quick", action="store_true", help="tiny models: does it run at all?")
    return parser.parse_args()


def gpu_cases(settings: Settings, out: Path, device: str) -> list[Case]:
    """Every case, the most important ones first.

    Args:
        settings: their first growth length is that of all texts.
        out: folder with ``inputs``.
        device: ``cuda`` or ``cpu``.
    """
    length, is_quick = settings.growth_lengths[0], settings.model == "tiny"
    file = out / "inputs" / f"length_{length}"
    shape = sizes(settings.model)
    accelerator = f"trainer.accelerator={'gpu' if device == 'cuda' else 'cpu'}"
    known = "nano" if is_quick else settings.model
    model = [f"model={known}", *(f"model.{key}={value}" for key, value in shape.items())]
    overrides = [*model, "model.weights=random", "model.init=gpt2", accelerator]
    ours = {
        "table": f"{file}.csv",
        "max_length": length,
        "overrides": overrides,
        "warmup": _WARMUP,
        "sizes": shape,
        "passes": 2,
    }
    theirs = {
        "inputs": f"{file}.json",
        "sizes": shape,
        "warmup": _WARMUP,
        "form": "best",
        "device": device,
    }
    products = {
        "sizes": [[256, 256, 256]] if is_quick else [[8192, 8192, 8192], [8192, 1024, 4096]],
        "seconds": 0.1 if is_quick else 2.0,
        "device": device,
    }
    compiled = ours | {"overrides": [*overrides, "compile=true"], "strategy": "all"}
    compiled_peer = theirs | {"strategy": "all", "is_compiled": True}
    of = {"all": "transformers", "lora": "peft"}
    cases = [Case("machine", "matmul", "machine.rates", products, guess_s=15)]
    for strategy, library in of.items():
        group, what = f"steps/{strategy}", {"strategy": strategy}
        cases += [
            Case(group, "ours", "workloads.steps", ours | what, guess_s=30),
            Case(group, f"{library}, best", "peers.steps", theirs | what, guess_s=30),
        ]
    group = f"steps/all, {_MANY} texts"
    cases += [
        Case(group, "ours, compiled", "workloads.steps", _in_batches(compiled, _MANY), guess_s=50),
        Case(group, "transformers, best, compiled", "peers.steps",
             compiled_peer | {"batch_size": _MANY}, guess_s=70),
        Case(f"steps/all, {_MOST} texts", "ours, compiled", "workloads.steps",
             _in_batches(compiled, _MOST), guess_s=40),
        Case("profile", f"{_MANY} texts, compiled", "step_profile.step_profile",
             _profiled(_in_batches(compiled, _MANY), out / f"profile_{_MANY}.txt"), guess_s=35),
        Case("profile", "8 texts", "step_profile.step_profile",
             _profiled(ours | {"strategy": "all"}, out / "profile_8.txt"), guess_s=25),
        Case("smoke", "instructions", "gpu_smoke.smoke",
             {"names": ["instruct_nano"], "overrides": [accelerator]}, guess_s=25),
        Case("steps/all", "ours, compiled", "workloads.steps", compiled, guess_s=40),
        Case("steps/all", "transformers, best, compiled", "peers.steps", compiled_peer,
             guess_s=70),
        Case("smoke", "classifiers", "gpu_smoke.smoke",
             {"names": classifiers(), "overrides": ["model=nano", accelerator]}, guess_s=75),
    ]  # fmt: skip
    return placed(cases)


def _in_batches(arguments: dict[str, Any], size: int) -> dict[str, Any]:
    """The same texts in batches of another size."""
    return arguments | {"overrides": [*arguments["overrides"], f"data.batch_size={size}"]}


def _profiled(arguments: dict[str, Any], file: Path) -> dict[str, Any]:
    """What :func:`step_profile.step_profile` takes of a step's arguments."""
    names = ("table", "max_length", "overrides", "strategy")
    return {name: arguments[name] for name in names} | {"file": str(file)}


def markdown(found: list[dict[str, Any]]) -> str:
    """The tables: steps, what takes the time in a step, and what ran in the smoke test."""
    results = {f"{r['group']}/{r['case']}": r["result"] for r in found if r["ok"]}
    lines = ["# On a GPU", ""]
    lines += [f"Failed: {r['group']}/{r['case']}: {r['error']}\n" for r in found if not r["ok"]]
    if _MACHINE in results:
        machine = results[_MACHINE]
        rates = ", ".join(f"{rate:,.0f} GFLOP/s in {k}" for k, rate in machine["gflops"].items())
        versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
        lines += [f"{machine['cpu']}, {versions}. Large matrix products reach {rates}.", ""]
    steps = rows(r for r in found if r["group"].startswith("steps/"))
    lines += [f"**Not comparable:** {problem}.\n" for problem in complaints(steps)]
    for group in dict.fromkeys(row.group for row in steps):
        lines += [f"## `{group.partition('/')[2]}`", "", *_table(steps, group, results), ""]
    for name, profile in results.items():
        if name.startswith("profile/"):
            lines += _profile_table(name.partition("/")[2], profile)
    for name in ("classifiers", "instructions"):
        if done := results.get(f"smoke/{name}"):
            ran = ", ".join(experiment.partition("-")[0] for experiment in done["experiments"])
            lines += [f"Ran ({done['smoke_s']:.0f} s): {ran}.", ""]
    return "\n".join(lines)


def _profile_table(name: str, profile: dict[str, Any]) -> list[str]:
    seconds = profile["seconds_by_kind"]
    total = sum(seconds.values())
    lines = [
        f"## Time on the device in a step of ours, all layers, {name}",
        "",
        f"{1e3 * total:.1f} ms of work.",
        "",
        "| kernels | ms | share |",
        "| --- | ---: | ---: |",
    ]
    lines += [f"| {kind} | {1e3 * s:.1f} | {s / total:.0%} |" for kind, s in seconds.items()]
    return [*lines, ""]


def mfu(result: dict[str, Any]) -> float | None:
    """Share of the device's rate by its manufacturer, of the operations by formula.

    Returns:
        ``None`` where that rate is unknown, as on a CPU.
    """
    peak = result.get("peak_gflops")
    return result["gflops"] / peak if peak else None


def _table(steps: list[Row], group: str, results: dict[str, dict[str, Any]]) -> list[str]:
    columns = ["case", "ms a step", "ratio", "tokens/s", "MFU", "of products", "GPU MiB"]
    lines = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    best = results.get(_MACHINE, {}).get("gflops", {})
    for row in (row for row in steps if row.group == group):
        result = row.results[-1]
        share, rate = mfu(result), statistics.median(r["gflops"] for r in row.results)
        tokens = result["real_tokens"] / (result["steps"] + _WARMUP) / (row.median / 1e3)
        peak = best.get(result["precision"])
        cells = [
            row.case,
            f"{row.median:,.1f}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            f"{tokens:,.0f}",
            "" if share is None else f"{share:.0%}",
            f"{rate / peak:.0%}" if peak else "",
            f"{result['device_mib']:,.0f}" if "device_mib" in result else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
