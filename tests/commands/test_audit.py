"""``python -m llm_lightning audit``: of a table, of a run, and with unlabelled texts."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from program import SMOKE, start

from llm_lightning.commands import audit

pytestmark = pytest.mark.usefixtures("own_folder")


def write_table(file: Path, extra: list[tuple[str, str]]) -> None:
    random = np.random.default_rng(0)
    words = {"animal": ["cat", "dog", "cow", "hen"], "weather": ["rain", "snow", "hail", "wind"]}
    rows = [
        (label, " ".join(random.choice(words[label], 4)) + f" number {index}")
        for index in range(40)
        for label in words
    ]
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([("kind", "words"), *rows, *extra])


def test_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ("weather", "cat dog cow hen <b>&")
    conflict = [("weather", "fog and mist"), ("animal", "Fog and  mist")]
    write_table(Path("t.csv"), [wrong, *conflict, ("rare", "of its own"), ("rare", "of its own!")])
    options = ["t.csv", "--text-column", "words", "--label-column", "kind", "--out", "found"]
    assert audit.main(options) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "85 of 3 classes; t.csv" in told
    assert "no near-duplicates" in told
    assert "1 text with different labels, in 2 rows" in told
    assert "2 texts of classes with fewer than five different texts were not judged" in told
    errors = pd.read_csv("found/label_errors.csv")
    assert errors[["row", "label", "suggested"]].iloc[0].tolist() == [81, "weather", "animal"]
    conflicts = pd.read_csv("found/conflicting_labels.csv")
    assert conflicts["row"].tolist() == [82, 83]
    page = Path("found/index.html").read_text()
    assert "cat dog cow hen &lt;b&gt;&amp;" in page
    assert "<script" not in page


@pytest.mark.slow
def test_a_run_and_unlabelled_texts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start(monkeypatch, "+experiment=last_block", *SMOKE, "optim.lr=1e-3")
    folder = next(Path("runs").glob("*/seed_123"))
    predictions = pd.read_csv(folder / "predictions_test.csv")
    labelled = predictions["text"][0]
    texts = ["call me back maybe", "You have won a prize, call now", labelled, "lunch at noon?"]
    Path("new.txt").write_text("\n".join(texts) + "\n")
    capsys.readouterr()
    assert audit.main([str(folder), "--unlabeled", "new.txt", "--most", "2"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "2,400 of 2 classes" in told
    assert "2 of 4 unlabelled texts, of which the run is least sure" in told
    chosen = pd.read_csv("audit/to_label.csv")
    assert set(chosen["line"]) < {1, 2, 4}
    errors = pd.read_csv("audit/label_errors.csv")
    assert set(errors["found_by"]) <= {"words", "run", "both"}
    of_run = errors[errors["found_by"] != "words"]
    assert set(of_run["split"]) <= {"test"}
    near = pd.read_csv("audit/near_duplicates.csv")
    assert set(near["where"]) <= {"across", "within"}
    assert audit.main([str(folder)]) == 0  # without: the earlier list is removed
    assert not Path("audit/to_label.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "nowhere.csv does not exist"),
        (["nowhere"], "nowhere does not exist: give a run folder or a file"),
        (["."], "is not the folder of a finished run"),
        (["t.csv"], "has no column 'text'"),
        (
            ["t.csv", "--text-column", "words", "--label-column", "kind", "--unlabeled", "none"],
            "--unlabeled: none does not exist",
        ),
    ],
)
def test_faults_are_named(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    write_table(Path("t.csv"), [])
    assert audit.main(arguments) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_similarity_that_would_miss_too_many_pairs_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        audit.main(["t.csv", "--similarity", "0.3"])
    assert "must lie in [0.6, 1], got '0.3'" in capsys.readouterr().err
