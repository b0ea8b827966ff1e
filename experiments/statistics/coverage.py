"""How often the crossed intervals hold the true difference, and how often the test errs.

    python experiments/statistics/coverage.py --repeats 2000

writes ``coverage.csv`` beside this file, and prints the table of README.md. Models are simulated by
latent scores; a model is right on an item where

    level[row] + seed[row, s] + easiness[item] + taste[row, item] + luck[row, s, item] > 0.

Easiness is heavy-tailed (Student's t with two degrees of freedom): most items are easy for every
model, and a few are hopeless. Levels, seeds' effects, tastes and luck are scaled so that accuracy,
its spread over seeds, and discordance (the share of items that one of two models gets right and the
other wrong) are those of the setting. Half of the variance of the seeds' effects is common to both
rows if seeds are paired.

With one seed the claim is about two trained models, so the truth is the difference of these two on
all items. With more it is the difference of the settings, over all seeds and items.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from llm_lightning.statistics.crossed import crossed_difference, crossed_mean

NUM_SEEDS = (1, 2, 3, 5, 10)
NUM_ITEMS = (150, 300)
POPULATION = 200_000
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Setting:
    """What two rows are like."""

    name: str
    accuracy: tuple[float, float]
    discordance: float
    seed_sd: float
    """Standard deviation over seeds of a row's accuracy on all items."""
    luck: float = 0.5
    """Share of taste and luck together that is luck."""
    paired: bool = True


SETTINGS = (
    Setting("equal, 2 % differ", (0.96, 0.96), 0.02, 0.003),
    Setting("equal, 2 % differ, little luck", (0.96, 0.96), 0.02, 0.003, luck=0.1),
    Setting("equal, 5 % differ, no seed effect", (0.96, 0.96), 0.05, 0.0),
    Setting("equal, 5 % differ", (0.96, 0.96), 0.05, 0.003),
    Setting("equal, 5 % differ, seeds vary", (0.96, 0.96), 0.05, 0.01),
    Setting("equal, 6 % differ, seeds vary much", (0.95, 0.95), 0.06, 0.02),
    Setting("equal, 10 % differ", (0.94, 0.94), 0.10, 0.005),
    Setting("equal, 10 % differ, seeds vary", (0.94, 0.94), 0.10, 0.015),
    Setting("the same, unpaired seeds", (0.94, 0.94), 0.10, 0.015, paired=False),
    Setting("1 point apart, 3 % differ", (0.955, 0.965), 0.03, 0.003),
    Setting("1.6 points apart, 2 % differ", (0.96, 0.976), 0.02, 0.003),
    Setting("3 points apart, 6 % differ", (0.94, 0.97), 0.06, 0.01),
)


