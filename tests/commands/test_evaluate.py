"""The command: benchmarks on a run, in its folder and on the terminal."""

import json
from pathlib import Path

import pytest
from evaluation.harness.local_tasks import write_tasks
from program import SMOKE, command

from llm_lightning.commands import evaluate
from llm_lightning.run_format.benchmarks import read_benchmarks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("own_folder"),
    pytest.mark.filterwarnings("ignore"),  # of the harness and what it imports
]


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Path:
    records = [{"instruction": f"Say {n}.", "output": f"{n}"} for n in range(30)]
    Path("records.json").write_text(json.dumps(records))
    status = command(
        monkeypatch, "+experiment=instruct_nano", *SMOKE, "data.path=records.json",
        "data.batch_size=2", "trainer.limit_train_batches=1", "task.generation.max_new_tokens=1",
    )  # fmt: skip
    assert status == 0
    return next(Path("runs").glob("*/seed_123"))


def test_results_are_written_shown_and_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    include = str(write_tasks(Path("tasks"), questions=8))
    own = [str(run), "--include", include]
    assert evaluate.main([*own, "--tasks", "my_endings,my_letters", "--shots", "1"]) == 0
    printed = capsys.readouterr()
    assert "it/s" not in printed.err  # a progress bar, in what is no terminal
    out = words(printed.out)
    assert "my_endings acc_norm" in out
    assert "with --limit" not in out
    scores = read_benchmarks(run)
    assert [(one.task, one.metric) for one in scores] == [
        ("my_endings", "acc"), ("my_endings", "acc_norm"), ("my_letters", "acc"),
    ]  # fmt: skip
    assert all(one.examples == 8 and one.standard_error is not None for one in scores)
    results = json.loads((run / "benchmarks-my_endings+my_letters-1shot.json").read_text())
    assert results["llm_lightning"]["precision"] == "32-true"
    assert results["llm_lightning"]["contexts_not_shared"] is None
    assert "samples" not in results

    chat = [*own, "--tasks", "my_answers,my_books", "--chat", "--limit", "2", "--json"]
    assert evaluate.main(chat) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (shown["chat"], shown["prompt_style"], shown["limit"]) == (True, "alpaca", 2)
    assert Path(shown["file"]).name == "benchmarks-my_answers+my_books-first2-chat.json"

    before = sorted(path.name for path in run.iterdir())
    for arguments, message in (
        ([*own, "--tasks", "my_lettrs"], "did you mean my_letters"),
        ([*own, "--tasks", ","], "--tasks is empty"),
        ([str(run), "--tasks", "x", "--include", "nowhere"], "is no folder with task files"),
        (
            ["nowhere", "--tasks", "my_letters", "--include", include],
            "nowhere does not exist",
        ),
    ):
        assert evaluate.main(arguments) == 2
        assert message in words(capsys.readouterr().err)
    (Path(include) / "letters.jsonl").unlink()
    assert evaluate.main([*own, "--tasks", "my_letters"]) == 2
    assert "letters.jsonl" in capsys.readouterr().err
    assert evaluate.main([str(run), "--tasks", "mmlu_anatomy"]) == 2
    assert "the data of mmlu_anatomy could not be downloaded" in words(capsys.readouterr().err)
    assert sorted(path.name for path in run.iterdir()) == before, "nothing half-written"
