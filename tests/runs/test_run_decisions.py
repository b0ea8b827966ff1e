"""A run that fits a decision: its folder, its terminal, ``predict``, the report."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from program import SMOKE, command, start

import llm_lightning
from llm_lightning.commands import predict, report
from llm_lightning.run_format.class_metrics import class_metrics
from llm_lightning.run_format.summary import read_summary

pytestmark = pytest.mark.usefixtures("own_folder")


def run_folder() -> Path:
    return next(Path("runs").glob("*/seed_123"))


@pytest.mark.slow
def test_a_network_decides_and_predict_decides_alike(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start(
        monkeypatch, "+experiment=last_block", *SMOKE, "trainer.limit_test_batches=null",
        "decide.kind=f1", "decide.abstain_below=0.6", "optim.lr=1e-3",
    )  # fmt: skip
    told = capsys.readouterr().out
    assert "most probable class" in told
    assert "fitted for f1 on 240 validation examples" in told
    folder = run_folder()
    facts = read_summary(folder).decision
    assert facts is not None
    effect = facts.effects["test"]
    raw = pd.read_csv(folder / "predictions_test.csv")
    decided = pd.read_csv(folder / "decisions_test.csv")
    assert decided["predicted"].tolist() == raw["predicted"].tolist()
    kept = ~decided["abstained"]
    assert effect.abstained == (~kept).sum() > 0
    assert effect.before.examples == 480 == effect.after.examples + effect.abstained
    assert effect.before.right == (raw["predicted"] == raw["label"]).sum()
    assert effect.after.right == (decided["decided"] == raw["label"])[kept].sum()
    assert effect.changed == (kept & (decided["decided"] != raw["predicted"])).sum()
    logged = read_summary(folder).metrics["test"]["accuracy"]
    assert effect.before.accuracy == pytest.approx(logged)
    val = facts.effects["val"]
    assert val.after.loss <= val.before.loss  # it was fitted there

    texts = raw["text"].tolist()[:20]
    assert predict.main([str(folder), *texts, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["label"] for row in rows] == decided["decided"].tolist()[:20]
    assert [row["abstained"] for row in rows] == decided["abstained"].tolist()[:20]
    assert [row["probability"] for row in rows] == pytest.approx(
        decided["probability"].tolist()[:20], abs=1e-5
    )
    assert [row["raw_label"] for row in rows] == raw["predicted"].tolist()[:20]
    assert [row["raw_probabilities"]["spam"] for row in rows] == pytest.approx(
        raw["probability_spam"].tolist()[:20], abs=1e-5
    )
    table = llm_lightning.load(folder).predict(texts[:2])
    assert table["abstained"].tolist() == decided["abstained"].tolist()[:2]
    assert "raw_probability_spam" in table
    assert predict.main([str(folder), *texts]) == 0
    assert "(abstained)" in capsys.readouterr().out


def test_a_baseline_decides_by_costs_and_the_report_shows_what_that_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs = [[0, 9], [1, 0]]
    start(
        monkeypatch, "+experiment=baseline_naive_bayes", "decide.kind=cost",
        f"decide.costs={costs}".replace(" ", ""),
    )  # fmt: skip
    facts = read_summary(run_folder()).decision
    assert facts is not None
    assert facts.costs == costs
    decided = pd.read_csv(run_folder() / "decisions_test.csv")
    codes = {"ham": 0, "spam": 1}
    truth, labels = decided["label"].map(codes), decided["decided"].map(codes)
    after = facts.effects["test"].after
    assert after.cost == pytest.approx(np.asarray(costs)[truth, labels].mean())
    assert after.f1 == pytest.approx(class_metrics(truth, labels, ["ham", "spam"]).f1[1])
    assert facts.effects["val"].after.cost <= facts.effects["val"].before.cost  # type: ignore[operator]
    assert report.main(["runs"]) == 0
    page = Path("report/index.html").read_text()
    assert "<h3>Decisions</h3>" in page
    assert "fitted on 240 validation messages" in page
    table = pd.read_csv("report/table.csv")
    assert table["decided_cost"][0] == pytest.approx(after.cost)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["+experiment=last_block", "decide.kind=f2"], "decide.kind must be one of"),
        (["+experiment=last_block", "+decide.kin=f1"], "did you mean decide.kind"),
        (["+experiment=instruct", "decide.kind=accuracy"], "needs classification data"),
        (
            ["+experiment=last_block", "decide.kind=accuracy", "~callbacks.predictions"],
            "needs callbacks.predictions, which was removed",
        ),
        (
            ["+experiment=last_block", "decide.kind=cost", "decide.costs=[[0,1,2]]"],
            "decide.costs must be 2 rows",
        ),
    ],
)
def test_what_cannot_be_decided_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert command(monkeypatch, *arguments, *SMOKE) == 2
    shown = capsys.readouterr()
    assert message in " ".join((shown.out + shown.err).replace("│", " ").split())
    assert not list(Path().glob("runs/*/*/summary.json"))
