"""How often Holm's correction lets any false difference through, of eight rows like the reference.

python experiments/statistics/families.py
"""

import numpy as np
from coverage import SETTINGS, Simulator

from llm_lightning.statistics.crossed import crossed_difference
from llm_lightning.statistics.intervals import holm

NUM_ROWS, NUM_ITEMS, REPEATS = 9, 300, 600


def any_error(simulator: Simulator, num_seeds: int) -> float:
    """Share of families with at least one false difference."""
    setting, random, errors = simulator.setting, np.random.default_rng(3), 0
    for _ in range(REPEATS):
        effects = random.standard_normal((NUM_ROWS, num_seeds)) + random.standard_normal(num_seeds)
        latent = (np.sqrt(0.5) * simulator.seed_width * effects)[:, :, None] + simulator.levels[0]
        latent = latent + random.standard_t(2, NUM_ITEMS)
        taste = simulator.width * np.sqrt(1 - setting.luck)
        luck = simulator.width * np.sqrt(setting.luck)
        latent += taste * random.standard_normal((NUM_ROWS, 1, NUM_ITEMS))
        latent += luck * random.standard_normal((NUM_ROWS, num_seeds, NUM_ITEMS))
        first, *others = (latent > 0).astype(float)
        found = [crossed_difference(first, other, paired=True).p_value() for other in others]
        errors += min(holm(found)) < 0.05
    return errors / REPEATS


if __name__ == "__main__":
    for setting in (SETTINGS[3], SETTINGS[4], SETTINGS[5], SETTINGS[7]):
        simulator = Simulator(setting)
        shares = [f"{seeds} seeds {any_error(simulator, seeds):.1%}" for seeds in (3, 5)]
        print(f"{setting.name}: {', '.join(shares)}", flush=True)
