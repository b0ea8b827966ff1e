"""Evaluation in batches of similar length, for models that compute their padding."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import small_tokenizers
import torch
import transformers
from program import SMOKE

import llm_lightning

WHOLE = ("trainer.limit_test_batches=null", "trainer.limit_val_batches=null")


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A BERT with random weights and a tokenizer."""
    tokenizer = small_tokenizers.word_piece()
    config = transformers.BertConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=16, max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(3)
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    tokenizer.save(tmp_path / "bert")
    return tmp_path / "bert"


@pytest.mark.parametrize("limits", [pytest.param(WHOLE, marks=pytest.mark.slow), ()])
def test_predictions_are_in_the_order_of_the_texts(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLM_LIGHTNING_CACHE", "cache")
    monkeypatch.setattr(sys, "argv", ["kernel"])
    words = ("good", "bad")
    texts = [f"a {words[i % 2]} film, {'too long ' * (i * 7 % 11)}: {i}" for i in range(120)]
    table = pd.DataFrame({"text": texts, "label": [words[i % 2] for i in range(120)]})
    run = llm_lightning.train(
        "last_block", *SMOKE[:1], "baselines=[]", "model=hub", f"model.weights={bert}",
        "data.eval_batch_size=4", "data.max_length=40", "finetune.cache_frozen_activations=off",
        *limits, data=table,
    )  # fmt: skip
    split = pd.read_csv(run.folder / "splits" / "test.csv")
    written = pd.read_csv(run.folder / "predictions_test.csv")
    assert len(written) == (len(split) if limits else run.summary.evaluated_examples["test"])
    assert written["text"].tolist() == split["Text"].tolist()[: len(written)]
    again = run.predict(written["text"].tolist())
    assert again["text"].tolist() == written["text"].tolist()
    difference = (again["probability_bad"] - written["probability_bad"]).abs()
    assert difference.max() < 1e-5
    assert written["probability_bad"].nunique() > len(written) / 2
