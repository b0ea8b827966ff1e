import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from exporting.tasks_to_export import ALL, LENGTHS, TINY, batch, classifier, language_model, lora
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GenerationConfig,
)

from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID
from llm_lightning.backbone.weights import ModelConfig, locate
from llm_lightning.exporting.dense import dense
from llm_lightning.exporting.gpt2.transformers_folder import (
    write_merged,
    write_transformers,
)
from llm_lightning.exporting.suitability import suited_formats
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.task import Task


@torch.no_grad()
def logits(task: Task) -> torch.Tensor:
    ids, is_real = batch()
    if isinstance(task, Classifier):
        return task(ids, LENGTHS)
    return task(ids)[is_real]


@torch.no_grad()
def transformers_logits(task: Task, folder: Path, caplog: pytest.LogCaptureFixture) -> torch.Tensor:
    ids, is_real = batch()
    is_classifier = isinstance(task, Classifier)
    kind: Any = AutoModelForSequenceClassification if is_classifier else AutoModelForCausalLM
    logger = logging.getLogger("transformers")  # passes nothing on to where caplog listens
    logger.addHandler(caplog.handler)
    try:
        model, info = kind.from_pretrained(folder, output_loading_info=True)
    finally:
        logger.removeHandler(caplog.handler)
    assert not any(info.values()), info
    assert not caplog.records
    found = model.eval()(input_ids=ids, attention_mask=is_real.long()).logits
    return found if is_classifier else found[is_real]


def imported(run: Task, folder: Path, **fields: Any) -> Task:
    """A new run's model on the exported weights."""
    model = ModelConfig(**TINY, weights=str(folder))
    new: Any = type(run)(**dict(run.hparams) | {"finetune": ALL, "seed": 2} | fields)
    new.load_base(model, locate(model))
    return new.eval()


CASES = {
    "all": ALL,
    "lora": lora(),
    "dora": lora(dora=True, qkv="shared"),
    "lora on the head": lora(head="both"),
    "frozen head": lora(head="frozen", targets=["q", "v"], blocks=1),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("num_classes", [2, 5])
def test_classifiers_compute_the_same(
    case: str, num_classes: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = classifier(CASES[case], num_classes)
    assert task.head.bias.abs().min() > 0
    write_transformers(task, dense(task), tmp_path)
    ours = logits(task)
    found = transformers_logits(task, tmp_path, caplog)
    torch.testing.assert_close(found, ours, atol=2e-5, rtol=2e-5)
    again = imported(task, tmp_path)
    assert again.head_is_loaded
    assert again.head.bias.eq(0).all()
    torch.testing.assert_close(logits(again), ours, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tie_weights", [True, False])
def test_language_models_compute_the_same(
    case: str, tie_weights: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = language_model(CASES[case], tie_weights=tie_weights)
    write_transformers(task, dense(task), tmp_path)
    ours = logits(task)
    found = transformers_logits(task, tmp_path, caplog)
    torch.testing.assert_close(found, ours, atol=2e-5, rtol=2e-5)
    config = json.loads((tmp_path / "config.json").read_text())
    is_tied = tie_weights and case != "lora on the head"
    assert config["tie_word_embeddings"] is is_tied
    again = imported(task, tmp_path, task={"tie_weights": is_tied, "generation": {}})
    torch.testing.assert_close(logits(again), ours, atol=2e-5, rtol=2e-5)


def test_an_own_output_embedding_is_not_lost_silently(tmp_path: Path) -> None:
    task = language_model(tie_weights=False)
    write_merged(task, dense(task), tmp_path)
    with pytest.raises(ValueError, match=r"set task\.tie_weights=false"):
        imported(task, tmp_path, task={"tie_weights": True, "generation": {}})


@pytest.mark.parametrize("finetune", [ALL, lora(dora=True, head="lora")])
@pytest.mark.parametrize(
    ("pooling", "causal"), [("mean", True), ("last", True), ("mean_real", False)]
)
def test_merged_holds_every_classifier(
    finetune: dict, pooling: str, causal: bool, tmp_path: Path
) -> None:
    task = classifier(finetune, task={"pooling": pooling}, model=TINY | {"causal": causal})
    suited = suited_formats(task)
    assert "merged" in suited
    assert not {"hf", "peft"} & set(suited)
    write_merged(task, dense(task), tmp_path)
    again = imported(task, tmp_path)
    torch.testing.assert_close(logits(again), logits(task), atol=2e-5, rtol=2e-5)


def test_another_number_of_classes_keeps_its_new_head(tmp_path: Path) -> None:
    task = classifier(num_classes=3)
    write_merged(task, dense(task), tmp_path)
    names = {"class_names": ["a", "b"]}
    again = imported(task, tmp_path, **names)
    new = Classifier(**{**task.hparams, "seed": 2} | names)
    assert not again.head_is_loaded
    assert torch.equal(again.head.weight, new.head.weight)
    assert torch.equal(again.head.bias, new.head.bias)


def test_classes_have_their_names(tmp_path: Path) -> None:
    task = classifier(num_classes=3, class_names=["ham", "spam", "ébène"])
    write_transformers(task, dense(task), tmp_path)
    config = AutoModelForSequenceClassification.from_pretrained(tmp_path).config
    assert config.id2label == {0: "ham", 1: "spam", 2: "ébène"}
    assert config.label2id == {"ham": 0, "spam": 1, "ébène": 2}
    assert config.pad_token_id == END_OF_TEXT_ID


def test_more_classes_than_columns_cannot_move_a_bias(tmp_path: Path) -> None:
    task = classifier(num_classes=12)
    with pytest.raises(
        ValueError, match="requires linearly independent rows, but this head has 12 rows of 8"
    ):
        write_merged(task, dense(task), tmp_path)


def test_language_models_know_where_a_text_ends(tmp_path: Path) -> None:
    task = language_model()
    write_transformers(task, dense(task), tmp_path)
    found = GenerationConfig.from_pretrained(tmp_path)
    assert {found.eos_token_id, found.pad_token_id} == {END_OF_TEXT_ID}
