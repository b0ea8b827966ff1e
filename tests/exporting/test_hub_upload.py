"""An export on the Hub: uploaded by the command, loaded again from there."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from exporting.tasks_to_export import classifier, lora
from exporting.upload_hub import TOKEN, UploadHub
from huggingface_hub import constants
from huggingface_hub.utils import _http
from huggingface_hub.utils.tqdm import tqdm
from program import SMOKE, start

from llm_lightning import network
from llm_lightning.exporting import hub_upload
from llm_lightning.exporting.hub_upload import NotUploaded, check_base, check_upload, upload

LOAD = """
import sys
from transformers import pipeline
found = pipeline("text-classification", model=sys.argv[1])("You won a prize!")
print(found[0]["label"])
"""


@pytest.mark.parametrize(
    ("kind", "repo", "message"),
    [
        ("gguf", "me/spam", "--push-to-hub takes --format hf or peft, got gguf"),
        ("hf", "spam", "--push-to-hub must be owner/name, got 'spam'"),
        ("hf", "me/spam@main", "must be owner/name"),
        ("hf", "me/spam", "needs the network, which LLM_LIGHTNING_OFFLINE"),
    ],
)
def test_what_cannot_be_uploaded_is_said_at_once(kind: str, repo: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_upload(kind, repo)


def test_the_network_is_only_forbidden_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_upload, "hub_is_off", lambda: False)
    check_upload("peft", "me/spam")


def test_adapters_are_uploaded_only_if_their_base_is_on_the_hub() -> None:
    task = classifier(lora())
    with pytest.raises(ValueError, match="the base of these adapters is not on the Hub"):
        check_base(task, "peft")
    check_base(task, "hf")
    task.base = {"model": {"weights": "pretrained", "hub_id": "me/base", "revision": None}}
    check_base(task, "peft")


@pytest.fixture(scope="module", autouse=True)
def _one_client_for_all() -> Iterator[None]:
    """Threads that were given up would close the client that all tests of a process share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_http, "close_session", lambda: None)
        yield


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    """The Hub of this process."""
    with UploadHub() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of an export, one of them large."""
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# a run\n", encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 100)
    return tmp_path


# The library's own call of its HTTP client.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Use .content")
def test_every_file_is_uploaded_to_a_private_repository(hub: UploadHub, folder: Path) -> None:
    assert upload(folder, "me/spam") == f"{hub.url}/me/spam"
    assert hub.files == {file.name: file.read_bytes() for file in folder.iterdir()}
    assert [one["visibility"] for one in hub.created] == ["private"]


@pytest.mark.parametrize(("repo", "token", "status"), [
    ("you/spam", TOKEN, 403), ("me/spam", "not-mine", 401),
])  # fmt: skip
def test_what_the_hub_refuses_is_said_without_the_token(
    hub: UploadHub, folder: Path, repo: str, token: str, status: int, monkeypatch: Any
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(NotUploaded) as refused:
        upload(folder, repo)
    said = str(refused.value)
    assert f"{folder} is written, but --push-to-hub {repo} failed: the Hub refused" in said
    assert f"(HTTP {status})" in said
    assert "hf auth login" in said
    assert token not in said


def test_a_hub_that_is_gone_is_named(
    hub: UploadHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NotUploaded, match=r"127\.0\.0\.1:9: .*; try again$"):
        upload(folder, "me/spam")


@pytest.mark.parametrize(
    ("stuck_at", "trickles"),
    [
        ("POST /api/repos/create", "headers"),
        ("PUT /lfs", ""),
        pytest.param("POST /api/repos/create", "body", marks=pytest.mark.slow),
        pytest.param("preupload", "", marks=pytest.mark.slow),
        pytest.param("objects/batch", "body", marks=pytest.mark.slow),
        pytest.param("PUT /lfs", "headers", marks=pytest.mark.slow),
        pytest.param("commit/main", "headers", marks=pytest.mark.slow),
        pytest.param("commit/main", "body", marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:Use .content")
def test_a_hub_that_hardly_moves_is_given_up(
    hub: UploadHub, folder: Path, stuck_at: str, trickles: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.stuck_at, hub.trickles = stuck_at, trickles
    monkeypatch.setattr(network, "STALLED_AFTER_S", 0.5)
    monkeypatch.setattr(hub_upload, "STALLED_AFTER_S", 0.5)
    started = time.monotonic()
    with pytest.raises(NotUploaded, match=r"arrived within 0\.5 s, fewer than .*; try again$"):
        upload(folder, "me/spam")
    assert time.monotonic() - started < 5
    asked = [f"{one.method} {one.path}" for one in hub.requests]
    assert any(stuck_at in one for one in asked[-2:])  # it came that far, and no further
    assert not hub.files


def test_bytes_are_counted_whether_bars_are_shown_or_not() -> None:
    shown = tqdm.update
    for is_disabled in (False, True):
        with hub_upload._counted() as sent, tqdm(total=5, disable=is_disabled) as bar:
            bar.update(3)
            bar.update(2)
            assert sent() == 5
    assert tqdm.update is shown


# HF_ENDPOINT and HF_HOME take effect when huggingface_hub is imported: a process of its own.
@pytest.mark.slow
def test_an_export_is_uploaded_and_loaded_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(
        monkeypatch, "+experiment=last_block", *SMOKE, "task.pooling=last_real",
        f"runs_dir={tmp_path / 'runs'}",
    )  # fmt: skip
    run = next((tmp_path / "runs").glob("*/seed_123"))

    def program(*arguments: object) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN,
            "HF_HUB_OFFLINE": "0", "LLM_LIGHTNING_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
            "COLUMNS": "300",
        }  # fmt: skip
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True
        )

    with UploadHub() as hub:
        done = program(
            "-m", "llm_lightning", "export", run, "--format", "hf", "--out", "out",
            "--push-to-hub", "me/spam",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "uploaded to me/spam" in done.stdout
        assert [(one["name"], one["visibility"]) for one in hub.created] == [("spam", "private")]
        written = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
        assert hub.files == written
        front = hub.files["README.md"].decode().split("---")[1]
        assert yaml.safe_load(front)["pipeline_tag"] == "text-classification"
        loaded = program("-c", LOAD, "me/spam")
        assert loaded.stdout.strip() in ("ham", "spam"), loaded.stderr
