"""Prints the runs under a folder as a Markdown table, one row a setting.

python experiments/table.py experiments/which_layers/runs

Accuracies are means over seeds, in percent. Two things make them uncertain: the seed, shown as the
lowest and highest test accuracy of the row, and the choice of test messages, shown as Wilson's 95 %
interval for the mean accuracy on that many messages.
"""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd
from scipy import stats


def load(folder: Path) -> pd.DataFrame:
    """One row a run; runs with stand-ins are left out."""
    rows = []
    for file in sorted(folder.glob("**/summary.json")):
        summary = json.loads(file.read_text())
        if summary["notices"]:
            print(f"{file.parent}: left out, it used stand-ins", file=sys.stderr)
            continue
        rows.append(
            {
                "name": summary["name"],  # every changed setting is in it
                "weights": summary["weights"]["source"],
                "experiment": summary["experiment"],
                "trainable": summary["parameters"]["trainable"],
                "examples": summary["evaluated_examples"]["test"],
                **{split: values["accuracy"] for split, values in summary["metrics"].items()},
            }
        )
    if not rows:
        raise SystemExit(f"{folder} holds no finished run on real data and weights")
    return pd.DataFrame(rows)


def wilson(accuracy: float, examples: int) -> str:
    """95 % interval of an accuracy measured on so many examples, in percent."""
    right = round(accuracy * examples)
    bounds = stats.binomtest(right, examples).proportion_ci(method="wilson")
    return f"{100 * bounds.low:.1f}-{100 * bounds.high:.1f}"


def table(runs: pd.DataFrame) -> str:
    """Markdown, ordered by weights and the number of trainable parameters."""
    lines = [
        "| weights | experiment | trainable | seeds | train | val | test | seeds' range | 95 % |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for (weights, trainable, experiment, _), group in runs.groupby(
        ["weights", "trainable", "experiment", "name"]
    ):
        means = " | ".join(f"{100 * group[s].mean():.2f}" for s in ("train", "val", "test"))
        lowest, highest = 100 * group["test"].min(), 100 * group["test"].max()
        spread = "" if len(group) == 1 else f"{lowest:.2f}-{highest:.2f}"
        lines.append(
            f"| {weights} | `{experiment}` | {trainable:,} | {len(group)} | {means} | {spread} | "
            f"{wilson(group['test'].mean(), int(group['examples'].iloc[0]))} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    print(table(load(parser.parse_args().folder)))
