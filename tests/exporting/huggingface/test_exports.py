"""Every format of every family, read again by the library it is for, computes what the run does."""

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from exporting.huggingface.transformers_tasks import (
    ENCODERS,
    architecture,
    byte_level,
    classifier,
    language_model,
    word_pieces,
)
from exporting.tasks_to_export import ALL, code_of, lora, summary
from safetensors.torch import load_file, save_file
from small_tokenizers import CHATML
from small_tokenizers import byte_level as chat_tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer, GenerationConfig

from llm_lightning.exporting import formats
from llm_lightning.exporting.card import write_card
from llm_lightning.exporting.dense import dense
from llm_lightning.exporting.families import exporter_of
from llm_lightning.exporting.samples import SAMPLES, sample_batch
from llm_lightning.exporting.suitability import check_can, suited_formats
from llm_lightning.exporting.verification import largest_difference, logits_of
from llm_lightning.tasks.task import Task

DECODERS = ("llama", "llama3", "qwen2", "qwen3", "gemma3", "gpt_neox")
BOTH = ["transformers", "model.weights=<this folder>"]
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")  # PEFT's old name


def adapters(family: str, **fields: Any) -> dict[str, Any]:
    """Adapters everywhere but in GPT-NeoX's mixed rows of query, key and value."""
    return lora(**({"targets": ["out", "fc1"]} if family == "gpt_neox" else {}) | fields)


def write(task: Task, kind: str, folder: Path, limit: float = 1e-4) -> list[str]:
    """Writes a format; returns what read it again, which must have computed the same."""
    check_can(task, kind)
    written = formats.write(task, dense(task), kind, folder, ("f16",), "my run")
    ours = logits_of(task)
    assert torch.cat([one.flatten() for one in ours]).std() > 0.1
    for what, logits in written.items():
        assert largest_difference(ours, logits) < limit, what
    return list(written)


@pytest.mark.parametrize("family", DECODERS)
@pytest.mark.parametrize("finetune", ["all", "dora"])
def test_language_models_compute_the_same(family: str, finetune: str, tmp_path: Path) -> None:
    task = language_model(family, ALL if finetune == "all" else adapters(family, dora=True))
    assert write(task, "hf", tmp_path / "hf") == BOTH
    assert write(task, "merged", tmp_path / "merged") == BOTH[1:]
    found = GenerationConfig.from_pretrained(tmp_path / "hf")
    assert found.eos_token_id == task.tokenizer.end_id


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_an_adapted_head_is_no_longer_tied(family: str, tmp_path: Path) -> None:
    task = language_model(family, lora(head="lora"))
    for kind in ("hf", "merged", "peft"):
        write(task, kind, tmp_path / kind)
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["tie_word_embeddings"] is False


@pytest.mark.parametrize("family", [*DECODERS, *ENCODERS])
def test_classifiers_compute_the_same(family: str, tmp_path: Path) -> None:
    task = classifier(family, adapters(family))
    assert task.head.bias.abs().min() > 0
    # Only where a LayerNorm can take the head's bias is the family's own class the same.
    expected = BOTH if family == "gpt_neox" else BOTH[:1]
    assert write(task, "hf", tmp_path / "hf") == expected
    assert (tmp_path / "hf" / "head.safetensors").exists() is (family != "gpt_neox")
    assert write(task, "merged", tmp_path / "merged") == BOTH[1:]


