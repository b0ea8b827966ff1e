"""Every experiment runs, and what happens where weights are unavailable."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from program import SMOKE, start
from small_tokenizers import word_piece
from transformers import BertConfig, BertModel

from llm_lightning.config.experiments import list_experiments

pytestmark = pytest.mark.usefixtures("own_folder")

# One of each kind; the others run with the slow tests.
QUICK = ("baseline_logreg", "lora", "row_15")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
        for name in list_experiments()
    ],
)
def test_every_experiment_runs(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    overrides = []
    if name.startswith("row_"):
        # Wide padding is kept wide, but not to the full context, for the sake of time.
        overrides = ["model.n_positions=128"]
    elif name.startswith("instruct"):
        overrides = ["task.generation.max_new_tokens=4", "untrained_responses=false"]
    elif name.startswith("pretrain"):
        Path("book.txt").write_text("It was the best of times, it was the worst of times. " * 200)
        overrides = ["data.path=book.txt", "trainer.log_every_n_steps=1"]
    start(monkeypatch, f"+experiment={name}", *SMOKE, *overrides)
    folder = next(Path("runs").glob(f"{name}-*/seed_123"))
    summary = json.loads((folder / "summary.json").read_text())
    assert math.isfinite(summary["metrics"]["test"]["loss"])
    assert summary["published"] is None, "a fallback is never set beside published numbers"
    has_network = not name.startswith("baseline")
    assert (folder / "checkpoints" / "last.ckpt").is_file() == has_network


def test_unreachable_weights_are_replaced_and_other_model_settings_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start(
        monkeypatch,
        "+experiment=row_17",
        "trainer=smoke",
        "model=gpt2_medium",
        "model.embd_pdrop=0.1",
    )
    folder = next(Path("runs").glob("*/seed_123"))
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["weights"]["model"] == "nano"
    assert len(summary["fallbacks"]) == 2
    assert (
        "openai-community/gpt2-medium@6dcaa7a, which could not be downloaded"
        in summary["fallbacks"][1]
    )
    assert "HF_HUB_OFFLINE" in summary["fallbacks"][1]
    assert "To use the original:" in summary["fallbacks"][1]
    fields = torch.load(folder / summary["checkpoint"], weights_only=True)["hyper_parameters"]
    assert (fields["model"]["causal"], fields["model"]["embd_pdrop"]) == (False, 0.1)
    # The configuration is that of the model which was trained.
    recorded = OmegaConf.load(folder / "config.yaml").model
    assert (recorded.name, recorded.n_layer, recorded.embd_pdrop) == ("nano", 6, 0.1)
    assert capsys.readouterr().out.count("gpt2-medium@6dcaa7a") == 2


def test_an_installed_package_with_weights_comes_before_nano(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tokenizer = word_piece()
    folder, package = tmp_path / "model", tmp_path / "site" / "all_minilm_l6_v2"
    package.mkdir(parents=True)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(vocab_size=tokenizer.vocab_size, intermediate_size=16, **sizes)
    BertModel(config).save_pretrained(folder)
    tokenizer.save(folder)
    shutil.make_archive(str(package / "model"), "zip", folder)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("LLM_LIGHTNING_CACHE", str(tmp_path / "cache"))
    start(monkeypatch, "+experiment=last_block", "trainer=smoke", "model=bert_base")
    summary = json.loads(next(Path("runs").glob("*/seed_123/summary.json")).read_text())
    assert summary["weights"]["model"] == "minilm"
    assert summary["fallbacks"][1].startswith(
        "The model minilm (installed package all_minilm_l6_v2, model.zip) replaced the model "
        "google-bert/bert-base-uncased@86b5e09"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("row_13", ()),
        ("instruct", ("task.generation.max_new_tokens=4", "untrained_responses=false")),
    ],
)
def test_the_context_of_the_fallback_is_the_limit(
    monkeypatch: pytest.MonkeyPatch, name: str, overrides: tuple[str, ...]
) -> None:
    start(
        monkeypatch, f"+experiment={name}", "trainer=smoke", "trainer.limit_train_batches=1",
        "trainer.max_epochs=1", *overrides,
    )  # fmt: skip
    summary = json.loads(next(Path("runs").glob("*/seed_123/summary.json")).read_text())
    assert summary["data"]["max_length"] == 512
