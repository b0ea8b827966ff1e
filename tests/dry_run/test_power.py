"""What a sweep is said to find is what the report's test finds in simulated sweeps."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from reporting import run_folders
from scipy import stats

from llm_lightning.dry_run import power, printing
from llm_lightning.dry_run.earlier_runs import earlier_parts
from llm_lightning.dry_run.plan import Plan
from llm_lightning.dry_run.power import ASSUMED, Parts, detectable, items_needed, seeds_needed
from llm_lightning.statistics.crossed import crossed_difference


def test_one_seed_is_mcnemars_closed_form() -> None:
    """Connor 1987, Biometrics 43:207-211, with the variance under each hypothesis."""
    n, q, z = 2000, ASSUMED.discordance, stats.norm.ppf([0.975, 0.8])
    found = detectable(ASSUMED, num_seeds=1, num_items=n)
    assert found is not None
    needed = (z[0] * np.sqrt(q + found**2) + z[1] * np.sqrt(q)) / np.sqrt(n)
    assert found == pytest.approx(needed, rel=0.01)


def test_more_of_anything_finds_smaller_differences() -> None:
    def at(num_seeds: int = 3, num_items: int = 300, num_tests: int = 1) -> float:
        found = detectable(ASSUMED, num_seeds=num_seeds, num_items=num_items, num_tests=num_tests)
        assert found is not None
        return found

    assert at(num_seeds=10) < at(num_seeds=5) < at() < at(num_seeds=2)
    assert at(num_items=1000) < at() < at(num_items=100)
    assert at() < at(num_tests=5) < at(num_tests=20)


def test_what_is_needed_is_just_enough() -> None:
    for points in (0.02, 0.05):
        items = items_needed(points, ASSUMED, num_seeds=3, num_tests=4)
        assert items is not None
        at = [
            power.power(points, ASSUMED, num_seeds=3, num_items=n, num_tests=4)
            for n in (items * 98 // 100, items)
        ]
        assert at[0] < power.POWER <= at[1]
    seeds = seeds_needed(0.04, ASSUMED, num_items=300)
    assert seeds == 4
    assert seeds_needed(0.01, ASSUMED, num_items=300) is None  # more seeds are not more messages
    assert items_needed(0.0001, ASSUMED, num_seeds=3) is None


@pytest.mark.parametrize(
    ("num_seeds", "parts"),
    [
        (1, Parts(0.0, 0.04, 0.04)),
        (3, Parts(0.0, 0.04, 0.04)),
        (3, Parts(0.0002, 0.05, 0.05)),
        (5, Parts(0.0002, 0.02, 0.06)),
    ],
)
def test_simulated_sweeps_find_the_difference_as_often_as_said(
    num_seeds: int, parts: Parts
) -> None:
    num_items, repeats, random = 300, 500, np.random.default_rng(0)
    difference = detectable(parts, num_seeds=num_seeds, num_items=num_items)
    assert difference is not None

    def scores() -> NDArray[np.float64]:
        seeds = np.sqrt(parts.seeds) * random.standard_normal((num_seeds, 1)) * (num_seeds > 1)
        items = np.sqrt(parts.items) * random.standard_normal(num_items)
        luck = np.sqrt(parts.luck) * random.standard_normal((num_seeds, num_items))
        return np.asarray(difference + seeds + items + luck)

    zeros = np.zeros((num_seeds, num_items))
    found = [
        crossed_difference(zeros, scores(), paired=True, scale=10).p_value() < 0.05
        for _ in range(repeats)
    ]
    assert np.mean(found) == pytest.approx(power.POWER, abs=0.055)  # three standard errors


def test_simulated_classifiers_find_the_difference_at_least_as_often_as_said() -> None:
    """More often if one is far better: then samples with a small difference vary little, too."""
    random, num_seeds, num_items = np.random.default_rng(1), 4, 300

    def draw(num_seeds: int, num_items: int) -> NDArray[np.float64]:
        latent = np.array([3.4, 2.5])[:, None, None] + random.standard_t(2, num_items)
        latent = latent + 0.2 * random.standard_normal((2, num_seeds, 1))
        latent = latent + 0.7 * random.standard_normal((2, 1, num_items))
        latent = latent + 0.7 * random.standard_normal((2, num_seeds, num_items))
        return (latent > 0).astype(float)

    many = crossed_difference(*draw(100, 20_000), paired=True)
    (side,) = many.seed_parts
    parts = Parts(
        seeds=(side.total - side.residual) * 100,
        items=float(np.var(many.items)) - side.residual * many.n,
        luck=side.residual * 100 * many.n,
    )
    said = power.power(abs(many.mean), parts, num_seeds=num_seeds, num_items=num_items)
    assert 0.5 < said < 0.95
    found = [
        crossed_difference(*draw(num_seeds, num_items), paired=True).p_value() < 0.05
        for _ in range(400)
    ]
    assert said - 0.05 < np.mean(found) < said + 0.15


MESSAGES = [(index % 2, f"message {index}") for index in range(100)]


TEXTS = "\n".join(text for _, text in MESSAGES)
TEST_SET = (hashlib.sha256(TEXTS.encode()).hexdigest(), 100)


def write(root: Path, experiment: str, seed: int, missed: list[int]) -> None:
    run_folders.write_classifier(root, experiment, seed=seed, missed=missed, test=MESSAGES)


def test_earlier_runs_on_the_same_split_say_how_much_rows_differ(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write(tmp_path, "last_block", seed, [0, 1, 10 + seed])
        write(tmp_path, "lora", seed, [2, 3, 20 + seed])
    write(tmp_path, "baseline_length", 1, list(range(50)))
    run_folders.write_classifier(tmp_path, "all")  # on another split
    found = earlier_parts(tmp_path, TEST_SET)
    assert found.num_pairs == 1
    # 4 messages differ with every seed, and 2 more with each: 6 of 100 are discordant.
    assert found.parts.discordance == pytest.approx(0.06, abs=0.002)
    assert found.parts.items == pytest.approx(0.04, abs=0.002)
    assert found.parts.seeds == 0
    assert earlier_parts(tmp_path, ("another", 100)).num_pairs == 0
    assert earlier_parts(tmp_path / "nowhere", TEST_SET).parts == ASSUMED


def test_rows_of_one_seed_tell_the_discordance_alone(tmp_path: Path) -> None:
    write(tmp_path, "last_block", 1, [0, 1, 2])
    write(tmp_path, "lora", 1, [3])
    found = earlier_parts(tmp_path, TEST_SET)
    assert found.parts.discordance == pytest.approx(0.04, rel=0.02)
    assert found.parts.items == found.parts.luck


def test_a_sweeps_last_lines_say_what_it_can_find(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    plans = [
        Plan(name=name, seed=seed, device="cpu", folder="", test_set=("a" * 64, 300))
        for name in ("last_block", "lora", "all")
        for seed in (1, 2, 3)
    ]
    plans.append(Plan(name="instruct", seed=1, device="cpu", folder=""))
    printing.print_power(plans, tmp_path)
    first, second, third = capsys.readouterr().out.splitlines()
    found = detectable(ASSUMED, num_seeds=3, num_items=300, num_tests=2)
    assert found is not None
    assert first == (
        f"test accuracy: 3 seeds on 300 test items can show differences of {100 * found:.1f} "
        "points (80 % power, 5 % after Holm's correction for 2 comparisons)"
    )
    assert "assuming 8.0 % of predictions that only one of two gets right" in second
    assert "needed for 1 point: " in third
    printing.print_power(plans[:1], tmp_path)
    assert "for 1 comparison), of the trained models alone" in capsys.readouterr().out
    printing.print_power(plans[-1:], tmp_path)
    assert capsys.readouterr().out == ""
