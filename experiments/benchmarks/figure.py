"""Pictures of the tables: bars with ranges, and growth as lines."""

import re
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from table import Row, value_of

matplotlib.use("agg")
from matplotlib import pyplot as plt

_OURS, _PEERS = "#1f6feb", "#9aa4b2"
_PEER_NAMES = ("plain", "transformers", "peft")


def draw(found: list[Row], out: Path) -> list[Path]:
    """Draws what has been measured so far; returns the files."""
    compared = [row for row in found if not row.group.startswith(("growth", "startup"))]
    grown = [row for row in found if row.group.startswith("growth")]
    files = []
    if compared:
        files.append(_bars(compared, out / "comparison.png"))
    if grown:
        files.append(_lines(grown, out / "growth.png"))
    return files


def _bars(found: list[Row], file: Path) -> Path:
    groups = list(dict.fromkeys(row.group for row in found))
    counts = [sum(row.group == group for row in found) for group in groups]
    fig, axes = plt.subplots(
        len(groups),
        figsize=(8, 0.35 * sum(counts) + 0.9 * len(groups)),
        gridspec_kw={"height_ratios": counts},
        squeeze=False,
        layout="constrained",
    )
    for group, ax in zip(groups, axes[:, 0], strict=True):
        own = [row for row in found if row.group == group]
        medians = [row.median for row in own]
        errors = [
            [row.median - row.low for row in own],
            [row.high - row.median for row in own],
        ]
        colors = [_PEERS if row.case.startswith(_PEER_NAMES) else _OURS for row in own]
        ax.barh(range(len(own)), medians, xerr=errors, color=colors, ecolor="#333333")
        ax.set_yticks(range(len(own)), [row.case for row in own])
        ax.invert_yaxis()
        ax.set_title(f"{group}: {value_of(group).title}", loc="left", fontsize=10)
        _plain(ax)
    fig.savefig(file, dpi=110)
    plt.close(fig)
    return file


def _lines(found: list[Row], file: Path) -> Path:
    kinds = list(dict.fromkeys(row.group.rpartition("/")[0] for row in found))
    fig, axes = plt.subplots(
        2, len(kinds), figsize=(3.6 * len(kinds), 5.2), squeeze=False, layout="constrained"
    )
    for column, kind in enumerate(kinds):
        for group in dict.fromkeys(r.group for r in found if r.group.startswith(kind)):
            own = [row for row in found if row.group == group]
            x = [_amount(row) for row in own]
            label = group.rpartition("/")[2]
            axes[0, column].plot(x, [row.median for row in own], marker="o", label=label)
            axes[1, column].plot(x, [row.peak_mib for row in own], marker="o", label=label)
        axes[0, column].set_title(f"{kind.partition('/')[2]}: {value_of(kind).title}", fontsize=10)
        axes[1, column].set_title("peak MiB", fontsize=10)
        of_kind = [row for row in found if row.group.startswith(kind)]
        places = {
            _amount(row): row.case.removesuffix(" tokens").removeprefix("gpt2_") for row in of_kind
        }
        for ax in axes[:, column]:
            ax.set_xscale("log")
            ax.set_xticks(list(places), list(places.values()))
            ax.minorticks_off()
            ax.set_ylim(0, 1.1 * ax.dataLim.y1)
            _plain(ax)
        axes[0, column].legend(frameon=False)
    fig.savefig(file, dpi=110)
    plt.close(fig)
    return file


def _amount(row: Row) -> float:
    """What grows: parameters, or the number in the case's name."""
    number = re.match(r"\d+", row.case)
    return float(number[0]) if number else float(row.results[-1]["parameters"])


def _plain(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
