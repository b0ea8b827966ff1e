"""Whatever is in a run's files, a report is made, and lists the runs that it leaves out."""

import copy
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from reporting import run_folders

from llm_lightning.reporting.analyse.study import read_study
from llm_lightning.reporting.draw.study_figures import ChapterCharts
from llm_lightning.reporting.render import csv_table, markdown_tables, page
from llm_lightning.reporting.render.report_folder import draw


def keys(table: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """All keys of a table and of the tables in it."""
    if isinstance(table, dict):
        for key, value in table.items():
            yield (*path, key)
            yield from keys(value, (*path, key))


def replaced(table: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy with another value; without the key for an ellipsis."""
    copied = copy.deepcopy(table)
    inner = copied
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return copied


@pytest.mark.parametrize("draws", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("bad", [..., None, "x", [], {}, -1, float("nan"), True, [1]], ids=str)
@pytest.mark.parametrize(
    ("write", "name"),
    [
        (run_folders.write_classifier, "summary.json"),
        (run_folders.write_responses, "summary.json"),
        (run_folders.write_text_model, "summary.json"),
        (run_folders.write_responses, "judge-llama3-book.json"),
    ],
)
def test_any_value_of_a_file_may_be_wrong(
    tmp_path: Path, write: Any, name: str, bad: Any, draws: bool
) -> None:
    options: dict[str, Any] = {}
    if write is run_folders.write_classifier:
        options = {"published": {"row": 1, "test": 95.0}}
    if write is run_folders.write_responses:
        options = {"judged": 50.0, "published": {"judge_score": 49.0}}
    good = json.loads((write(tmp_path / "runs" / "good", **options) / name).read_text())
    paths = list(keys(good))
    for number, path in enumerate(paths):
        folder = write(tmp_path / "runs" / str(number), **options)
        (folder / name).write_text(json.dumps(replaced(good, path, bad)))
    study = read_study([tmp_path / "runs"])
    charts = draw(study) if draws else defaultdict(ChapterCharts)
    html = page.render(study, charts, made_at=datetime(2026, 1, 2), version="1")
    for problem in study.problems:
        assert problem.shown in html
    assert markdown_tables.as_markdown(study)
    used = sum(len(row.runs) for row in study.rows)
    damaged = [problem for problem in study.problems if problem.state == "damaged"]
    assert used + len(damaged) == 1 + len(paths)
    assert all(_names_a_key(problem.reason, paths) for problem in damaged)
    assert csv_table.as_csv(study).count("\n") == 1 + len(study.rows)


def _names_a_key(reason: str, paths: list[tuple[str, ...]]) -> bool:
    """Whether a reason begins with the file and contains a key of it."""
    return reason.startswith("summary.json: ") and any(path[-1] in reason for path in paths)
