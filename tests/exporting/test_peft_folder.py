import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from exporting.tasks_to_export import (
    LENGTHS,
    TINY,
    base_of,
    batch,
    classifier,
    language_model,
    lora,
)
from peft import (
    AutoPeftModelForCausalLM,
    AutoPeftModelForSequenceClassification,
    PeftModel,
)
from safetensors.torch import load_file
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    pipeline,
)

from llm_lightning.backbone.checkpoint import described, load_weights, to_transformers
from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID, encode
from llm_lightning.exporting.adapter_files import point_at_base
from llm_lightning.exporting.dense import dense
from llm_lightning.exporting.gpt2.peft_folder import write_peft
from llm_lightning.exporting.libraries import quiet
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.task import Task


def through_peft(task: Task, folder: Path) -> PeftModel:
    """The hub's model with the base's weights, and the adapter on it."""
    base = base_of(task)
    config = GPT2Config(**described(base.config), pad_token_id=END_OF_TEXT_ID)
    kind: Any = GPT2LMHeadModel
    if isinstance(task, Classifier):
        kind, config.num_labels = GPT2ForSequenceClassification, len(task.hparams["class_names"])
    elif "base_model.model.lm_head.weight" in load_file(folder / "adapter_model.safetensors"):
        config.tie_word_embeddings = False  # as the card says
    model = kind(config)
    model.transformer.load_state_dict(to_transformers(base.state_dict()))
    model.tie_weights()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # PEFT's use of a name that transformers deprecates.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing")
        return PeftModel.from_pretrained(model, folder).eval()


@torch.no_grad()
def assert_same_logits(task: Task, folder: Path) -> None:
    ids, is_real = batch()
    model = through_peft(task, folder)
    theirs = model(input_ids=ids, attention_mask=is_real.long()).logits
    merged = model.merge_and_unload()(input_ids=ids, attention_mask=is_real.long()).logits
    ours = task(ids, LENGTHS) if isinstance(task, Classifier) else task(ids)
    assert ours.std() > 0.01
    for logits in (theirs, merged):
        if isinstance(task, Classifier):
            torch.testing.assert_close(logits, ours, atol=2e-5, rtol=2e-5)
        else:
            torch.testing.assert_close(logits[is_real], ours[is_real], atol=2e-5, rtol=2e-5)


WAYS = {
    "everything": {},
    "shared": {"qkv": "shared"},
    "query and value": {"targets": ["q", "v"]},
    "key alone": {"targets": ["k"]},
    "mlp": {"targets": ["fc1", "fc2"]},
    "both c_proj": {"targets": ["out", "fc2"]},
    "last block": {"blocks": 1},
    "chosen blocks": {"blocks": [0, 2], "targets": ["q", "fc2"]},
    "uneven": {"targets": ["h.1.attn.c_attn", "q", "h.2.mlp.c_fc"]},
    "scale alpha": {"scaling": "alpha", "alpha": 0.7},
    "rslora": {"scaling": "rslora"},
    "dropout": {"dropout": 0.4},
    "dora": {"dora": True},
    "dora shared": {"dora": True, "qkv": "shared"},
    "dora query and value": {"dora": True, "targets": ["q", "v", "out"]},
    "dora uneven rslora": {"dora": True, "targets": ["h.1.*", "k"], "scaling": "rslora"},
}


@pytest.mark.parametrize("way", WAYS)
def test_classifier_computes_the_same_in_peft(way: str, tmp_path: Path) -> None:
    task = classifier(lora(**WAYS[way]))
    write_peft(task, dense(task), tmp_path)
    assert_same_logits(task, tmp_path)


