"""Run folders that somebody shares or a crash has torn: every command says one line and leaves."""

import io
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from bad_input.tiny_runs import (
    CHECKPOINT,
    edit_checkpoint,
    put,
    write_classifier_run,
    write_instruction_run,
)
from reporting import run_folders

from llm_lightning.backbone import weights
from llm_lightning.commands import audit, export, generate, judge, predict, tune
from llm_lightning.commands import main as cli
from llm_lightning.commands.consent import consent
from llm_lightning.commands.served_run import load_served
from llm_lightning.reporting.analyse.study import read_study
from llm_lightning.run_format import status
from llm_lightning.run_format.configuration import read_configuration
from llm_lightning.run_format.summary import read_summary
from llm_lightning.runs.handle import load

DEEP = b"[" * 100_000
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
"""Ten thousand million values in half a kilobyte."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classifier_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "runs" / "last_block" / "seed_1"))


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What a command printed on standard error, without its frame."""
    lines = capsys.readouterr().err.splitlines()
    return "".join(line.strip("│╭╰─╮╯").removeprefix(" ").rstrip(" ") + " " for line in lines)


CONTENTS: list[tuple[str, bytes, str]] = [
    ("empty", b"", "is damaged: it is empty"),
    ("zeros after a crash", bytes(4096), "is damaged: it is empty"),
    ("torn", b'{"name": "last_bl', "is damaged: no JSON from line 1, column 10 on"),
    ("a list", b"[]", "is damaged: "),
    ("null", b"null", "is damaged: "),
    ("an empty object", b"{}", "is damaged: "),
    ("YAML", b"name: last_block\n", "is damaged: no JSON from line 1"),
    ("latin-1", b'{"name": "caf\xe9"}', "is damaged: line 1 is not UTF-8 text"),
    ("nested deeply", DEEP, "is damaged: it is nested too deeply"),
    ("a long number", b'{"seed": ' + b"9" * 5000 + b"}", "is damaged: Exceeds the limit"),
    ("an image", b"\x89PNG\r\n\x1a\n" + bytes(100), "is damaged: line 1 is not UTF-8 text"),
]
IDS = [row[0] for row in CONTENTS]


@pytest.mark.parametrize(("content", "message"), [row[1:] for row in CONTENTS], ids=IDS)
@pytest.mark.parametrize("name", ["summary.json", "status.json"])
def test_a_damaged_json_file_is_named(run: Path, content: bytes, message: str, name: str) -> None:
    (run / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_summary(run) if name == "summary.json" else status.checked(run / name)
    assert str(caught.value).startswith(f"{run / name} ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"updated_at": "now"}, "status.json is damaged: updated_at must be a time with a zone"),
        ({"updated_at": "2026-01-01"}, "updated_at must be a time with a zone, got '2026-01-01'"),
        ({"updated_at": None}, "updated_at must be a text, got None"),
        ({"state": 3}, "state must be a text, got 3"),
        ({"error": ["x"]}, r"error must be a text, got \['x'\]"),
        ({"refused_at": 7}, "refused_at must be a time with a zone, got 7"),
    ],
)
def test_a_status_is_checked(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    now = datetime.now(UTC).isoformat()
    good = {"state": "running", "updated_at": now}
    (tmp_path / "status.json").write_text(json.dumps(good))
    assert status.read(tmp_path) == good
    assert status.checked(tmp_path / "status.json") == good
    (tmp_path / "status.json").write_text(json.dumps(good | fields))
    with pytest.raises(ValueError, match=message):
        status.checked(tmp_path / "status.json")
    assert status.read(tmp_path) is None


SUMMARIES: list[tuple[str, Any, str]] = [
    ("checkpoint", "../../../etc/passwd", "checkpoint must be a file in the run's folder"),
    ("checkpoint", "/etc/passwd", "checkpoint must be a file in the run's folder, got '/etc/pas"),
    ("checkpoint", ["a"], "checkpoint: Input should be a valid string"),
    ("class_names", ["a", "b", "c"], "and its checkpoint name other classes"),
    ("kind", "poetry", "kind: Input should be"),
    ("seed", None, "seed: Input should be a valid integer"),
    ("metrics", {}, "metrics lacks train, val, test"),
    ("weights", {}, "weights.model is missing"),
    ("weights", None, "is a baseline: it has no network"),
    (
        "decision",
        {"kind": "cost", "temperature": 1.0, "threshold": None, "costs": [[0.0]] * 3,
         "abstain_below": 0.0, "fitted_on": 3, "effects": {}},
        "decision.costs must have a row and a column for each of the 2 classes",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "message"), SUMMARIES, ids=[f"{row[0]} {row[1]!r:.20}" for row in SUMMARIES]
)
def test_a_summary_that_does_not_fit_its_run_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str], key: str, value: Any, message: str
) -> None:
    run_folders.edit_summary(run, **{key: value})
    arguments = [str(run), "--format", "merged", "--out", str(run / "out")]
    assert export.main(arguments) == 2
    found = said(capsys)
    assert message in found
    assert not (run / "out").exists()


