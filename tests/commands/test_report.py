"""The command: what it writes, what it prints, and how long it takes."""

import random
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from reporting import run_folders

from llm_lightning.commands import main as cli
from llm_lightning.commands import report
from llm_lightning.statistics.crossed import crossed_mean
from llm_lightning.statistics.intervals import holm


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of all kinds; no test changes them."""
    root = tmp_path_factory.mktemp("report") / "runs"
    for seed, missed in ((1, [0, 1]), (2, [0]), (3, [])):
        run_folders.write_classifier(
            root,
            "row_01",
            seed=seed,
            missed=missed,
            published={"row": 1, "test": 95.0},
            parameters={"trainable": 7_090_944, "total": 124_441_346},
            seconds={"total": 99.0, "training": 90.0, "validation": 1.0, "evaluation": 8.0},
            peak_memory_mib=100.0 * seed,
        )
    run_folders.write_classifier(root, "row_02", missed=[2, 3, 4, 5, 6, 7])
    run_folders.write_classifier(root, "row_03", fallbacks=["nano replaced gpt2:\n  offline"])
    run_folders.write_classifier(root, "baseline_majority", missed=[1, 3, 5, 7, 9])
    run_folders.write_responses(root, judged=49.45)
    run_folders.write_text_model(root)
    run_folders.write_status(root / "row_04" / "seed_1", "failed", error="out of memory")
    return root


@pytest.fixture(scope="module")
def table(runs: Path) -> pd.DataFrame:
    out = runs.parent / "out"
    assert report.main([str(runs), "--out", str(out)]) == 0
    return pd.read_csv(out / "table.csv").set_index("row")


def test_it_writes_a_page_and_two_tables(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(runs), "--out", "a/new/folder"]) == 0
    written = {path.name for path in Path("a/new/folder").iterdir()}
    assert written == {"index.html", "table.md", "table.csv", "figures"}
    output = capsys.readouterr().out
    assert "failed runs/row_04/seed_1: out of memory" in output
    assert "not comparable (published 95.00)" in output
    assert "fallback: packaged data or weights replaced unavailable ones" in output
    assert "compared with row_01, 2 tests:" in output
    assert str(Path("a/new/folder/index.html")) in output


def test_each_test_set_has_a_heading_and_names_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for experiment, missed in (("last_block", []), ("lora", range(1, 9))):
        run_folders.write_classifier(tmp_path / "runs", experiment, missed=missed)
    run_folders.write_classifier(
        tmp_path / "runs", overrides=["trainer=smoke"], test=run_folders.TEST[:6]
    )
    run_folders.write_responses(tmp_path / "runs", overrides=["trainer=smoke"])
    assert report.main(["runs"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    first = lines.index("Test set A: 10 messages")
    second = lines.index("Test set B: 6 messages")
    third = lines.index("Instructions A: 4 tasks; all rows with trainer=smoke")
    names = [line.partition("  ")[0] for line in lines]
    assert names[first + 2 : second - 3] == ["last_block", "lora"]
    assert lines[second - 3 : second - 1] == [
        "compared with last_block, 1 test:",
        "worse: lora (\N{MINUS SIGN}80.00 points, one seed)",
    ]
    assert names[second + 2 : third - 1] == ["last_block trainer=smoke"]
    assert not any(line.startswith("fallback") for line in lines)


def test_every_figure_of_the_page_is_a_file_of_its_own(runs: Path) -> None:
    assert report.main([str(runs), "--out", "out"]) == 0
    Path("out/figures/old.svg").write_text("of an earlier report")
    assert report.main([str(runs), "--out", "out"]) == 0
    page = Path("out/index.html").read_text()
    files = sorted(Path("out/figures").iterdir())
    assert len(files) == page.count("<svg ") > 5
    for file in files:
        root = ElementTree.fromstring(file.read_text())
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        text = file.read_text()
        assert 'fill="var(--card)"' in text
        assert text[text.index("<title ") : text.rindex("</svg>")] in page


@pytest.mark.parametrize("columns", ["80", "100"])
def test_a_narrow_terminal_cuts_no_verdict(
    runs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
) -> None:
    more = tmp_path / "more"
    monkeypatch.setenv("COLUMNS", columns)
    run_folders.write_classifier(
        more,
        "row_05",
        overrides=["trainer.limit_train_batches=40"],
        fallbacks=["nano replaced gpt2"],
    )
    assert report.main([str(runs), str(more)]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = [line for line in lines if "comparable" in line]
    assert len(said) == 1  # row_01
    assert "not comparable" in said[0]
    assert sum(line.rstrip().endswith(" fallback") for line in lines) == 2  # row_03 and row_05


def test_accuracies_and_intervals_in_the_table(table: pd.DataFrame) -> None:
    row = table.loc["row_01"]
    right = np.ones((3, 10))
    right[0, :2] = right[1, 0] = 0
    interval = crossed_mean(right).interval
    assert row.test_accuracy == pytest.approx(0.9)
    ends = (row.test_accuracy_low, row.test_accuracy_high)
    assert ends == pytest.approx((interval.low, interval.high))
    assert (row.seeds, row.test_examples) == ("1 2 3", 10)
    single = table.loc["row_02"]
    assert single.test_accuracy == pytest.approx(0.4)
    alone = crossed_mean(np.repeat([[0.0, 1.0]], [6, 4], axis=1)).interval
    assert single.test_accuracy_low == pytest.approx(alone.low)


def test_costs_in_the_table(table: pd.DataFrame) -> None:
    row = table.loc["row_01"]
    assert (row.trainable, row.minutes, row.peak_memory_mib) == (7_090_944, 1.5, 300.0)


def test_published_values_and_verdicts_in_the_table(table: pd.DataFrame) -> None:
    row = table.loc["row_01"]
    assert (row.published_test, row.verdict) == (0.95, "not comparable")
    assert row.verdict_reason == "another test split"
    assert table.loc["row_03"].fallback == "nano replaced gpt2"
    assert pd.isna(table.loc["row_03"].compared_with)


def test_differences_in_the_table(table: pd.DataFrame) -> None:
    row, baseline = table.loc["row_02"], table.loc["baseline_majority"]
    assert row.compared_with == "row_01"
    assert row.difference == pytest.approx(0.4 - 0.9)
    assert [row.holm_p, baseline.holm_p] == pytest.approx(holm([row.p, baseline.p]))
    assert row.difference_low < row.difference < row.difference_high
    assert [row.one_seed, baseline.one_seed] == [True, False]
    assert row.says in {"worse", "cannot be told apart"}
    assert "margin" not in table


def test_a_margin_tests_for_equivalence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = [(index % 2, f"message {index}") for index in range(400)]
    for experiment, missed in (("row_01", range(9)), ("row_02", range(1, 10))):
        for seed in (1, 2):
            run_folders.write_classifier(
                tmp_path / "runs", experiment, seed=seed, missed=missed, test=test
            )
    assert report.main(["runs", "--margin", "2"]) == 0
    assert "equivalent within 2 points: row_02 (+0.00 points)" in capsys.readouterr().out
    row = pd.read_csv("report/table.csv").set_index("row").loc["row_02"]
    assert (row.says, row.margin) == ("equivalent within 2 points", 0.02)
    assert row.holm_p_no_worse <= row.holm_p_equivalent < 0.05
    assert "equivalent within 2 points" in Path("report/index.html").read_text()
    assert "| equivalent within 2 points |" in Path("report/table.md").read_text()


@pytest.mark.parametrize("margin", ["0", "-1", "100", "nan", "much"])
def test_a_margin_is_a_number_of_points(capsys: pytest.CaptureFixture[str], margin: str) -> None:
    with pytest.raises(SystemExit):
        report.main(["runs", f"--margin={margin}"])
    assert "must be between 0 and 100 points" in capsys.readouterr().err


def test_scores_of_probabilities_in_the_table(table: pd.DataFrame) -> None:
    row = table.loc["row_02"]  # always 90 % sure, and right in 4 of 10: 2 of 5 in each class
    assert row.ece == pytest.approx(0.5)
    assert row.brier == pytest.approx(0.4 * 0.1**2 + 0.6 * 0.9**2)
    share = 747 / 5572
    assert row.positive_share == pytest.approx(share)
    expected = share * 0.4 / (share * 0.4 + (1 - share) * 0.6)
    assert row.shifted_precision == pytest.approx(expected)
    assert row.auroc == pytest.approx(0.4)  # 4 of 25 pairs in order, 12 of 25 of equal scores
    assert row.shifted_precision_low < expected < row.shifted_precision_high


def test_language_models_in_the_table(table: pd.DataFrame) -> None:
    row = table.loc["instruct"]
    assert (row.exact_match, row.rouge_l) == (0.5, 0.625)
    assert row.test_response_loss == 2.0
    assert row["judge: llama3, book"] == 49.45
    assert table.loc["pretrain_nano"].test_perplexity == 21.0


def test_another_reference_and_share(runs: Path) -> None:
    options = ["--baseline-row", "row_02", "--positive-share", "0.5"]
    assert report.main([str(runs), *options]) == 0
    table = pd.read_csv("report/table.csv").set_index("row")
    assert table.loc["row_01"].compared_with == "row_02"
    assert table.loc["row_01"].difference == pytest.approx(0.5)
    assert "precision at 50.0 % spam" in Path("report/index.html").read_text()


def test_several_folders_make_one_report(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path / "a", "row_01")
    run_folders.write_classifier(tmp_path / "b", "row_02")
    assert report.main(["a", "b"]) == 0
    assert len(pd.read_csv("report/table.csv")) == 2


def test_the_same_runs_give_the_same_tables(runs: Path) -> None:
    for out in ("first", "second"):
        assert report.main([str(runs), "--out", out]) == 0
    for name in ("table.csv", "table.md"):
        assert Path("first", name).read_bytes() == Path("second", name).read_bytes()


def test_the_default_folder_is_report_and_runs_are_not_touched(runs: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in runs.rglob("*")}
    assert report.main([str(runs)]) == 0
    assert Path("report/index.html").is_file()
    assert {file: file.stat().st_mtime_ns for file in runs.rglob("*")} == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "RUNS_DIR must be an existing folder, got nowhere"),
        (["empty"], "RUNS_DIR must hold run folders, got none in empty"),
        (["runs", "--baseline-row", "row_99"], "got 'row_99'"),
        (["runs", "--out", "file"], "file: File exists"),
    ],
)
def test_mistakes_end_with_one_message(
    runs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    Path("empty").mkdir()
    Path("file").write_text("")
    found = [str(runs) if argument == "runs" else argument for argument in arguments]
    assert report.main(found) == 2
    assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize("share", ["0", "1", "1.5", "-1", "nan", "many"])
def test_a_share_is_between_zero_and_one(capsys: pytest.CaptureFixture[str], share: str) -> None:
    with pytest.raises(SystemExit):
        report.main(["runs", f"--positive-share={share}"])
    assert "must be between 0 and 1" in capsys.readouterr().err


def test_lone_surrogates_do_not_stop_a_report(tmp_path: Path) -> None:
    run_folders.write_status(tmp_path / "runs" / "x", "failed", error="broken \ud800 text")
    run_folders.write_classifier(tmp_path / "runs")
    assert report.main(["runs"]) == 0
    assert "broken ? text" in Path("report/index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_real_runs_leave_is_read_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiments = "+experiment=last_layer,baseline_length,instruct_nano"
    options = ("model=nano", "model.weights=random", "trainer=smoke")
    monkeypatch.setattr(sys, "argv", ["llm_lightning", "-m", experiments, *options])
    assert cli.main(sys.argv[1:]) == 0
    capsys.readouterr()
    assert report.main(["runs"]) == 0
    table = pd.read_csv("report/table.csv").set_index("experiment")
    assert set(table["kind"]) >= {"classification", "instructions"}
    assert {"last_layer", "baseline_length", "instruct_nano"} <= set(table.index)
    assert table.loc["last_layer"].weights.startswith("nano: random")
    html = Path("report/index.html").read_text(encoding="utf-8")
    assert "damaged" not in html
    assert "there is no" not in html
    assert 'id="problems"' not in html
    assert "Learning curve of last_layer" in html
    assert "Responses side by side" in html


@pytest.mark.benchmark
def test_a_hundred_runs_take_less_than_ten_seconds(tmp_path: Path) -> None:
    """Of processor time: other work on the machine is not the report's."""
    choose = random.Random(0)
    words = [f"word{number}" for number in range(2000)]

    def messages(count: int) -> list[tuple[int, str]]:
        return [(choose.randrange(2), " ".join(choose.choices(words, k=18))) for _ in range(count)]

    test, train = messages(300), messages(1045)
    for number in range(100):
        run_folders.write_classifier(
            tmp_path / "runs",
            f"row_{number // 3:02d}",
            seed=number % 3,
            missed=choose.sample(range(300), choose.randrange(40)),
            test=test,
            train=train,
            val_accuracies=[0.5, 0.7, 0.8, 0.9, 0.95],
            published={"row": 1, "test": 95.0},
        )
    started = time.process_time()
    assert report.main(["runs"]) == 0
    assert time.process_time() - started < 10
    assert len(pd.read_csv("report/table.csv")) == 34
    assert Path("report/index.html").stat().st_size < 5_000_000
