"""``tune``: as many trials for every row, chosen on validation, then fresh seeds."""

import json
from pathlib import Path

import pytest
from program import SMOKE, command

from llm_lightning.commands.tune import read_tuning
from llm_lightning.presentation.extras import is_installed
from llm_lightning.reporting.analyse.study import read_study

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.mark.slow
def test_every_row_is_searched_and_evaluated_with_fresh_seeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("+experiment=last_layer", *SMOKE, "optim.lr=1e-9,1e-2", "seed=1,2")
    assert command(monkeypatch, "tune", *settings) == 0
    assert "chosen optim.lr=0.01: validation loss" in " ".join(capsys.readouterr().out.split())
    summaries = [json.loads(file.read_text()) for file in Path("runs").glob("*/*/summary.json")]
    trials = [summary for summary in summaries if summary["trial"]]
    assert {summary["seed"] for summary in trials} == {0}
    assert len(trials) == 2
    assert trials[0]["trial"] == {
        "objective": "loss", "searched": ["optim.lr"], "stopped_after": None,
    }  # fmt: skip
    assert {summary["seed"] for summary in summaries if not summary["trial"]} == {1, 2}
    study = read_study([Path("runs")])
    (search,) = study.searches
    assert search.tuned is not None
    assert search.untuned is not None
    assert {len(row.runs) for row in (search.tuned, search.untuned)} == {2}

    assert command(monkeypatch, "tune", *settings) == 0
    assert capsys.readouterr().out.count("finished before with the same settings") == 6


def test_what_varies_makes_rows_but_what_is_searched() -> None:
    tuning = read_tuning(
        ["+experiment=last_block,all", "model=nano", "data.num_train=30,100", "optim.lr=1e-3,1e-4"],
        "tuned",
    )
    assert tuning.rows == [
        [f"+experiment={name}", "model=nano", f"data.num_train={size}"]
        for name in ("last_block", "all")
        for size in (30, 100)
    ]
    assert tuning.of_search == ["optim.lr=1e-3,1e-4"]
    assert (tuning.seeds, tuning.objective) == ("1,2,3", "loss")
    rows = read_tuning(["+experiment=glob(row_0*)", "seed=range(4,9)"], "tuned")
    assert rows.rows[0] == ["+experiment=row_01"]
    assert (len(rows.rows), rows.seeds) == (9, "4,5,6,7,8")
    lora = read_tuning(["+experiment=lora", "~callbacks.progress"], "tuned_lora")
    assert lora.rows == [["+experiment=lora", "~callbacks.progress"]]
    assert lora.searched == {"optim.lr", "finetune.rank"}


@pytest.mark.slow
@pytest.mark.skipif(not is_installed("optuna"), reason="no Optuna")
def test_optuna_can_search_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ("+experiment=lora", *SMOKE, "trainer.limit_test_batches=1", "seed=1")
    arguments = ("tune", *settings, "hydra.sweeper.n_trials=2", "--sweep", "lora_search")
    assert command(monkeypatch, *arguments) == 0
    (search,) = read_study([Path("runs")]).searches
    assert (len(search.trials), search.objective) == (2, "accuracy")
    assert set(search.best.settings) == {
        "finetune.rank", "finetune.alpha", "finetune.targets", "optim.lr"
    }  # fmt: skip
    assert search.tuned is not None
    assert search.untuned is not None


@pytest.mark.parametrize(
    ("settings", "sweep", "message"),
    [
        (["model=nano"], "tuned", "choose a row to tune"),
        (["+experiment=last_bloc"], "tuned", "did you mean last_block"),
        (["+experiment=last_block", "seed=0,1"], "tuned", "seed=0 is that of the trials"),
        (["+experiment=last_block"], "data_size", "its file lacks trial: true"),
        (["+experiment=last_block"], "nothing", "nothing"),
    ],
)
def test_what_is_wrong_is_named(settings: list[str], sweep: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_tuning(settings, sweep)