@pytest.mark.parametrize("head", ["full", "lora", "both", "frozen"])
@pytest.mark.parametrize("dora", [False, True])
def test_heads_of_classifiers(head: str, dora: bool, tmp_path: Path) -> None:
    task = classifier(lora(head=head, dora=dora, targets=["q", "fc1"]))
    write_peft(task, dense(task), tmp_path)
    assert_same_logits(task, tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["modules_to_save"] == [
        "ln_f",
        "score",
    ]


@pytest.mark.parametrize("way", ["everything", "uneven", "dora query and value"])
@pytest.mark.parametrize("tie_weights", [True, False])
@pytest.mark.parametrize("head", ["full", "lora", "frozen"])
def test_language_models_compute_the_same_in_peft(
    way: str, tie_weights: bool, head: str, tmp_path: Path
) -> None:
    task = language_model(lora(head=head, **WAYS[way]), tie_weights=tie_weights)
    write_peft(task, dense(task), tmp_path)
    assert_same_logits(task, tmp_path)
    keys = set(load_file(tmp_path / "adapter_model.safetensors"))
    # A frozen tied head is the base's own, and no copy of 50,257 rows is saved with an adapter.
    is_own = head == "lora" or not tie_weights
    assert ("base_model.model.lm_head.weight" in keys) == is_own


def test_separate_adapters_become_blocks_of_one(tmp_path: Path) -> None:
    task = classifier(lora(targets=["q", "v"]))
    write_peft(task, dense(task), tmp_path)
    b = load_file(tmp_path / "adapter_model.safetensors")[
        "base_model.model.transformer.h.0.attn.c_attn.lora_B.weight"
    ]
    assert b.shape == (24, 4)
    q, v = b[:8, :2], b[16:, 2:]
    assert q.ne(0).all()
    assert v.ne(0).all()
    b[:8, :2] = b[16:, 2:] = 0
    assert b.eq(0).all()


def test_config_has_what_peft_needs(tmp_path: Path) -> None:
    task = classifier(lora(dropout=0.1))
    write_peft(task, dense(task), tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["fan_in_fan_out"] is True
    assert (config["peft_type"], config["task_type"]) == ("LORA", "SEQ_CLS")
    assert config["lora_dropout"] == 0.1
    assert config["lora_alpha"] / config["r"] == pytest.approx(1.5)
    for pattern, rank in config["rank_pattern"].items():
        assert config["alpha_pattern"][pattern] / rank == pytest.approx(1.5)


def test_adapters_of_many_blocks_are_not_confused_by_name(tmp_path: Path) -> None:
    """Block 1 beside block 11, and ranks that differ: PEFT finds modules by parts of names."""
    finetune = lora(targets=["h.1.attn.c_attn", "h.11.mlp.c_fc", "h.1.mlp.c_proj"], head="frozen")
    task = classifier(finetune, model=TINY | {"n_layer": 12})
    write_peft(task, dense(task), tmp_path)
    assert_same_logits(task, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert len(config["target_modules"]) == 3


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_classifier_with_its_base_opens_from_any_folder(
    num_classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = classifier(lora(), num_classes)
    write_peft(task, dense(task), tmp_path / "part")
    point_at_base(tmp_path / "part", tmp_path / "out")
    (tmp_path / "part").rename(tmp_path / "out")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ids, is_real = batch()
    ours = task(ids, LENGTHS)
    for folder in (tmp_path / "out", Path("..") / "out"):
        with quiet():
            model = AutoPeftModelForSequenceClassification.from_pretrained(folder).eval()
        theirs = model(input_ids=ids, attention_mask=is_real.long()).logits
        torch.testing.assert_close(theirs, ours, atol=2e-5, rtol=2e-5)
        with quiet():
            classify = pipeline("text-classification", model=str(folder), top_k=None)
        found = {one["label"]: one["score"] for one in classify(["see you at 7?"])[0]}
        ids_of_text = torch.tensor([encode("see you at 7?")])
        expected = task(ids_of_text, torch.tensor([ids_of_text.shape[1]])).softmax(dim=-1)[0]
        names = [f"class {index}" for index in range(num_classes)]
        torch.testing.assert_close(torch.tensor([found[name] for name in names]), expected)


@pytest.mark.parametrize("tie_weights", [True, False])
def test_a_language_model_with_its_base_opens_from_any_folder(
    tie_weights: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = language_model(lora(), tie_weights=tie_weights)
    write_peft(task, dense(task), tmp_path / "out")
    point_at_base(tmp_path / "out", tmp_path / "out")
    monkeypatch.chdir("/")
    ids, is_real = batch()
    with quiet():
        model = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    theirs = model(input_ids=ids, attention_mask=is_real.long()).logits
    torch.testing.assert_close(theirs[is_real], task(ids)[is_real], atol=2e-5, rtol=2e-5)


def base(weights: str, **fields: Any) -> dict[str, Any]:
    return {"model": {"weights": weights, "hub_id": None, "revision": None} | fields}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            base("pretrained", hub_id="openai-community/gpt2", revision="607a30d"),
            ("openai-community/gpt2", "607a30d"),
        ),
        (base("someone/gpt2"), ("someone/gpt2", None)),
        (base("someone/gpt2@main"), ("someone/gpt2", "main")),
    ],
)
def test_a_base_on_the_hub_is_named_with_its_revision(
    source: dict[str, Any], expected: tuple[str, str | None], tmp_path: Path
) -> None:
    task = classifier(lora())
    task.base = source
    write_peft(task, dense(task), tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == expected
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize("source", [base("random"), base("pretrained"), base("/data/my-gpt2")])
def test_a_base_from_elsewhere_is_exported_too(source: dict[str, Any], tmp_path: Path) -> None:
    task = classifier(lora())
    task.base = source
    write_peft(task, dense(task), tmp_path)
    text = (tmp_path / "adapter_config.json").read_text()
    assert json.loads(text)["base_model_name_or_path"] == "base"
    assert "/data" not in text
    found = load_weights(expected := base_of(task), tmp_path / "base" / "model.safetensors")
    assert found.heads == {}
    own = task.backbone.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in expected.state_dict().items())
