"""An export on the Hub: uploaded by the command, loaded again from there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from exporting.tasks_to_export import classifier, lora
from exporting.upload_hub import TOKEN, UploadHub
from program import SMOKE, start

from llm_lightning.exporting import hub_upload
from llm_lightning.exporting.hub_upload import check_base, check_upload

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

    def program(*arguments: object, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": token,
            "HF_HUB_OFFLINE": "0", "LLM_LIGHTNING_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
            "COLUMNS": "300",
        }  # fmt: skip
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True
        )

    def export(repo: str, out: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
        return program(
            "-m", "llm_lightning", "export", run, "--format", "hf", "--out", out,
            "--push-to-hub", repo, token=token,
        )  # fmt: skip

    with UploadHub() as hub:
        done = export("me/spam", "out")
        assert done.returncode == 0, done.stderr
        assert "uploaded to me/spam" in done.stdout
        assert [(one["name"], one["visibility"]) for one in hub.created] == [("spam", "private")]
        written = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
        assert hub.files == written
        front = hub.files["README.md"].decode().split("---")[1]
        assert yaml.safe_load(front)["pipeline_tag"] == "text-classification"
        loaded = program("-c", LOAD, "me/spam")
        assert loaded.stdout.strip() in ("ham", "spam"), loaded.stderr
        for repo, token, status in (("you/spam", TOKEN, 403), ("me/spam", "wrong", 401)):
            refused = export(repo, "other", token)
            assert refused.returncode == 1
            said = " ".join(refused.stderr.replace("│", " ").split())
            assert f"other is written, but --push-to-hub {repo} failed" in said
            assert f"(HTTP {status})" in said
            assert token not in said
