"""Language models of the Llama and Qwen families as GGUF files for llama.cpp and Ollama."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from llm_lightning.backbone.huggingface.model import TransformersBackbone
from llm_lightning.exporting.dense import Dense
from llm_lightning.exporting.gguf_tensors import add_file_type, add_tensors, finish, read_tensors
from llm_lightning.exporting.huggingface.gguf_tokenizer import add_tokenizer
from llm_lightning.tasks.finetuned_model import FineTunedModel

_ARCHITECTURES = {"llama": "LLAMA", "qwen2": "QWEN2", "qwen3": "QWEN3"}
"""Those of llama.cpp, by transformers' ``model_type``."""
_SCALED = ("llama3", "linear")
"""Scaled rotations of which llama.cpp can be given each frequency; for the Llama family only."""
_FREQUENCIES = "rope_freqs.weight"


def why_not(backbone: TransformersBackbone) -> str | None:
    """Returns why a model cannot be in a GGUF file, if it cannot."""
    config = backbone.config
    kind = config.model_type
    if kind not in _ARCHITECTURES:
        return f"only {', '.join(_ARCHITECTURES)} can be exported, and this model is {kind}"
    if config.hidden_act != "silu":
        return f"llama.cpp computes {kind} with hidden_act=silu, this model has {config.hidden_act}"
    if set(getattr(config, "layer_types", None) or ()) - {"full_attention"}:
        return f"llama.cpp computes {kind} without a sliding window, which this model has"
    rotation = config.rope_parameters
    allowed = ("default", *(_SCALED if kind == "llama" else ()))
    if rotation["rope_type"] not in allowed or rotation.get("partial_rotary_factor", 1) != 1:
        return f"this model's rotary embedding ({rotation['rope_type']}) is not supported"
    return None


def write_gguf(
    task: FineTunedModel, model: Dense, file: Path, name: str, quantization: str
) -> None:
    """Writes one file.

    Args:
        task: the run's, which :func:`why_not` has nothing against.
        model: its plain weights.
        file: overwritten if it exists.
        name: of the model, for people.
        quantization: of the matrices, as for
            :func:`~llm_lightning.exporting.gguf_tensors.add_tensors`.
    """
    import gguf

    backbone = cast(TransformersBackbone, task.backbone)
    config = backbone.config
    writer = gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[_architecture(config)])
    writer.add_name(name)
    writer.add_block_count(backbone.num_blocks)
    writer.add_context_length(backbone.context_length)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(_head_size(config))
    writer.add_value_length(_head_size(config))
    writer.add_rope_dimension_count(_head_size(config))
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    add_file_type(writer, quantization)
    writer.add_vocab_size(backbone.vocab_size)
    add_tokenizer(writer, task, backbone.vocab_size)
    add_tensors(writer, _tensors(backbone, model), quantization)
    finish(writer)


def read_gguf(backbone: TransformersBackbone, file: Path, model: Dense) -> Dense:
    """Reads a file of :func:`write_gguf`, dequantized to full precision.

    Args:
        backbone: of the run, for the architecture.
        file: to read.
        model: what was written.
    """
    tensors = read_tensors(file)
    state = dict(model.backbone)
    for ours, theirs in _names(backbone.config, model).items():
        heads = _rotated_heads(backbone.config, ours)
        value = tensors[theirs]
        state[ours] = value if heads is None else _halves(value, heads)
    head = tensors.get("output.weight", tensors["token_embd.weight"])
    return Dense(model.config, state, head, None, is_tied=False)


def _tensors(backbone: TransformersBackbone, model: Dense) -> Iterator[tuple[str, Tensor, bool]]:
    for ours, theirs in _names(backbone.config, model).items():
        heads = _rotated_heads(backbone.config, ours)
        value = model.backbone[ours]
        yield theirs, value if heads is None else _pairs(value, heads), False
    if not model.is_tied:
        yield "output.weight", model.head, False
    factors = _frequency_factors(backbone)
    if not torch.equal(factors, torch.ones_like(factors)):
        yield _FREQUENCIES, factors, True


def _architecture(config: Any) -> Any:
    import gguf

    return gguf.MODEL_ARCH[_ARCHITECTURES[config.model_type]]


def _names(config: Any, model: Dense) -> dict[str, str]:
    """Names in the file by those in the backbone, which are transformers' own."""
    import gguf

    known = gguf.get_tensor_name_map(_architecture(config), config.num_hidden_layers)
    names = {
        name: known.get_name(name, try_suffixes=(".weight", ".bias")) for name in model.backbone
    }
    if unknown := [name for name, found in names.items() if found is None]:
        raise ValueError(f"llama.cpp has no place for {', '.join(unknown)}")
    return cast(dict[str, str], names)


def _head_size(config: Any) -> int:
    own: int | None = getattr(config, "head_dim", None)
    return own or config.hidden_size // config.num_attention_heads


def _rotated_heads(config: Any, name: str) -> int | None:
    """How many heads a tensor's rows are, if llama.cpp wants them in another order.

    transformers rotates the first half of a head's rows against the second half. For the Llama
    family llama.cpp rotates neighbours, as the first published code did; for Qwen, halves.
    """
    if config.model_type != "llama":
        return None
    if ".self_attn.q_proj." in name:
        return int(config.num_attention_heads)
    return int(config.num_key_value_heads) if ".self_attn.k_proj." in name else None


def _pairs(value: Tensor, heads: int) -> Tensor:
    """Reorders rows from halves to neighbours."""
    return value.view(heads, 2, -1, *value.shape[1:]).transpose(1, 2).reshape(value.shape)


def _halves(value: Tensor, heads: int) -> Tensor:
    """Undoes :func:`_pairs`."""
    return value.view(heads, -1, 2, *value.shape[1:]).transpose(1, 2).reshape(value.shape)


def _frequency_factors(backbone: TransformersBackbone) -> Tensor:
    """By what each rotation is slower than without scaling; all 1 without."""
    rotation = backbone.config.rope_parameters
    if rotation["rope_type"] == "default":
        return torch.ones(1)
    size = _head_size(backbone.config)
    exponents = -torch.arange(0, size, 2, dtype=torch.float64) / size
    plain = torch.pow(float(rotation["rope_theta"]), exponents)
    own: Tensor = backbone.model.rotary_emb.inv_freq.detach().cpu().double()
    return (plain / own).float()
