import hashlib
import time
from pathlib import Path

import pytest
from hub_process import in_new_process
from loopback import Loopback

from llm_lightning.backbone.weights import ModelConfig, locate
from llm_lightning.network import Unavailable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as transformers saves it, but for the contents, which only loading looks at."""
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "model.safetensors").write_bytes(b"weights")
    return tmp_path / "hub"


def test_paths_are_found(folder: Path) -> None:
    file = folder / "model.safetensors"
    assert locate(ModelConfig(weights=str(folder))).path == file
    assert locate(ModelConfig(weights=str(file))).path == file
    assert locate(ModelConfig(weights="random")).path is None


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    for weights in ("./nowhere", "nowhere", "missing/model.safetensors"):
        with pytest.raises(ValueError, match="pretrained, random, an existing file or folder"):
            locate(ModelConfig(weights=weights))
    with pytest.raises(
        ValueError, match=r"the folder contains no model\.safetensors or pytorch_model\.bin"
    ):
        locate(ModelConfig(weights=str(tmp_path)))
    with pytest.raises(ValueError, match="no weights are published for nano"):
        locate(ModelConfig(name="nano", weights="pretrained"))


def test_offline_switch_of_the_hub_is_honoured(tmp_path: Path) -> None:
    with pytest.raises(
        Unavailable, match="HF_HUB_OFFLINE is set, and there is no cached copy"
    ) as caught:
        locate(ModelConfig(weights="somebody/never-cached@abc"))
    assert "no file or folder here, so taken for a Hub id" in str(caught.value)


LOCATE = """
import sys
from llm_lightning.backbone.weights import ModelConfig, locate
from llm_lightning.network import Unavailable
for hub_id, revision in zip(sys.argv[1::2], sys.argv[2::2]):
    model = ModelConfig(weights="pretrained", hub_id=hub_id, revision=revision)
    try:
        print("got", locate(model).path.read_bytes() == b"W" * 100_000, flush=True)
    except Unavailable as error:
        print("unavailable", error.reason.splitlines()[0], flush=True)
"""


def locate_in_new_process(endpoint: str, hf_home: Path, *requests: str) -> list[str]:
    return in_new_process(LOCATE, endpoint, hf_home, *requests).stdout.splitlines()


@pytest.mark.slow
def test_hub_download_follows_redirects_and_is_cached(tmp_path: Path) -> None:
    commit = "607a30d783dfa663caf39e06633721c8d4cfcd7e"
    request = ("openai-community/gpt2", commit)
    with Loopback() as server:
        server.hub_file(
            request[0], "model.safetensors", b"W" * 100_000, revision=commit, large=True
        )
        printed = locate_in_new_process(
            server.url, tmp_path, *request, "openai-community/none", commit
        )
        assert printed[0] == "got True"
        assert printed[1].startswith("unavailable")
        assert f"/{request[0]}/resolve/{commit}/model.safetensors" in server.paths("HEAD")
        server.hub_file("org/drops", "model.safetensors", b"W" * 100_000, large=True, drops=1)
        assert locate_in_new_process(server.url, tmp_path, "org/drops", "main") == ["got True"]
        before = len(server.requests)
        assert locate_in_new_process(server.url, tmp_path, *request) == ["got True"]
        assert len(server.requests) == before, "the cached copy needs no request"


@pytest.mark.slow
def test_hub_that_does_not_respond_is_given_up_in_time(tmp_path: Path) -> None:
    with Loopback() as server:
        server.vanish("/openai-community/gpt2/resolve/main/model.safetensors")
        started = time.monotonic()
        printed = locate_in_new_process(server.url, tmp_path, "openai-community/gpt2", "main")
        assert time.monotonic() - started < 60  # most of it is the new process
    host = server.url.removeprefix("http://")
    assert printed == [f"unavailable {host} did not answer within 4 s"]


def test_the_fingerprint_is_that_of_the_content_and_computed_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "model.safetensors"
    expected = hashlib.sha256(file.read_bytes()).hexdigest()
    found = locate(ModelConfig(weights=str(folder)))
    assert found.fingerprint() == expected
    hashed: list[object] = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: (hashed.append(a), digest(*a))[1])
    assert locate(ModelConfig(weights=str(file))).fingerprint() == expected
    assert hashed == [], "the same file is not hashed again"

    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(file.read_bytes())
    assert locate(ModelConfig(weights=str(copy))).fingerprint() == expected
    time.sleep(0.02)  # more than the resolution of modification times
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert found.fingerprint() == hashlib.sha256(file.read_bytes()).hexdigest() != expected
    assert locate(ModelConfig(weights="random")).fingerprint() is None
