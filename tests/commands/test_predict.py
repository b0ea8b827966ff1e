import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from llm_lightning.commands import main as cli
from llm_lightning.commands import predict
from llm_lightning.runs.load import load_classifier
from llm_lightning.runs.prediction import predict as classify

TEXTS = ["You won a prize!", "see you at 7?", ""]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, moved away from where it was made."""
    made = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        patch.setattr(sys, "argv", ["llm_lightning"])
        arguments = [
            "+experiment=last_block", "model=nano", "model.weights=random", "trainer=smoke",
            "trainer.limit_test_batches=null", "optim.lr=1e-3", "data.max_length=24",
        ]  # fmt: skip
        assert cli.main(arguments) == 0
    moved = tmp_path_factory.mktemp("moved") / "run"
    shutil.move(next((made / "runs").glob("*/seed_123")), moved)
    return moved


def rows(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


def test_predictions_are_those_of_the_run(run: Path) -> None:
    recorded = pd.read_csv(run / "predictions_test.csv")
    model, summary = load_classifier(run)
    assert not model.training
    predictions = classify(model, recorded["text"].tolist())
    assert [p.label for p in predictions] == recorded["predicted"].tolist()
    assert [p.probabilities["spam"] for p in predictions] == pytest.approx(
        recorded["probability_spam"].tolist(), abs=1e-5
    )
    truncated = sum(p.truncated for p in predictions)
    assert truncated == summary.data.splits["test"].truncated > 0


def test_arguments_file_and_standard_input_agree(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert predict.main([str(run), *TEXTS, "--json"]) == 0
    expected = capsys.readouterr().out
    content = b"You won a prize!\r\nsee you at 7?\n\n"
    (tmp_path / "messages.txt").write_bytes(content)
    assert predict.main([str(run), "--file", str(tmp_path / "messages.txt"), "--json"]) == 0
    assert rows(capsys.readouterr().out) == rows(expected)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert predict.main([str(run), "--json"]) == 0
    assert rows(capsys.readouterr().out) == rows(expected)

    first = rows(expected)[0]
    assert [row["text"] for row in rows(expected)] == TEXTS
    assert set(first["probabilities"]) == {"ham", "spam"}
    assert sum(first["probabilities"].values()) == pytest.approx(1)
    assert first["probability"] == max(first["probabilities"].values())
    assert first["probabilities"][first["label"]] == first["probability"]


def test_a_text_does_not_depend_on_its_neighbours(run: Path) -> None:
    model, _ = load_classifier(run)
    together = classify(model, [*TEXTS, "a much longer text " * 9])
    for text, expected in zip(TEXTS, together, strict=False):
        alone = classify(model, [text])[0]
        assert alone.probability == pytest.approx(expected.probability, abs=1e-6)


def test_table_for_people(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict.main([str(run), "You won a prize!", "word " * 40]) == 0
    told = capsys.readouterr()
    assert "You won a prize!" in told.out
    assert " %" in told.out
    assert "texts cut to 24 tokens, as in training: 1" in told.out
    assert told.err.startswith("The packaged messages replaced the SMS Spam Collection")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--file", "nowhere.txt"], "--file: nowhere.txt does not exist"),
        (["text", "--file", "nowhere.txt"], "not both"),
    ],
)
def test_faults_are_named(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert predict.main([str(run), *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_wrong_folders_and_files_are_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=f"not the folder of a finished run.*did you mean {run}"):
        load_classifier(run.parent)
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(run / "summary.json", copy)
    with pytest.raises(ValueError, match=r"last\.ckpt is missing"):
        load_classifier(copy)
    (tmp_path / "latin.txt").write_bytes("fine\ncaf\xe9\n".encode("latin-1"))
    assert predict.main([str(run), "--file", str(tmp_path / "latin.txt")]) == 2
    assert "line 2 cannot be decoded" in " ".join(capsys.readouterr().err.replace("│", "").split())


@pytest.mark.slow
def test_command_works_from_another_folder(run: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llm_lightning", "predict", str(run), "hello", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert rows(done.stdout)[0]["text"] == "hello"


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_text_has_no_label(
    run: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert predict.main([str(run), text, "hello"]) == 0
    told = words(capsys.readouterr().out)
    assert "none: empty text" in told
    assert "texts with nothing but white space, which have no label: 1" in told
    assert predict.main([str(run), text, "hello", "--json"]) == 0
    captured = capsys.readouterr()
    assert [row["empty"] for row in rows(captured.out)] == [True, False]
    assert "which have no label: 1" in words(captured.err)


def test_texts_that_were_cut_are_told_beside_json_too(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict.main([str(run), "word " * 40, "--json"]) == 0
    captured = capsys.readouterr()
    assert rows(captured.out)[0]["truncated"] is True
    assert "texts cut to 24 tokens, as in training: 1" in captured.err


@pytest.mark.parametrize("given", ["an argument", "standard input", "a file"])
def test_what_is_not_utf8_is_refused_with_its_place(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    given: str,
) -> None:
    content = b"fine\ncaf\xe9\n"
    arguments, message = ["caf\udce9"], "text 1 is not UTF-8: character 4"
    if given == "standard input":
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        arguments, message = [], "standard input is not UTF-8: byte 3 in line 2"
    elif given == "a file":
        (tmp_path / "texts").write_bytes(content)
        arguments, message = ["--file", str(tmp_path / "texts")], "byte 3 in line 2 cannot be"
    assert predict.main([str(run), *arguments]) == 2
    assert message in words(capsys.readouterr().err)


def test_escapes_in_texts_and_class_names_are_not_obeyed(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\x1b[2J\x9b2J a"
    for more in ((), ("--json",)):
        assert predict.main([str(run), text, *more]) == 0
        captured = capsys.readouterr()
        assert not {"\x1b", "\x9b"} & set(captured.out + captured.err)
    assert rows(captured.out)[0]["text"] == text
