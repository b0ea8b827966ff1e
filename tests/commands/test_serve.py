"""The command: one run behind an address, until a signal ends it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import openai
import pytest
from program import SMOKE, start

from llm_lightning.commands import serve
from llm_lightning.runs.handle import load
from llm_lightning.runs.load import load_classifier
from llm_lightning.runs.prediction import decision_of, predict

TEXTS = ["You won a prize!", "see you at 7?", "", "free " * 60]


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


@contextmanager
def served(run: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command in a process of its own, and its address."""
    command = [sys.executable, "-m", "llm_lightning", "serve", str(run), "--port", "0", *options]
    environment = os.environ | {"COLUMNS": "300"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith("address"):
                    url = line.split()[1].removesuffix("/predict").removesuffix("/v1")
                    break
            else:
                raise AssertionError("it ended before it listened")
            while True:
                try:
                    httpx2.get(f"{url}/health")
                    break
                except httpx2.TransportError:
                    time.sleep(0.05)
            yield url, process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status of a process that ends by itself, and the rest of what it printed."""
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


@pytest.mark.slow
def test_a_classifier_answers_as_predict_and_ends_with_sigterm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(
        monkeypatch, "+experiment=last_block", *SMOKE, "data.max_length=24",
        "decide.kind=accuracy", "decide.abstain_below=0.6", f"runs_dir={tmp_path}",
    )  # fmt: skip
    run = next(tmp_path.glob("*/seed_123"))
    model, summary = load_classifier(run)
    assert summary.decision is not None

    decision = decision_of(summary)
    expected = [found.fields() for found in predict(model, TEXTS, decision)]
    alone = [predict(model, [text], decision)[0].fields() for text in TEXTS]
    with served(run, "--max-texts", "4") as (url, process):
        found = httpx2.post(f"{url}/predict", json={"texts": TEXTS}).json()["predictions"]
        for ours, theirs in zip(expected, found, strict=True):
            label = theirs.pop("decision")
            assert label == (None if ours["abstained"] else ours["label"])
            assert theirs == {key: value for key, value in ours.items() if key != "text"}
        for text, ours in zip(TEXTS, alone, strict=True):
            theirs = httpx2.post(f"{url}/predict", json={"text": text}).json()
            assert theirs["probabilities"] == ours["probabilities"]
        info = httpx2.get(f"{url}/info").json()
        assert (info["classes"], info["max_length"]) == (["ham", "spam"], 24)
        assert info["decision"] == "accuracy"
        assert info["limits"]["texts"] == 4
        process.send_signal(signal.SIGTERM)
        status, out = ended(process)
    assert (status, out.strip().splitlines()[-1]) == (0, "stopped")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_answers_that_are_under_way_are_finished(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [{"instruction": f"Say {n}.", "input": "", "output": f"{n}"} for n in range(30)]
    (tmp_path / "records.json").write_text(json.dumps(records))
    start(
        monkeypatch, "+experiment=instruct_nano", *SMOKE, "model_task=none",
        f"data.path={tmp_path / 'records.json'}", "data.batch_size=2", f"runs_dir={tmp_path}",
        "task.generation.max_new_tokens=2",
    )  # fmt: skip
    run = next(tmp_path.glob("*/seed_123"))
    with served(run) as (url, process):
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        model = client.models.list().data[0].id
        asked = {"model": model, "prompt": "Once", "max_tokens": 300}
        expected = client.completions.create(**asked).choices[0].text
        whole: list[str] = []
        other = threading.Thread(
            target=lambda: whole.append(client.completions.create(**asked).choices[0].text)
        )
        stream = client.completions.create(**asked, stream=True)
        pieces = [next(iter(stream)).choices[0].text]
        other.start()
        time.sleep(0.2)
        process.send_signal(getattr(signal, name))
        time.sleep(0.2)
        address = url.removeprefix("http://").split(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address[0], int(address[1])))
        pieces += [chunk.choices[0].text for chunk in stream]
        other.join()
        status, out = ended(process)
    assert "".join(pieces) == expected
    assert whole == [expected]
    assert (status, out.strip().splitlines()[-1]) == (0, "stopped")
    answer = load(run).generate(["Say 3."])
    assert answer  # the run is as it was


def test_faults_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main([str(tmp_path), "--port", "0"]) == 2
    assert "is not the folder of a finished run" in words(capsys.readouterr().err)
    assert serve.main([str(tmp_path), "--max-texts", "0"]) == 2
    assert "the limit on texts must be at least 1" in words(capsys.readouterr().err)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert serve.main([str(tmp_path), "--port", str(port)]) == 2
        said = words(capsys.readouterr().err)
        assert f"--host 127.0.0.1 --port {port}: Address already in use" in said
    assert serve.main([str(tmp_path), "--host", "no.such.host.invalid"]) == 2
    assert "--host no.such.host.invalid" in words(capsys.readouterr().err)
    assert serve.main([str(tmp_path), "--port", "70000"]) == 2
    assert "--port 70000" in words(capsys.readouterr().err)


def test_a_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("llm_lightning.presentation.extras.is_installed", lambda _: False)
    assert serve.main([str(tmp_path)]) == 2
    assert "serve needs Starlette and uvicorn: pip install" in words(capsys.readouterr().err)
