"""Variance of accuracy by source, on designs with known answers."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from reporting.run_folders import TEST, edit_summary, write_classifier

from llm_lightning.reporting.analyse.study import read_study
from llm_lightning.reporting.analyse.variance import REST, components, row_variance
from llm_lightning.reporting.render.report_folder import write_report


def test_crossed_designs_give_the_analysis_of_variance() -> None:
    generator = np.random.default_rng(1)
    table = generator.normal(size=(4, 1)) + 3 * generator.normal(size=(1, 5))
    table = table + 0.5 * generator.normal(size=(4, 5))
    levels = list(product(range(4), range(5)))
    factors = {"a": [a for a, _ in levels], "b": [b for _, b in levels]}
    found = components(table.ravel(), factors)
    rows, columns = table.mean(1, keepdims=True), table.mean(0, keepdims=True)
    rest = np.sum((table - rows - columns + table.mean()) ** 2) / 12
    assert found == pytest.approx(
        {
            "a": rows.var(ddof=1) - rest / 5,
            "b": columns.var(ddof=1) - rest / 4,
            REST: rest,
        }
    )


def test_estimates_are_unbiased_where_runs_are_missing() -> None:
    generator = np.random.default_rng(2)
    levels = [pair for pair in product(range(6), range(6)) if sum(pair) % 4]
    factors = {"a": [a for a, _ in levels], "b": [b for _, b in levels]}
    sums = np.zeros(3)
    for _ in range(400):
        a, b = 2 * generator.normal(size=6), generator.normal(size=6)
        values = np.array([a[i] + b[j] for i, j in levels]) + generator.normal(size=len(levels))
        found = components(values, factors)
        assert found is not None
        sums += list(found.values())
    assert sums / 400 == pytest.approx([4, 1, 1], rel=0.15)


def test_sources_that_a_design_cannot_tell_apart_have_no_parts() -> None:
    assert components(np.array([1.0, 2.0, 4.0]), {"a": [1, 2, 3], "b": [1, 2, 3]}) is None


def write_crossed(root: Path, missed_by_init: dict[int, tuple[int, ...]]) -> None:
    for (init, missed), order in product(missed_by_init.items(), (1, 2)):
        folder = write_classifier(
            root,
            seed=123,
            overrides=[f"init_seed={init}", f"order_seed={order}"],
            missed=missed if order == 1 else missed[:1],
        )
        edit_summary(folder, seeds={"init": init, "order": order, "split": 123})


def test_a_report_says_which_source_varies_most(tmp_path: Path) -> None:
    write_crossed(tmp_path, {1: (), 2: (0, 1, 2), 3: (0,)})
    study = read_study([tmp_path])
    (row,) = study.rows
    assert row.label == "last_block"
    assert row.seeds == ["1/1", "1/2", "2/1", "2/2", "3/1", "3/2"]
    found = row_variance(row)
    assert found is not None
    assert [(source.name, source.levels) for source in found.sources] == [
        ("initial weights", 3),
        ("order and dropout", 2),
        ("rest", 0),
    ]
    assert sum(source.part for source in found.sources) == pytest.approx(1)
    page = write_report(study, tmp_path / "report")[0].read_text()
    assert "Where the variation comes from" in page
    assert "over 6 runs comes from the" in page


def test_seeds_alone_are_one_source(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_classifier(tmp_path, seed=seed, missed=range(seed))
    study = read_study([tmp_path])
    assert row_variance(study.rows[0]) is None
    assert "Where the variation" not in write_report(study, tmp_path / "report")[0].read_text()


def test_seeds_on_several_splits_are_two_sources(tmp_path: Path) -> None:
    for seed, split in product((1, 2), (1, 2, 3)):
        folder = write_classifier(
            tmp_path,
            seed=seed,
            overrides=[f"data.split_seed={split}"],
            missed=range(split),
            test=TEST[split:],
        )
        edit_summary(folder, seeds={"init": seed, "order": seed, "split": split})
    found = row_variance(read_study([tmp_path]).rows[0])
    assert found is not None
    assert found.runs == 6
    by_name = {source.name: source for source in found.sources}
    assert list(by_name) == ["initial weights with order and dropout", "split", "rest"]
    assert by_name["split"].part == pytest.approx(1)
    assert found.largest is by_name["split"]
