"""Writes ``results.md``, ``results.csv`` and figures from the measurements of a folder."""

import csv
import json
import statistics
from pathlib import Path
from typing import Any

import records
from figure import draw
from goals import goals_table
from table import Row, best_rates, complaints, rows, value_of

from llm_lightning.presentation.plurals import counted

TITLES = {
    "commands": "What people wait for",
    "startup": "Start",
    "steps": "Seconds a step",
    "overhead": "What Lightning, metrics and logging cost",
    "generation": "Generation",
    "growth": "Growth",
    "end_to_end": "From end to end",
}


def write(*, folder: str) -> dict[str, Any]:
    """Writes everything anew; returns where cases did not do the same work."""
    out = Path(folder)
    measured = records.read(out)
    found = rows(measured)
    problems = complaints(found)
    figures = draw(found, out)
    text = markdown(found, measured, problems, [figure.name for figure in figures], _settings(out))
    (out / "results.md").write_text(text, encoding="utf-8")
    _write_csv(measured, out / "results.csv")
    return {"complaints": problems}


def _settings(out: Path) -> dict[str, Any]:
    return json.loads((out / "settings.json").read_text(encoding="utf-8"))


def markdown(
    found: list[Row],
    measured: list[dict[str, Any]],
    problems: list[str],
    figures: list[str],
    settings: dict[str, Any],
) -> str:
    """All tables, one a group, below what they were measured on."""
    rates = best_rates(measured)
    lines = ["# Benchmarks", "", *_machine(measured), "", _inputs(settings), ""]
    for problem in problems:
        lines += [f"**Not comparable:** {problem}.", ""]
    for r in measured:
        if not r["ok"]:
            lines += [f"Failed: {r['group']}/{r['case']}, round {r['round']}: {r['error']}", ""]
    lines += ["Medians over rounds; ratios are of times, above 1 is slower than the first row.", ""]
    if goals := goals_table(measured):
        lines += ["## Goals", "", "How many times as long the peer takes.", "", *goals, ""]
    heading = ""
    for group in dict.fromkeys(row.group for row in found):
        if heading != (heading := TITLES[group.split("/")[0]]):
            lines += [f"## {heading}", ""]
        if "/" in group:
            lines += [f"`{group.partition('/')[2]}`", ""]
        lines += [*_table([row for row in found if row.group == group], rates), ""]
    return "\n".join([*lines, *(f"![{name}]({name})" for name in figures), ""])


def _machine(measured: list[dict[str, Any]]) -> list[str]:
    done = [r["result"] for r in measured if r["group"] == "machine" and r["ok"]]
    if not done:
        return ["The machine's rate was not measured."]
    last, rates = done[-1], best_rates(measured)
    versions = ", ".join(f"{name} {number}" for name, number in last["versions"].items())
    best = ", ".join(f"{rate:.0f} GFLOP/s in {name}" for name, rate in rates.items())
    threads = counted(last["threads"], "thread")
    return [
        f"{last['cpu']}, {threads}, Python {last['python']}, {versions}. "
        f"Large matrix products reach {best}."
    ]


def _inputs(settings: dict[str, Any]) -> str:
    inputs, asked = settings["inputs"], settings["settings"]
    return (
        f"Model {asked['model']}, random weights; {inputs['source']}: "
        f"{inputs['split_sizes']['train']} training, {inputs['split_sizes']['val']} validation and "
        f"{inputs['split_sizes']['test']} test texts of {inputs['mean_length']:.1f} tokens on "
        f"average, {inputs['max_length']} at most."
    )


def _table(group: list[Row], rates: dict[str, float]) -> list[str]:
    name = group[0].group
    value = value_of(name)
    columns = ["case", "rounds", value.title, "range", "ratio", *_more(name), "peak MiB"]
    lines = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    for row in group:
        rounds = f"{row.rounds} ({row.estimated} estimated)" if row.estimated else f"{row.rounds}"
        d = value.digits
        cells = [
            row.case,
            rounds,
            f"{row.median:,.{d}f}",
            f"{row.low:,.{d}f}-{row.high:,.{d}f}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            *(_cell(row, column, rates, group) for column in _more(name)),
            f"{row.peak_mib:,.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _more(group: str) -> tuple[str, ...]:
    """Columns that a kind of group has beside the others."""
    steps = ("first pass, s", "ms an example", "once an example, ms", "GFLOP/s", "of the best rate")
    return {
        "steps": steps,
        "generation": ("responses as ours in fp32", "GFLOP/s", "of the best rate"),
        "end_to_end": ("steps", "examples", "train %", "val %", "test %"),
        "growth": ("once an example, ms",) if group != "growth/examples/last_block" else (),
    }.get(group.split("/")[0], ())


def _cell(row: Row, column: str, rates: dict[str, float], group: list[Row]) -> str:
    results, last = row.results, row.results[-1]
    if column == "first pass, s":
        passes = [r["first_pass_s"] for r in results if r["first_pass_s"] is not None]
        return f"{statistics.median(passes):.1f}" if passes else ""
    if column == "ms an example":
        return f"{row.median * last['steps'] / _timed_examples(last):.2f}"
    if column == "once an example, ms":
        seconds = [r["frozen_s_per_example"] for r in results if "frozen_s_per_example" in r]
        return f"{1e3 * statistics.median(seconds):.1f}" if seconds else ""
    if column == "GFLOP/s":
        rate = statistics.median(r["gflops"] for r in results)
        return f"{rate:.1f}" if rate else ""
    if column == "of the best rate":
        rate, best = statistics.median(r["gflops"] for r in results), rates.get(last["precision"])
        return f"{rate / best:.0%} of {last['precision']}" if rate and best else ""
    if column == "responses as ours in fp32":
        reference = next((other for other in group if other.case == "ours, fp32"), None)
        if reference is None:
            return ""
        ours = reference.results[-1]["checksums"]
        equal = sum(a == b for a, b in zip(ours, last["checksums"], strict=True))
        return f"{equal} of {len(ours)}"
    if column in ("steps", "examples"):
        return str(last["optimizer_steps" if column == "steps" else "examples"])
    split = column.removesuffix(" %")
    shares = [r["accuracy"][split] for r in results if "accuracy" in r]
    return f"{100 * statistics.median(shares):.2f}" if shares else ""


def _timed_examples(result: dict[str, Any]) -> int:
    return int(result["examples"])


def _write_csv(measured: list[dict[str, Any]], file: Path) -> None:
    """One line a measurement: what is common to all, and the value that is compared."""
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(
            ["group", "case", "round", "ok", "estimated", "seconds", "peak_mib", "unit", "value"]
        )
        for r in measured:
            value = None if r["group"] == "machine" or not r["ok"] else value_of(r["group"])
            writer.writerow(
                [r["group"], r["case"], r["round"], r["ok"], r["estimated"]]
                + [f"{r['seconds']:.4f}", f"{r['peak_mib']:.1f}"]
                + (["", ""] if value is None else [value.title, f"{value.of(r):.6g}"])
            )
