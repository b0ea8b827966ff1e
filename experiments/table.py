"""Prints the runs under a folder as a Markdown table, one row a setting.

python experiments/table.py experiments/which_layers/runs

Accuracies are means over seeds. The interval is of test accuracy: over seeds, Student's t on the
seeds' values (it does not speak of other test messages); for a single run, Wilson's on the number
of test messages it got right.
"""

import argparse
import json
from pathlib import Path

import pandas as pd
from scipy import stats


def load(folder: Path) -> pd.DataFrame:
    """One row a run."""
    rows = []
    for file in sorted(folder.glob("**/summary.json")):
        summary = json.loads(file.read_text())
        rows.append(
            {
                "run": summary["name"],
                "trainable": summary["parameters"]["trainable"],
                "seed": summary["seed"],
                "examples": summary["data"]["test_examples"],
                **{split: values["accuracy"] for split, values in summary["metrics"].items()},
            }
        )
    if not rows:
        raise SystemExit(f"{folder} holds no finished run")
    return pd.DataFrame(rows)


def interval(test: pd.Series, examples: int) -> tuple[float, float]:
    """95 % interval of test accuracy, as shares."""
    if len(test) == 1:
        right = round(test.iloc[0] * examples)
        bounds = stats.binomtest(right, examples).proportion_ci(method="wilson")
        return bounds.low, bounds.high
    half = stats.t.ppf(0.975, len(test) - 1) * stats.sem(test)
    return test.mean() - half, min(1.0, test.mean() + half)


def table(runs: pd.DataFrame) -> str:
    """Markdown, ordered by the number of trainable parameters."""
    lines = [
        "| run | trainable | seeds | train | val | test | 95 % interval |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for (trainable, name), group in runs.groupby(["trainable", "run"]):
        low, high = interval(group["test"], int(group["examples"].iloc[0]))
        accuracies = " | ".join(f"{100 * group[s].mean():.2f}" for s in ("train", "val", "test"))
        lines.append(
            f"| `{name}` | {trainable:,} | {len(group)} | {accuracies} | "
            f"{100 * low:.1f}-{100 * high:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    print(table(load(parser.parse_args().folder)))
