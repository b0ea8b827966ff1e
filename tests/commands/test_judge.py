import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judge_server import DIGEST, VERSION, JudgeServer, Say, Slow, Status

from llm_lightning.commands import judge
from llm_lightning.commands.startup import HELD
from llm_lightning.evaluation.judging import exchange
from llm_lightning.run_format.files import RESPONSES
from llm_lightning.run_format.folder_lock import holding


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "BACKOFF_S", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer() as running:
        yield running


def make_run(folder: Path, *responses: str, first: int = 0) -> Path:
    folder.mkdir(parents=True)
    entries = [
        {"instruction": f"task {n}", "input": "", "output": "right", "model_response": text}
        for n, text in enumerate(responses, first)
    ]
    (folder / RESPONSES).write_text(json.dumps(entries))
    return folder


def run(*arguments: object) -> int:
    return judge.main([str(argument) for argument in arguments])


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_result_is_written_and_shown(
    server: JudgeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(tmp_path / "run", "fine", "", "odd", "fine too")
    server.script(Say('{"score": 80}'), Say("40 or 60"), Say('{"score": 100}'), after_warm_up=True)
    assert run(folder, "--model", "llama3", "--url", server.url) == 0
    result = read(folder / "judge-llama3-score100.json")
    assert result["responses"] == RESPONSES
    assert result["judge"] == {
        "api": "ollama",
        "url": server.url,
        "model": "llama3",
        "digest": DIGEST,
        "version": VERSION,
    }
    assert result["settings"] == {
        "rubric": "score100",
        "rubric_version": 1,
        "scale": [0, 100],
        "seed": 123,
        "temperature": 0,
        "max_tokens": 512,
        "left_out": [],
        "enforced": ["json_schema"],
        "concurrency": 1,
        "timeout_s": 120,
        "retries": 3,
    }
    assert result["counts"] == {
        "items": 4, "scored": 3, "empty": 1, "unparsed": 1, "failed": 0, "cached": 0,
    }  # fmt: skip
    assert result["mean"] == 60
    assert result["bounds"] == {"low": 45, "high": 70}
    assert [(item["score"], item["reply"]) for item in result["items"]] == [
        (80, '{"score": 80}'),
        (0, None),
        (None, "40 or 60"),
        (100, '{"score": 100}'),
    ]
    shown = words(capsys.readouterr().out)
    assert "60.00" in shown
    assert "30.55" in shown, "the standard error"
    assert "1 of 3 responses have no score: the mean over all items is between 45.00" in shown
    assert "1 reply: no number alone, in JSON, or after a cue" in shown
    assert f"ollama {VERSION} at {server.url}" in shown
    assert sorted(path.name for path in folder.iterdir()) == [
        RESPONSES,
        "judge-llama3-score100.json",
    ]


def test_long_path_is_shown_whole(
    server: JudgeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(tmp_path / ("x" * 200), "1")
    assert run(folder, "--url", server.url) == 0
    assert str(folder / "judge-llama3-score100.json") in "".join(capsys.readouterr().out.split())


def test_options_reach_the_server(server: JudgeServer, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", "1", "2", "3")
    options = ["--rubric", "rubric5", "--seed", 7, "--limit", 2, "--model", "phi3:mini"]
    server.reply = lambda _: '{"score": 4}'
    assert run(folder, *options, "--url", server.url, "--concurrency", 2, "--api", "ollama") == 0
    assert len(server.measured) == 2
    for chat in server.chats:
        assert chat.body["model"] == "phi3:mini"
        assert chat.body["options"]["seed"] == 7
        assert chat.body["format"]["properties"]["score"]["maximum"] == 5
    assert read(folder / "judge-phi3_mini-rubric5-first2.json")["mean"] == 4


def test_json_for_programs(
    server: JudgeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(tmp_path / "run", "1")
    assert run(folder, "--url", server.url, "--json") == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert captured.err == ""
    assert result["file"] == str(folder / "judge-llama3-score100.json")
    assert (result["mean"], result["standard_error"]) == (50, None)
    assert "items" not in result


def test_file_of_any_name_keeps_its_name(server: JudgeServer, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", "1")
    (folder / RESPONSES).rename(folder / "base.json")
    assert run(folder / "base.json", "--model", "llama3", "--url", server.url) == 0
    assert (folder / "judge-llama3-score100-base.json").is_file()


def test_comparison_is_paired(
    server: JudgeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = make_run(tmp_path / "a", *(f"bad {n}" for n in range(12)))
    b = make_run(tmp_path / "b", *(f"good {n}" for n in range(13)), first=1)

    def reply(prompt: str) -> str:
        answer = prompt.split("[BEGIN ANSWER TO GRADE ")[1].split("]\n", 1)[1].split("\n")[0]
        return json.dumps({"score": len(prompt) % 7 + (30 if "good" in answer else 10)})

    server.reply = reply
    command = ["--compare", a, b, "--model", "llama3", "--url", server.url]
    assert run(*command) == 0
    shown = words(capsys.readouterr().out)
    assert "11 items scored on both sides" in shown
    assert "11 items are shared; left out: 1 only in A, 2 only in B" in shown
    assert "contains 0" not in shown
    asked = len(server.chats)
    server.close()
    assert run(*command, "--json") == 0, "every reply is cached"
    assert len(server.chats) == asked
    result = json.loads(capsys.readouterr().out)
    assert (result["shared"], result["only_a"], result["only_b"]) == (11, 1, 2)
    difference = result["difference"]
    assert 10 < difference["low"] <= difference["mean"] <= difference["high"] < 30
    assert difference["p_value"] < 0.01
    for folder in (a, b):
        assert (folder / "judge-llama3-score100.json").is_file()


def test_run_does_not_differ_from_itself(
    server: JudgeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(tmp_path / "run", "1", "2")
    assert run("--compare", folder, folder, "--model", "llama3", "--url", server.url) == 0
    assert "these items do not tell the two apart" in words(capsys.readouterr().out)


@pytest.mark.parametrize("trouble", ["no server", "no model", "failing", "refusing"])
def test_trouble_is_explained_and_nothing_written(
    server: JudgeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], trouble: str
) -> None:
    folder = make_run(tmp_path / "run", "1", "2")
    model, expected = "llama3", ""
    if trouble == "no server":
        server.close()
        expected = "Connection refused What to do: start one with `ollama serve`, get the model"
    elif trouble == "no model":
        model, expected = "llama4", "it has llama3:latest, phi3:mini. Get it with: ollama pull"
    elif trouble == "failing":
        server.script(*[Status(500, {"error": "out of memory"})] * 4)
        expected = "was asked 4 times; last: HTTP 500: out of memory 0 of 2 replies are cached"
    else:
        server.script(Status(400, {"error": "no [red]"}))
        expected = "HTTP 400: no [red]"
    assert run(folder, "--model", model, "--url", server.url) == 2
    captured = capsys.readouterr()
    assert expected in words(captured.err)
    assert captured.out == ""
    assert [path.name for path in folder.iterdir()] == [RESPONSES]


def test_items_without_a_reply_are_named(
    server: JudgeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(tmp_path / "run", "1", "2", "3")
    trouble = [Status(500, {"error": "\x1b]0;owned\x07 boom"})] * 4
    server.script(Say(""), Say('{"score": 9}'), *trouble)
    assert run(folder, "--url", server.url, "--max-tokens", 2048) == 0
    shown = capsys.readouterr()
    told = words(shown.err)
    assert "no reply to entry 1:" in told
    assert "HTTP 500" in told
    assert "The same command asks for these again." in told
    assert "\x1b" not in shown.err
    assert [chat.body["options"]["num_predict"] for chat in server.chats] == [2048] * 7
    assert read(folder / "judge-llama3-score100.json")["counts"]["failed"] == 1


def test_wrong_second_run_is_reported_before_the_first_is_judged(
    server: JudgeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(tmp_path / "run", "1")
    assert run("--compare", folder, tmp_path / "x", "--model", "llama3", "--url", server.url) == 2
    assert "does not exist" in words(capsys.readouterr().err)
    assert server.gets == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of the arguments"),
        (["run", "--model", "m", "--compare", "a", "b"], "not allowed with"),
        (["run", "--model", "m", "--concurrency", "0"], "must be at least 1, got 0"),
        (["run", "--model", "m", "--retries", "-1"], "must be at least 0"),
        (["run", "--model", "m", "--timeout", "0"], "must be a positive number of seconds"),
        (["run", "--model", "m", "--timeout", "nan"], "must be a positive number of seconds"),
        (["run", "--model", "m", "--limit", "x"], "--limit"),
    ],
)
def test_wrong_arguments_are_named(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        run(*arguments)
    assert message in words(capsys.readouterr().err)


def test_interrupted_command_stops_soon_and_continues_later(
    server: JudgeServer, tmp_path: Path
) -> None:
    folder = make_run(tmp_path / "run", "1", "2", "3")
    server.script(Say(""), Say('{"score": 9}'), Slow(60))
    # Shells start what runs in the background deaf to SIGINT, and children inherit that.
    script = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('llm_lightning', run_name='__main__')"
    )
    command = [
        sys.executable,
        "-c",
        script,
        "judge",
        folder,
        "--model",
        "llama3",
        "--url",
        server.url,
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        while len(server.chats) < 3:
            assert process.poll() is None
            time.sleep(0.02)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert time.monotonic() - sent < 15
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert "interrupted: 1 of 3 replies are cached; the same command continues" in words(errors)
    assert [path.name for path in folder.iterdir()] == [RESPONSES]
    assert run(folder, "--model", "llama3", "--url", server.url) == 0
    result = read(folder / "judge-llama3-score100.json")
    assert [item["score"] for item in result["items"]] == [9, 50, 50]
    assert result["counts"]["cached"] == 1


def test_a_run_that_another_process_works_on_is_not_judged(
    server: JudgeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, other = make_run(tmp_path / "a", "fine"), make_run(tmp_path / "b", "better")
    for arguments in ([folder], [folder / RESPONSES], [folder, "--against", other]):
        with holding(folder):
            assert run(*arguments, "--model", "llama3", "--url", server.url) == HELD == 75
        said = words(capsys.readouterr().err)
        assert f"is held by process {os.getpid()} on" in said
        assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", RESPONSES, RESPONSES]
    server.script(Say('{"score": 80}'), after_warm_up=True)
    assert run(folder, "--model", "llama3", "--url", server.url) == 0
    assert not list(tmp_path.glob("*.lock"))
