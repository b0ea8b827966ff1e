"""Adapters on a four-bit base, loaded by other libraries."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from exporting.tasks_to_export import code_of, summary

from llm_lightning.backbone.checkpoint import save_weights
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID
from llm_lightning.backbone.weights import ModelConfig, locate
from llm_lightning.exporting.card import write_card
from llm_lightning.exporting.dense import dense
from llm_lightning.exporting.gpt2.peft_folder import write_peft
from llm_lightning.tasks.classifier import Classifier

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes, of the extra qlora, is missing"
)

SIZES = {"n_layer": 3, "n_head": 2, "n_embd": 64, "n_positions": 32, "vocab_size": 50257}


@torch.no_grad()
def trained_over(hub: Path, **finetune: Any) -> Classifier:
    """A classifier on a base from the Hub, for which ``hub`` is a substitute."""
    base = GPT2(GPTConfig(**SIZES))
    for parameter in base.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    save_weights(base, hub)
    qlora = {"_target_": "llm_lightning.finetuning.qlora.QLoRA", "rank": 4} | finetune
    task = Classifier(
        task={}, model=SIZES, finetune=qlora, optim={}, class_names=["ham", "spam"],
        class_weights=None, text={"max_length": 32}, seed=1,
    )  # fmt: skip
    source = ModelConfig(weights=str(hub), **SIZES)
    task.load_base(source, locate(source))
    assert task.base is not None
    task.base["model"] |= {"weights": "pretrained", "hub_id": str(hub)}
    for name, parameter in task.named_parameters():
        if "lora_B" in name or name.startswith("head."):
            parameter += 0.1 * torch.randn_like(parameter)
        if "magnitude" in name:
            parameter *= 1 + 0.2 * torch.rand_like(parameter)
    return task.eval()


@needs_bitsandbytes
@pytest.mark.filterwarnings("ignore")  # of three libraries, about each other
@pytest.mark.parametrize("double_quantization", [True, False])
@pytest.mark.parametrize("dora", [True, False])
@torch.no_grad()
def test_the_code_on_the_card_computes_what_the_run_computes(
    dora: bool, double_quantization: bool, tmp_path: Path
) -> None:
    hub, folder = tmp_path / "hub", tmp_path / "export"
    task = trained_over(hub, dora=dora, double_quantization=double_quantization)
    model = dense(task)
    write_peft(task, model, folder)
    write_card(folder, "peft", task, summary(), model, [], {})
    # DoRA's base is exported too; otherwise the Hub's is quantized again, as in training.
    assert (folder / "base").exists() is dora
    code = code_of(folder)
    assert ("load_in_4bit=True" in code) is not dora

    ids, lengths = torch.randint(END_OF_TEXT_ID, (4, 20)), torch.tensor([20, 3, 7, 11])
    mask = (torch.arange(20) < lengths[:, None]).long()
    ids = ids.masked_fill(mask == 0, END_OF_TEXT_ID)
    ours = task(ids, lengths)
    assert ours.std() > 0.5
    names: dict[str, Any] = {}
    exec(code, names)
    theirs = names["model"](input_ids=ids, attention_mask=mask).logits
    assert (theirs - ours).abs().max() < 0.05  # bf16; a base in full precision is 0.2 away