COMMANDS: dict[str, Callable[[Path], int]] = {
    "predict": lambda folder: predict.main([str(folder), "hello"]),
    "generate": lambda folder: generate.main([str(folder), "hello"]),
    "export": lambda folder: export.main([str(folder), "--format", "hf", "--out", "out"]),
    "audit": lambda folder: audit.main([str(folder), "--out", "audit"]),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_a_damaged_summary_and_leaves_with_2(
    run: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    (run / "summary.json").write_bytes(b"{")
    assert COMMANDS[command](run) == 2
    found = said(capsys)
    assert f"{run / 'summary.json'} is damaged: no JSON from line 1, column 2 on" in found
    assert "Traceback" not in found
    assert {path.name for path in tmp_path.iterdir()} <= {"runs", "cache"}, "nothing is written"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_a_folder_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "summary.json")
    for name, message in (
        ("nowhere", "does not exist"),
        ("pipe", "summary.json is no file"),
    ):
        assert COMMANDS[command](tmp_path / name) == 2
        assert message in said(capsys)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "config.yaml is damaged: it is empty"),
        ("\0\0", "config.yaml is damaged: no YAML"),
        ("- a\n- b\n", "config.yaml is damaged: a mapping is needed, got list"),
        ("seed: [1, 2\n", "config.yaml is damaged: no YAML in line 2: expected ',' or ']'"),
        ("a: *b\n", "config.yaml is damaged: no YAML in line 1: found undefined alias"),
        ("[" * 1500, "config.yaml is damaged: it is nested too deeply"),
        (BOMB, "config.yaml is damaged: its aliases stand for more than 100,000 values"),
        ("a: &a [*a]\n", "config.yaml is damaged: its aliases stand for more than 100,000"),
        ("a: !!python/object/apply:os.system [exit]\n", "no YAML in line 1: could not determine"),
        ("a: " + "x" * 2**20, "config.yaml is larger than 1,048,576 bytes"),
        ("a: 2026-99-99\n", "config.yaml is damaged: no YAML: month must be in"),
        ("? [1]\n: 2\n", "config.yaml is damaged: no YAML in line 1: found unhashable key"),
    ],
)
def test_a_configuration_is_read_with_limits(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_configuration(tmp_path)
    assert str(tmp_path / "config.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_aliases_within_the_limit_are_read(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: &a [1, 2]\nb: *a\nc: {d: *a}\n")
    assert read_configuration(tmp_path) == {"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}}


CURVES: list[tuple[bytes, str]] = [
    (b"", "metrics.csv: No columns to parse from file"),
    (b"epoch,step\n1", "metrics.csv: "),
    (b'a,"b\n', "metrics.csv: "),
    (b"\x89PNG\xff\xfe", "metrics.csv: "),
    (b"epoch,step,val/accuracy\n0,1,high\n", "metrics.csv: could not convert string to float"),
    (bytes(4096), "metrics.csv: "),
]


def test_a_report_names_every_damaged_file_and_uses_the_rest(run: Path, tmp_path: Path) -> None:
    root = run.parent.parent
    good = run_folders.write_classifier(root, seed=2)
    for number, (content, _) in enumerate(CURVES, start=3):
        folder = run_folders.write_classifier(root, seed=number)
        (folder / "metrics.csv").write_bytes(content)
    for number, (_, content, _) in enumerate(CONTENTS, start=20):
        folder = run_folders.write_classifier(root, seed=number)
        (folder / "summary.json").write_bytes(content)
    pipe = run_folders.write_classifier(root, seed=40)
    (pipe / "metrics.csv").unlink()
    os.mkfifo(pipe / "metrics.csv")
    broken = run_folders.write_classifier(root, seed=41)
    (broken / "status.json").write_bytes(DEEP)
    study = read_study([root])
    reasons = {Path(one.shown).name: (one.state, one.reason) for one in study.problems}
    for number, (_, message) in enumerate(CURVES, start=3):
        if number != 4:  # a row with too few cells is one with empty ones
            assert reasons[f"seed_{number}"][0] == "used"
            assert message in reasons[f"seed_{number}"][1]
    for number in range(20, 20 + len(CONTENTS)):
        state, reason = reasons[f"seed_{number}"]
        assert state == "damaged"
        assert reason.startswith("summary.json: ")
        assert str(tmp_path) not in reason, "paths of this machine are not published"
    assert reasons["seed_40"] == ("used", "metrics.csv: it is not a file")
    used = [one.folder for row in study.rows for one in row.runs]
    assert {good, broken} <= set(used)
    assert not {root / "last_block" / f"seed_{n}" for n in range(20, 31)} & set(used)


def test_a_report_of_nothing_but_damage_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_folders.write_classifier(tmp_path / "runs")
    (folder / "summary.json").write_bytes(b"")
    assert cli.main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 2
    assert "summary.json" in said(capsys)


def test_the_python_api_says_the_same(run: Path) -> None:
    handle = load(run)
    (run / "metrics.csv").write_bytes(b"epoch\n1\n")
    with pytest.raises(ValueError, match=r"metrics\.csv: .*step"):
        handle.plot()
    edit_checkpoint(run, put("hyper_parameters", ...))
    with pytest.raises(ValueError, match=r"last\.ckpt has no hyper_parameters"):
        handle.predict(["hello"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no readable test split: No columns to parse"),
        (b"Label\n1\n", "has no readable test split"),
        (b"Label,Text\n7,hello\n", r"a label is not in [0, 1]"),
        (b"Label,Text\nspam,hello\n", "has no readable test split"),
        (b"\xff\xfe\x00", "has no readable test split"),
    ],
)
def test_an_audit_names_the_split(
    run: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    (run / "splits" / "test.csv").write_bytes(content)
    assert audit.main([str(run), "--out", str(run / "audit")]) == 2
    assert message in said(capsys)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON in UTF-8"),
        (DEEP, "is not JSON in UTF-8"),
        (b"{}", "must be a JSON list with at least one response"),
        (b"[1]", "entry 0 must be an object, got int"),
        (b'[{"instruction": 1}]', "entry 0"),
        (b"\xff", "is not JSON in UTF-8"),
    ],
)
def test_a_judge_names_the_file_of_responses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    folder = run_folders.write_responses(tmp_path)
    file = folder / "instruction-data-with-response.json"
    file.write_bytes(content)
    assert judge.main([str(folder)]) in (1, 2)
    assert message in said(capsys)


def test_a_search_leaves_a_damaged_trial_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    since = datetime.now(UTC)
    folders = [run_folders.write_classifier(tmp_path, seed=seed) for seed in (1, 2)]
    for folder in folders:
        (folder / "status.json").unlink()
        status.write(folder, "finished")
    (folders[0] / "summary.json").write_bytes(b"{")
    tuning = tune.Tuning([[]], "1", set(), [], tmp_path, "accuracy")
    best = tune.best_trial(tuning, since)
    assert best is not None
    assert best.seed == 2
    assert "left out: " in (found := capsys.readouterr().err.replace("\n", ""))
    assert "seed_1/summary.json is damaged" in found


def test_a_decision_cannot_be_made_of_weights_that_are_not_finite(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_checkpoint(run, put("state_dict/head.bias", torch.full((2,), float("nan"))))
    assert predict.main([str(run), "hello"]) == 2
    assert "contains weights that are NaN or infinite" in said(capsys)
    assert export.main([str(run), "--format", "hf", "--out", str(tmp_path / "out")]) == 2
    assert "nothing can be predicted with it" in said(capsys)
    folder = write_instruction_run(tmp_path / "other")
    edit_checkpoint(folder, put("state_dict/backbone.ln_f.bias", torch.full((8,), float("inf"))))
    assert generate.main([str(folder), "Say hello."]) == 2
    assert "not finite: backbone.ln_f.bias, 8 of 8 values" in said(capsys)


def test_a_tokenizer_of_another_model_is_refused(run: Path) -> None:
    (run / "tokenizer").mkdir()
    with pytest.raises(ValueError, match="has files of one, and GPT-2's comes with this program"):
        load(run).predict(["hello"])


def test_a_shared_folder_may_name_any_repository_and_nothing_is_fetched(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(weights, "hub_is_off", lambda: False)
    monkeypatch.setattr(weights, "Reachability", lambda url: fetched.append(url))
    edit_checkpoint(run, put("base/model/weights", "somebody/surprise"))
    assert predict.main([str(run), "hello"]) == 2
    found = said(capsys)
    assert "base somebody/surprise is not on this machine" in found
    assert "add --allow-download" in found
    with pytest.raises(ValueError, match="allow_download=True"):
        load(run).predict(["hello"])
    with pytest.raises(ValueError, match="add --allow-download"):
        load_served(run)
    assert fetched == []
    with pytest.raises(AttributeError):
        load_served(run, allow_download=True)
    assert len(fetched) == 1
    with pytest.raises(AttributeError):  # of the stand-in for the network
        predict.main([str(run), "hello", "--allow-download"])
    assert len(fetched) == 2
    assert all("somebody/surprise" in url for url in fetched)


def test_somebody_at_a_terminal_is_asked(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert consent(True) is None
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    for answer, is_refused in (("y\n", False), ("yes\n", False), ("\n", True), ("no\n", True)):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        ask = consent(False)
        assert ask is not None
        if is_refused:
            with pytest.raises(ValueError, match="If you trust that repository"):
                ask("owner/name@1234567")
        else:
            ask("owner/name@1234567")
    assert "base owner/name@1234567 is not on this machine" in terminal.getvalue()


def test_whatever_is_left_of_a_run_its_checkpoint_is_looked_for(run: Path) -> None:
    (run / CHECKPOINT).unlink()
    with pytest.raises(ValueError, match=r"last\.ckpt is missing"):
        load(run).predict(["hello"])
