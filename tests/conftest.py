"""What every test shares: no network, no user cache, and small things to test with."""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported
os.environ["LLM_LIGHTNING_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # tiny models: threads only wait for each other
os.environ.pop("COLUMNS", None)  # consoles would keep this width, whatever a test sets later

import jaxtyping
import pytest
import torch

# Shapes and dtypes in annotations are checked at every call; before the package is imported.
jaxtyping.install_import_hook(
    [
        f"llm_lightning.{room}"
        for room in ("backbone", "data", "evaluation.metrics", "exporting", "finetuning", "tasks")
    ],
    "shape_checks.check",
)

from llm_lightning.backbone.gpt2 import GPTConfig  # noqa: E402

NIGHTLY = Path(__file__).with_name("nightly.txt")
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by mark
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that nightly.txt lists."""
    lines = NIGHTLY.read_text().splitlines()
    listed = tuple(f"tests/{line}" for line in lines if not line.startswith("#"))
    for item in items:
        if item.nodeid.startswith(listed):
            item.add_marker(pytest.mark.nightly)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_LIGHTNING_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for a test that starts runs, and a terminal wide enough for whole sentences."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sms_zip() -> Path:
    """The real SMS Spam Collection, where it is at hand."""
    path = SHARED_DATA / "sms+spam+collection.zip"
    if not path.exists():
        pytest.skip("the real SMS Spam Collection is not at hand")
    return path


@pytest.fixture
def tiny_config() -> GPTConfig:
    """A GPT-2 of a few thousand weights beside its embeddings."""
    return GPTConfig(n_layer=3, n_head=2, n_embd=8, n_positions=32, vocab_size=50257)
