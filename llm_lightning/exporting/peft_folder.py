"""Adapters for PEFT on the Hub's GPT-2, whose projections are ``Conv1D``."""

import json
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from llm_lightning.backbone.checkpoint import described, to_transformers, write_folder
from llm_lightning.exporting.dense import Dense, dense, plain_weight, with_bias_in_final_norm
from llm_lightning.exporting.output_folder import BASE
from llm_lightning.exporting.tokenizer_files import max_length, write_tokenizer
from llm_lightning.finetuning.lora import LoRALinear, adapters
from llm_lightning.finetuning.qlora import QLoRA
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.task import Task

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

# Prefix of parameter names in PEFT's files.
_PREFIX = "base_model.model."


def write_peft(task: Task, model: Dense, folder: Path) -> None:
    """Writes ``adapter_config.json`` and ``adapter_model.safetensors``.

    Row groups with separate A matrices, such as the adapters of query, key and value, become one
    adapter of as many times the rank, whose B is 0 outside each group's rows and columns. The head
    is saved whole, its own adapter merged; a classifier's bias moves into the final LayerNorm,
    which is saved too.

    A base that is not on the Hub is written into a folder inside this one.

    Args:
        task: accepted by :func:`~suitability.check_can`.
        model: its plain weights, adapters merged.
        folder: created if it does not exist.
    """
    layers = adapters(task.backbone)
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name, layer in layers.items():
        own = f"{_PREFIX}transformer.{name}."
        tensors[f"{own}lora_A.weight"] = layer.lora_A
        tensors[f"{own}lora_B.weight"] = layer.spread_b()
        if layer.lora_magnitude is not None:
            tensors[f"{own}lora_magnitude_vector"] = magnitudes(layer)
    whole = saved_whole(task, model)
    tensors |= {f"{_PREFIX}{name}": value for name, value in whole.items()}
    save_file(
        {name: value.detach().float().cpu().contiguous() for name, value in tensors.items()},
        folder / ADAPTER_WEIGHTS,
        metadata={"format": "pt"},
    )
    text = json.dumps(adapter_config(task, layers, whole), indent=2)
    (folder / ADAPTER_CONFIG).write_text(text + "\n", encoding="utf-8")
    write_tokenizer(folder, max_length(task))
    if hub_base(task) is None:
        _write_base(dense(task, merge=False), folder / BASE)


def adapter_config(
    task: Task, layers: dict[str, LoRALinear], whole: dict[str, Tensor]
) -> dict[str, Any]:
    """Returns the contents of ``adapter_config.json``.

    Args:
        task: the run's.
        layers: those with an adapter, by name.
        whole: from :func:`saved_whole`.
    """
    ranks = {name: len(layer.lora_A) for name, layer in layers.items()}
    usual = next(iter(layers.values()))
    others = {name: rank for name, rank in ranks.items() if rank != usual.rank}
    base, revision = hub_base(task) or (BASE, None)
    return {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if isinstance(task, Classifier) else "CAUSAL_LM",
        "base_model_name_or_path": base,
        "revision": revision,
        "r": usual.rank,
        "lora_alpha": usual.scale * usual.rank,  # PEFT divides by the rank
        "rank_pattern": others,
        "alpha_pattern": {name: usual.scale * rank for name, rank in others.items()},
        "lora_dropout": usual.dropout.p,
        "target_modules": list(layers),
        "modules_to_save": sorted({name.split(".")[-2] for name in whole}) or None,
        "fan_in_fan_out": True,  # Conv1D stores weights transposed
        "use_dora": usual.lora_magnitude is not None,
        "use_rslora": False,  # the scale is in lora_alpha
        "bias": "none",
        "inference_mode": True,
    }


def hub_base(task: Task) -> tuple[str, str | None] | None:
    """Id and revision of the base on the Hub; ``None`` where it is exported with the adapter.

    That is the case for a base from elsewhere, and for DoRA on four bits, whose outputs differ in
    PEFT unless the base is dequantized.
    """
    if isinstance(task.strategy, QLoRA) and task.strategy.dora:
        return None
    model = (task.base or {}).get("model", {"weights": "random"})
    weights = model["weights"]
    if weights == "pretrained" and model["hub_id"] is not None:
        return model["hub_id"], model["revision"]
    # A base on the disk is recorded by its absolute path.
    if weights in ("pretrained", "random") or Path(weights).is_absolute():
        return None
    name, _, revision = weights.partition("@")
    return name, revision or None


def saved_whole(task: Task, model: Dense) -> dict[str, Tensor]:
    """Returns the parameters that are saved in full, by their names in transformers."""
    if isinstance(task, Classifier):
        backbone = with_bias_in_final_norm(model).backbone
        return {
            "score.weight": model.head,
            "transformer.ln_f.weight": backbone["ln_f.weight"],
            "transformer.ln_f.bias": backbone["ln_f.bias"],
        }
    return {} if model.is_tied else {"lm_head.weight": model.head}


@torch.no_grad()
def magnitudes(layer: LoRALinear) -> Float[Tensor, " out_features"]:
    """Returns DoRA's (out_features,) magnitudes; of rows without an adapter their weight's norm."""
    lengths = plain_weight(layer).norm(dim=1)
    done = 0
    for start, stop in layer.rows:
        own = layer.lora_magnitude
        lengths[start:stop] = own[done : done + stop - start]  # type: ignore[index]
        done += stop - start
    return cast(Tensor, lengths)


def _write_base(base: Dense, folder: Path) -> None:
    tensors = {f"transformer.{k}": value for k, value in to_transformers(base.backbone).items()}
    # Its head, unless tied to the embedding, is saved with the adapter.
    head = {"architectures": ["GPT2LMHeadModel"], "tie_word_embeddings": True}
    write_folder(folder, tensors, described(base.config) | head)