WAYS = {
    "everything": {},
    "query and value": {"targets": ["q", "v"]},
    "chosen": {"blocks": [1], "targets": ["k", "fc2"], "scaling": "rslora"},
    "dora": {"dora": True, "targets": ["q", "fc1"]},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", ["qwen3", "bert", "modernbert"])
def test_adapters_of_classifiers_compute_the_same_in_peft(
    family: str, way: str, tmp_path: Path
) -> None:
    write(classifier(family, lora(**WAYS[way])), "peft", tmp_path)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_adapters_of_language_models_compute_the_same_in_peft(
    family: str, way: str, tmp_path: Path
) -> None:
    write(language_model(family, lora(**WAYS[way], head="frozen")), "peft", tmp_path)


def test_a_layer_norm_is_saved_with_the_adapters(tmp_path: Path) -> None:
    task = classifier("gpt_neox", adapters("gpt_neox"))
    write(task, "peft", tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["modules_to_save"] == ["gpt_neox.final_layer_norm", "score"]
    assert (config["task_type"], config["fan_in_fan_out"]) == ("SEQ_CLS", False)


def test_a_base_on_the_hub_is_named_and_one_from_a_package_exported(tmp_path: Path) -> None:
    task = classifier("llama", lora())
    for weights, base in (("pretrained", "owner/name"), ("package", "base")):
        task.base = {"model": {"weights": weights, "hub_id": "owner/name", "revision": "abc"}}
        write(task, "peft", tmp_path / weights)
        config = json.loads((tmp_path / weights / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == base
        assert (tmp_path / weights / "base").exists() is (base == "base")


@pytest.mark.parametrize("kind", ["hf", "peft"])
@pytest.mark.parametrize(
    ("family", "pooling"),
    [("llama", "auto"), ("llama", "mean_real"), ("bert", "auto"), ("bert", "cls"),
     ("gpt_neox", "auto")],
)  # fmt: skip
@torch.no_grad()
def test_the_code_on_the_card_classifies_as_the_run(
    family: str, pooling: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = classifier(family, adapters(family), task={"pooling": pooling, "mask_padding": True})
    model = dense(task)
    write(task, kind, tmp_path)
    write_card(tmp_path, kind, task, summary(), model, [], {})
    names: dict[str, Any] = {}
    exec(code_of(tmp_path), names)
    capsys.readouterr()
    texts = list(SAMPLES)
    expected = task(*sample_batch(task)).softmax(dim=-1)
    if family != "gpt_neox":
        found = [list(row.values()) for row in names["classify"](texts)]
    elif kind == "hf":
        rows = names["classify"](texts, truncation=True, top_k=None)
        by_label = [{one["label"]: one["score"] for one in row} for row in rows]
        found = [[row[f"class {index}"] for index in range(3)] for row in by_label]
    else:
        batch = names["tokenizer"](texts, return_tensors="pt", padding=True, truncation=True)
        found = names["model"](**batch).logits.softmax(dim=-1).tolist()
    torch.testing.assert_close(torch.tensor(found), expected, atol=1e-4, rtol=1e-4)


def test_the_exported_tokenizer_reads_special_tokens_of_a_text_as_plain_text(
    tmp_path: Path,
) -> None:
    for tokenizer, text in ((byte_level(), "an <|end|> in it"), (word_pieces(), "a [SEP] in it")):
        family = "llama" if tokenizer is byte_level() else "bert"
        write(classifier(family, tokenizer=tokenizer), "hf", tmp_path / family)
        found = AutoTokenizer.from_pretrained(tmp_path / family)(text)["input_ids"]
        own = tokenizer.encode(text)
        assert found == [*tokenizer.prefix, *own, *tokenizer.suffix]
        assert tokenizer.end_id not in own


def test_an_own_head_is_not_mistaken_for_the_familys(tmp_path: Path) -> None:
    """The family's class would drop the bias: it must not find its head in the folder."""
    write(classifier("llama"), "hf", tmp_path)
    _, info = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert "score.weight" in info["missing_keys"]


# --- GGUF -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "llama3", "qwen2", "qwen3"])
def test_gguf_files_hold_the_rounded_weights(family: str, tmp_path: Path) -> None:
    task = language_model(family, lora())
    assert write(task, "gguf", tmp_path, limit=0.1) == ["model-f16.gguf, dequantized"]
    again = exporter_of(task).read_gguf(tmp_path / "model-f16.gguf", dense(task))
    for name, value in dense(task).backbone.items():
        expected = value if value.ndim == 1 else value.half().float()
        assert torch.equal(again.backbone[name], expected), name
    text = (tmp_path / "Modelfile").read_text()
    assert 'PARAMETER stop "<|end|>"' in text
    assert "PARAMETER num_ctx 64" in text


def test_responses_end_where_the_chat_template_ends_them(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer(CHATML)
    model = architecture("llama")
    model["config"] = model["config"] | {"vocab_size": 400}
    task = language_model("llama", model=model, tokenizer=tokenizer, text={"prompt_style": "chat"})
    write(task, "gguf", tmp_path / "gguf", limit=0.1)
    reader = gguf.GGUFReader(tmp_path / "gguf" / "model-f16.gguf")
    found = {
        key: reader.get_field(f"tokenizer.{key}").contents()
        for key in ("ggml.eos_token_id", "chat_template")
    }
    end = tokenizer.special_id("<|im_end|>")
    assert found == {"ggml.eos_token_id": end, "chat_template": CHATML}
    assert 'stop "<|im_end|>"' in (tmp_path / "gguf" / "Modelfile").read_text()
    write(task, "hf", tmp_path / "hf")
    assert GenerationConfig.from_pretrained(tmp_path / "hf").eos_token_id == end


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "kind", "message"),
    [
        (language_model("gemma3"), "gguf", "only llama, qwen2, qwen3 can be exported, and this "
         "model is gemma3_text: use --format hf or --format merged or --format onnx$"),
        (language_model("llama", tokenizer=word_pieces()), "gguf", "this tokenizer is WordPiece"),
        (classifier("llama"), "gguf", "this run is a classifier"),
        (classifier("bert", task={"mask_padding": False}), "hf", "task.mask_padding=false what "
         "this run computes of a text depends on the padding .* or use --format merged$"),
        (classifier("llama", task={"pooling": "mean", "mask_padding": True}), "hf",
         "with task.pooling=mean"),
        (classifier("bert"), "peft", "needs adapters in the blocks"),
    ],
)  # fmt: skip
def test_what_a_format_cannot_hold_is_refused(task: Task, kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_can(task, kind)


def test_every_format_that_is_named_can_hold_the_run() -> None:
    every = ["hf", "peft", "merged", "gguf", "onnx"]
    assert suited_formats(language_model("qwen3", lora())) == every
    assert suited_formats(classifier("bert", lora())) == ["hf", "peft", "merged", "onnx"]
    assert suited_formats(classifier("bert", task={"mask_padding": False})) == ["merged"]


def test_merged_holds_what_depends_on_padding(tmp_path: Path) -> None:
    write(classifier("bert", task={"mask_padding": False, "pooling": "mean"}), "merged", tmp_path)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_wrong_tensor_is_seen(family: str, tmp_path: Path) -> None:
    task = classifier(family)
    exporter = exporter_of(task)
    exporter.write_transformers(dense(task), tmp_path)
    file = tmp_path / "head.safetensors"
    head = load_file(file)
    save_file(head | {"bias": head["bias"] + 0.1}, file)
    assert largest_difference(logits_of(task), exporter.transformers_logits(tmp_path)) > 0.05
