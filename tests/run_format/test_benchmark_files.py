"""What the harness wrote is read with its standard errors, and named by its conditions."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from reporting import run_folders

from llm_lightning.reporting.analyse.study import read_study
from llm_lightning.reporting.read.run_folders import read_run
from llm_lightning.reporting.render import page
from llm_lightning.reporting.render.report_folder import draw
from llm_lightning.run_format.benchmarks import benchmark_file, benchmark_scores, read_benchmarks

RESULTS = {
    "results": {
        "endings": {
            "alias": "endings", "acc,none": 0.25, "acc_stderr,none": 0.125, "sample_len": 12,
            "acc_norm,none": 0.5, "acc_norm_stderr,none": "N/A",
        },
        "sums": {"exact_match,strict-match": 0.75, "exact_match_stderr,strict-match": 0.0625},
    },
    "n-samples": {"endings": {"original": 12, "effective": 12}},
    "n-shot": {"endings": 5},
    "llm_lightning": {"chat": True, "limit": None},
}  # fmt: skip


def test_metrics_with_standard_errors() -> None:
    acc, norm, sums = benchmark_scores(RESULTS)
    assert (acc.task, acc.metric, acc.value, acc.standard_error) == ("endings", "acc", 0.25, 0.125)
    assert (acc.examples, acc.shots, acc.chat, acc.limited) == (12, 5, True, False)
    assert (norm.metric, norm.value, norm.standard_error) == ("acc_norm", 0.5, None)
    assert (sums.metric, sums.value) == ("exact_match (strict-match)", 0.75)
    assert (sums.examples, sums.shots) == (None, None)


def test_file_names_tell_conditions_apart() -> None:
    assert benchmark_file(["b", "a/x"], None, None, False) == "benchmarks-a_x+b.json"
    assert benchmark_file(["mmlu"], 5, 10, True) == "benchmarks-mmlu-5shot-first10-chat.json"
    long = [f"task_{n}" for n in range(50)]
    names = {benchmark_file(long, None, None, False), benchmark_file(long[1:], None, None, False)}
    assert len(names) == 2
    assert max(map(len, names)) < 130


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "benchmarks-x.json").write_text('{"results": 3}')
    with pytest.raises(ValueError, match=r"benchmarks-x.json is damaged"):
        read_benchmarks(tmp_path)


def test_the_report_shows_them(tmp_path: Path) -> None:
    folder = run_folders.write_responses(tmp_path / "runs")
    (folder / "benchmarks-endings.json").write_text(json.dumps(RESULTS))
    run, _ = read_run(folder, "x")
    assert run is not None
    assert [score.value for score in run.benchmarks] == [0.25, 0.5, 0.75]
    study = read_study([tmp_path / "runs"])
    html = page.render(study, draw(study), made_at=datetime(2026, 1, 2), version="9.9")
    assert "endings: acc, 5 shots, as a conversation" in html
    assert '<td class="n">0.2500</td><td class="n">0.1250</td><td class="n">12</td>' in html