class Simulator:
    """Draws scores as a setting says."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        random = np.random.default_rng(0)
        self._easiness = random.standard_t(2, POPULATION)
        self._noise = random.standard_normal((2, POPULATION))
        self.levels, self.width, self.seed_width = (0.0, 0.0), 1.0, 0.0
        for _ in range(6):  # each of the three moves the others a little
            self.levels = (self._level(setting.accuracy[0]), self._level(setting.accuracy[1]))
            self.width = float(brentq(self._excess_discordance, 1e-3, 30, xtol=1e-4))
            self.seed_width = setting.seed_sd / self._slope()

    def _level(self, accuracy: float) -> float:
        latent = self._easiness + np.hypot(self.width, self.seed_width) * self._noise[0]
        return -float(np.quantile(latent, 1 - accuracy))

    def _excess_discordance(self, width: float) -> float:
        noise = np.hypot(width, self.seed_width) * self._noise
        a, b = (self._easiness + noise[row] + self.levels[row] > 0 for row in (0, 1))
        return float((a != b).mean()) - self.setting.discordance

    def _slope(self) -> float:
        """How much accuracy changes with a seed's effect."""
        latent, step = self._easiness + self.width * self._noise[0] + self.levels[0], 0.05
        return float(((latent > -step).mean() - (latent > step).mean()) / (2 * step))

    def accuracies(self, effects: NDArray[np.float64]) -> NDArray[np.float64]:
        """On all items, of models with these seeds' effects; shape (2, number of effects)."""
        levels = np.array(self.levels)[:, None] + effects
        return np.array(
            [
                [stats.norm.cdf((self._easiness + level) / self.width).mean() for level in of_row]
                for of_row in levels
            ]
        )

    def draw(
        self, random: np.random.Generator, num_seeds: int, num_items: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores, shape (2, S, N), and the seeds' effects, shape (2, S)."""
        effects = random.standard_normal((2, num_seeds))
        if self.setting.paired:
            effects = np.sqrt(0.5) * (effects + random.standard_normal(num_seeds))
        effects *= self.seed_width
        latent = np.array(self.levels)[:, None, None] + effects[:, :, None]
        latent = latent + random.standard_t(2, num_items)
        taste, luck = np.sqrt(1 - self.setting.luck), np.sqrt(self.setting.luck)
        latent += self.width * taste * random.standard_normal((2, 1, num_items))
        latent += self.width * luck * random.standard_normal((2, num_seeds, num_items))
        return (latent > 0).astype(float), effects


def simulate(setting: Setting, repeats: int, seed: int) -> list[dict[str, object]]:
    """One line for each number of items and seeds."""
    simulator, lines = Simulator(setting), []
    grid = np.linspace(-5, 5, 81) * max(simulator.seed_width, 1e-6)
    on_grid = simulator.accuracies(grid)
    weights = stats.norm.pdf(np.linspace(-5, 5, 81))
    of_settings = on_grid @ weights / weights.sum()
    apart = float(of_settings[1] - of_settings[0])
    for num_items in NUM_ITEMS:
        for num_seeds in NUM_SEEDS:
            random = np.random.default_rng([seed, num_seeds, num_items])
            found = []
            for _ in range(repeats):
                scores, effects = simulator.draw(random, num_seeds, num_items)
                truths = of_settings
                if num_seeds == 1:
                    truths = np.array(
                        [np.interp(effects[row, 0], grid, on_grid[row]) for row in (0, 1)]
                    )
                difference = crossed_difference(*scores, paired=setting.paired)
                found.append(
                    (
                        difference.p_value(truths[1] - truths[0]) >= 0.05,
                        difference.p_value() < 0.05,
                        difference.p_within(abs(truths[1] - truths[0])) < 0.05,
                        crossed_mean(scores[1]).p_value(truths[1]) >= 0.05,
                        np.abs(scores[0] - scores[1]).mean(),
                    )
                )
            held, seen, equivalent, row_held, differ = 100 * np.mean(found, axis=0)
            lines.append(
                {
                    "setting": setting.name,
                    "accuracy": 100 * setting.accuracy[0],
                    "seed_sd": 100 * setting.seed_sd,
                    "points_apart": round(100 * apart, 2),
                    "differ": round(differ, 2),
                    "items": num_items,
                    "seeds": num_seeds,
                    "claim": "these two models" if num_seeds == 1 else "the settings",
                    "coverage": round(held, 2),
                    "error": round(100 - held, 2),
                    "found_different": round(seen, 2),
                    "false_equivalence": round(equivalent, 2),
                    "row_coverage": round(row_held, 2),
                    "repeats": repeats,
                }
            )
            print(*lines[-1].values(), flush=True)
    return lines


def as_markdown(table: pd.DataFrame) -> str:
    """Coverage of differences by setting, numbers of items and of seeds."""
    heads = [f"{items}, {seeds}" for items in NUM_ITEMS for seeds in NUM_SEEDS]
    lines = ["| setting | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(heads)]
    for name, rows in table.groupby("setting", sort=False):
        values = rows.set_index(["items", "seeds"])["coverage"]
        cells = [f"{values[items, seeds]:.1f}" for items in NUM_ITEMS for seeds in NUM_SEEDS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulates all settings and writes and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    lines = [
        line for setting in SETTINGS for line in simulate(setting, options.repeats, options.seed)
    ]
    table = pd.DataFrame(lines)
    table.to_csv(HERE / "coverage.csv", index=False, lineterminator="\n")
    print(as_markdown(table))


if __name__ == "__main__":
    main()
