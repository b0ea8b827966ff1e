"""Adapters in PEFT's two files, and which base they belong to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from llm_lightning.exporting.dense import plain_weight
from llm_lightning.exporting.output_folder import BASE
from llm_lightning.finetuning.lora import LoRALinear
from llm_lightning.finetuning.qlora import QLoRA
from llm_lightning.tasks.finetuned_model import FineTunedModel

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

# Prefix of parameter names in PEFT's files.
_PREFIX = "base_model.model."


def write_adapters(
    folder: Path,
    task: FineTunedModel,
    layers: Mapping[str, LoRALinear],
    whole: Mapping[str, Tensor],
    *,
    prefix: str,
    task_type: str,
    is_transposed: bool,
    modules_to_save: list[str],
) -> None:
    """Writes ``adapter_config.json`` and ``adapter_model.safetensors``.

    Row groups with separate A matrices, such as the adapters of query, key and value, become one
    adapter of as many times the rank, whose B is 0 outside each group's rows and columns.

    Args:
        folder: must exist.
        task: the run's.
        layers: those with an adapter, by their names in the base model.
        whole: parameters that are saved in full, by their names in the model.
        prefix: of the base model's names in the model.
        task_type: what PEFT calls the kind of model.
        is_transposed: whether the base stores its weights transposed, as ``Conv1D`` does.
        modules_to_save: modules of the model that ``whole`` has the parameters of.
    """
    tensors: dict[str, Tensor] = {}
    for name, layer in layers.items():
        own = f"{_PREFIX}{prefix}{name}."
        tensors[f"{own}lora_A.weight"] = layer.lora_A
        tensors[f"{own}lora_B.weight"] = layer.spread_b()
        if layer.lora_magnitude is not None:
            tensors[f"{own}lora_magnitude_vector"] = magnitudes(layer)
    tensors |= {f"{_PREFIX}{name}": value for name, value in whole.items()}
    save_file(
        {name: value.detach().float().cpu().contiguous() for name, value in tensors.items()},
        folder / ADAPTER_WEIGHTS,
        metadata={"format": "pt"},
    )
    ranks = {name: len(layer.lora_A) for name, layer in layers.items()}
    usual = next(iter(layers.values()))
    others = {name: rank for name, rank in ranks.items() if rank != usual.rank}
    base, revision = hub_base(task) or (BASE, None)
    config = {
        "peft_type": "LORA",
        "task_type": task_type,
        "base_model_name_or_path": base,
        "revision": revision,
        "r": usual.rank,
        "lora_alpha": usual.scale * usual.rank,  # PEFT divides by the rank
        "rank_pattern": others,
        "alpha_pattern": {name: usual.scale * rank for name, rank in others.items()},
        "lora_dropout": usual.dropout.p,
        "target_modules": list(layers),
        "modules_to_save": modules_to_save or None,
        "fan_in_fan_out": is_transposed,
        "use_dora": usual.lora_magnitude is not None,
        "use_rslora": False,  # the scale is in lora_alpha
        "bias": "none",
        "inference_mode": True,
    }
    text = json.dumps(config, indent=2)
    (folder / ADAPTER_CONFIG).write_text(text + "\n", encoding="utf-8")


def point_at_base(folder: Path, out: Path) -> None:
    """Names the base inside an export by its whole path, which PEFT finds from any folder.

    PEFT and transformers take a relative path as one from the current folder, and know no path
    relative to the adapter.

    Args:
        folder: of the export, as it is being written.
        out: where it will be.
    """
    file = folder / ADAPTER_CONFIG
    if not (folder / BASE).is_dir() or not file.is_file():
        return
    config = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = str(out.resolve() / BASE)
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def hub_base(task: FineTunedModel) -> tuple[str, str | None] | None:
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
    if weights in ("pretrained", "random", "package") or Path(weights).is_absolute():
        return None
    name, _, revision = weights.partition("@")
    return name, revision or None


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
