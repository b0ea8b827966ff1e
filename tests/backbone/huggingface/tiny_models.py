"""Tiny random language models of transformers that write varied tokens."""

from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen3Config

from llm_lightning.backbone.huggingface.model import TransformersBackbone

VOCABULARY = 211
CONTEXT = 96
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "max_position_embeddings": CONTEXT, "initializer_range": 0.3, "tie_word_embeddings": False,
}  # fmt: skip
CONFIGS = {
    "llama": LlamaConfig(**_SIZES),
    "qwen3": Qwen3Config(**_SIZES | {"tie_word_embeddings": True}),
    # Blocks that see only the last eight tokens, as those of the real ones do with more.
    "gemma3": Gemma3TextConfig(
        **_SIZES, sliding_window=8,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
}  # fmt: skip


def trio(family: str, seed: int = 1) -> tuple[Any, TransformersBackbone, nn.Linear]:
    """transformers' language model, and our backbone and head with copies of its weights."""
    torch.manual_seed(seed)
    theirs = AutoModelForCausalLM.from_config(CONFIGS[family]).eval()
    with torch.no_grad():  # or else what follows a token would depend on little but that token
        theirs.get_input_embeddings().weight *= 0.1
    backbone = TransformersBackbone(CONFIGS[family].to_dict()).eval()
    backbone.model.load_state_dict(theirs.model.state_dict())
    head = nn.Linear(_SIZES["hidden_size"], VOCABULARY, bias=False)
    head.weight = nn.Parameter(theirs.get_output_embeddings().weight.detach().clone())
    if CONFIGS[family].tie_word_embeddings:
        head.weight = backbone.input_embedding.weight
    return theirs, backbone, head
