"""What the samples of ``long_haul.py`` say: a table, and a figure.

python experiments/reliability/growth.py experiments/reliability/long_haul
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

UNITS = {"runs": "runs", "predictions": "predictions", "pretraining": "minutes"}
MEASURED = {"rss_mib": "memory (RSS), MiB", "threads": "threads", "open_files": "open files"}
_WARM_UP = 0.2  # share of a part before which libraries and caches are still filling
_POINTS = 400


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """Reads the samples of every part that has run; column ``x`` is how far it had come."""
    found = {}
    for part in UNITS:
        file = folder / f"{part}.csv"
        if file.is_file():
            table = pd.read_csv(file)
            x = table["seconds"] / 60 if part == "pretraining" else table["done"]
            found[part] = table.assign(x=x)
    return found


def summed_up(folder: Path) -> str:
    """Returns a Markdown table of the growth after the warm-up."""
    lines = [
        "| what | memory, MiB: first fifth, last fifth | growth | threads | open files |",
        "| --- | --- | ---: | --- | --- |",
    ]
    for part, table in read(folder).items():
        whole = folder / f"{part}.json"
        what = f"{part}, unfinished: {table['done'].max():,} done"
        if whole.is_file():
            what = json.loads(whole.read_text())["what"]
        warm = _warm(part, table)
        if len(warm) < 3:  # a trial
            continue
        fifth = max(1, len(warm) // 5)
        first, last = warm.iloc[:fifth], warm.iloc[-fifth:]
        inside = warm.groupby("life")[["x", "rss_mib"]].transform(lambda one: one - one.mean())
        slope = float(np.polyfit(inside["x"], inside["rss_mib"], 1)[0])
        growth = (
            f"{slope * 60:+.1f} MiB an hour"
            if part == "pretraining"
            else f"{slope * 1000:+.1f} MiB a thousand"
        )
        memory = f"{first['rss_mib'].median():.0f}, {last['rss_mib'].median():.0f}"
        ranges = [
            f"{first[name].median():.0f}, {last[name].median():.0f}"
            for name in ("threads", "open_files")
        ]
        lines.append(f"| {what} | {memory} | {growth} | {' | '.join(ranges)} |")
    if "pretraining" in read(folder):
        table = read(folder)["pretraining"]
        lives = table[table["folder_files"] > 0].groupby("life").last()
        lines.append(
            f"\nThe folder that was killed in held {lives['folder_files'].min()} to "
            f"{lives['folder_files'].max()} files, {lives['folder_mib'].min():.0f} to "
            f"{lives['folder_mib'].max():.0f} MiB, at the end of each process."
        )
    return "\n".join(lines)


def _warm(part: str, table: pd.DataFrame) -> pd.DataFrame:
    """The samples after the warm-up, of each process where there are several."""
    if part != "pretraining":
        return table[table["x"] >= _WARM_UP * table["x"].max()]
    age = table["seconds"] - table.groupby("life")["seconds"].transform("min")
    return table[age >= 20]  # it is training by then


def draw(folder: Path, file: Path) -> None:
    """Draws memory, threads and open files over every part."""
    parts = read(folder)
    figure = Figure(figsize=(3.6 * len(parts), 5.4), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots(len(MEASURED), len(parts), squeeze=False, sharex="col")
    for column, (part, table) in enumerate(parts.items()):
        shown = table.iloc[:: max(1, len(table) // _POINTS)]
        for row, (name, label) in enumerate(MEASURED.items()):
            ax = axes[row, column]
            for _, life in shown.groupby("life"):
                ax.plot(life["x"], life[name], color="#0072b2", linewidth=1)
            ax.set_ylim(bottom=0, top=float(table[name].max()) * 1.15)
            ax.spines[["top", "right"]].set_visible(False)
            if not column:
                ax.set_ylabel(label)
            if not row:
                ax.set_title(part, loc="left", fontsize=10)
        axes[-1, column].set_xlabel(UNITS[part])
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    results = Path(sys.argv[1])
    print(summed_up(results))
    draw(results, results / "growth.svg")
