"""The families that the backbone contract is checked for: small configurations of each.

What is expected of them is written in the names of transformers' own models.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from llm_lightning.backbone.families import Model
from llm_lightning.backbone.huggingface.settings import HubModel
from llm_lightning.backbone.weights import ModelConfig

VOCAB, CONTEXT, BLOCKS = 97, 64, 3
PAD = 0
FIRST_WORD = 3  # texts contain no special token
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": PAD,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GPT2 = {"n_layer": BLOCKS, "n_embd": 32, "n_head": 4, "n_positions": CONTEXT}
_GROUPED = SIZES | {"num_key_value_heads": 2}
_GATED = {
    "self_attn.q_proj": ("q",),
    "self_attn.k_proj": ("k",),
    "self_attn.v_proj": ("v",),
    "self_attn.o_proj": ("out",),
    "mlp.gate_proj": ("fc1",),
    "mlp.up_proj": ("fc1",),
    "mlp.down_proj": ("fc2",),
}
_BERT = {
    "attention.self.query": ("q",),
    "attention.self.key": ("k",),
    "attention.self.value": ("v",),
    "attention.output.dense": ("out",),
    "intermediate.dense": ("fc1",),
    "output.dense": ("fc2",),
}


@dataclass(frozen=True)
class Family:
    """A model of transformers, and where its parts are."""

    kind: str
    """``model_type`` of its configuration."""
    sizes: dict[str, Any]
    """The configuration; every probability of dropout in it is set to 0."""
    blocks: str
    """Name of the list of blocks in transformers' base model."""
    layers: dict[str, tuple[str, ...]]
    """Roles of each linear layer of a block, by its name there."""
    final: tuple[str, ...] = ()
    """Modules between the last block and the head."""
    is_causal: bool = True
    is_tied: bool = True
    """Whether the output embedding is the input embedding."""
    inside: str = "model."
    """Where transformers' base model is in the backbone."""

    def config(self) -> Any:
        """Returns the configuration as transformers has it."""
        config = transformers.AutoConfig.for_model(self.kind, **self.sizes)
        for key, value in config.to_dict().items():
            if isinstance(value, float) and ("dropout" in key or "pdrop" in key):
                setattr(config, key, 0.0)
        return config

    def base_class(self) -> Any:
        """Returns transformers' class of the model without a head."""
        return transformers.AutoModel._model_mapping[type(self.config())]

    def model(self, weights: Path) -> Model:
        """Returns the setting that names a folder."""
        if self.kind == "gpt2":
            return ModelConfig(**_GPT2, weights=str(weights))
        return HubModel(name=self.kind, weights=str(weights))

    def parameters(self) -> list[str]:
        """Returns the names of all parameters in the backbone."""
        with torch.device("meta"):
            model = self.base_class()(self.config())
        names = [name for name, _ in model.named_parameters()]
        return [self.inside + name for name in names if not name.startswith("pooler.")]

    def block_of(self, parameter: str) -> int | None:
        """Returns the index of the block that a parameter of the backbone belongs to."""
        match = re.match(rf"{re.escape(self.inside + self.blocks)}\.(\d+)\.", parameter)
        return None if match is None else int(match[1])

    def is_final(self, parameter: str) -> bool:
        """Whether a parameter of the backbone is used between the last block and the head."""
        return parameter.startswith(tuple(f"{self.inside}{name}." for name in self.final))

    def layers_of(self, block: int, *roles: str) -> list[str]:
        """Returns the names in the backbone of a block's layers with one of some roles."""
        prefix = f"{self.inside}{self.blocks}.{block}."
        return [prefix + name for name, own in self.layers.items() if set(own) & set(roles)]


FAMILIES = {
    "gpt2": Family(
        "gpt2",
        # The vocabulary of its tokenizer, than which the setting allows none smaller.
        _GPT2 | {"vocab_size": 50257, "pad_token_id": PAD},
        "h",
        {
            "attn.c_attn": ("q", "k", "v"),
            "attn.c_proj": ("out",),
            "mlp.c_fc": ("fc1",),
            "mlp.c_proj": ("fc2",),
        },
        final=("ln_f",),
        inside="",
    ),
    "llama": Family(
        "llama",
        _GROUPED | {"tie_word_embeddings": False},
        "layers",
        _GATED,
        final=("norm",),
        is_tied=False,
    ),
    "qwen3": Family(
        "qwen3",
        _GROUPED | {"head_dim": 12, "tie_word_embeddings": True},
        "layers",
        _GATED,
        final=("norm",),
    ),
    "gemma3": Family(
        "gemma3_text",
        _GROUPED
        | {
            "head_dim": 8,
            "sliding_window": 4,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
        "layers",
        _GATED,
        final=("norm",),
    ),
    "bert": Family("bert", SIZES, "encoder.layer", _BERT, is_causal=False),
    "distilbert": Family(
        "distilbert",
        {
            "vocab_size": VOCAB,
            "dim": 32,
            "hidden_dim": 48,
            "n_layers": BLOCKS,
            "n_heads": 4,
            "max_position_embeddings": CONTEXT,
        },
        "transformer.layer",
        {
            "attention.q_lin": ("q",),
            "attention.k_lin": ("k",),
            "attention.v_lin": ("v",),
            "attention.out_lin": ("out",),
            "ffn.lin1": ("fc1",),
            "ffn.lin2": ("fc2",),
        },
        is_causal=False,
    ),
    "roberta": Family(
        "roberta",
        # Its positions start behind the index of the padding token.
        SIZES | {"pad_token_id": 1, "max_position_embeddings": CONTEXT + 2},
        "encoder.layer",
        _BERT,
        is_causal=False,
    ),
    "modernbert": Family(
        "modernbert",
        SIZES
        | {"local_attention": 6, "global_attn_every_n_layers": 2}
        | {"cls_token_id": 1, "sep_token_id": 2},
        "layers",
        {
            "attn.Wqkv": ("q", "k", "v"),
            "attn.Wo": ("out",),
            "mlp.Wi": ("fc1",),
            "mlp.Wo": ("fc2",),
        },
        final=("final_norm",),
        is_causal=False,
    ),
    "deberta_v3": Family(
        "deberta-v2",
        SIZES
        | {
            "relative_attention": True,
            "position_buckets": 8,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
        "encoder.layer",
        {f"{name}_proj" if ".self." in name else name: roles for name, roles in _BERT.items()},
        is_causal=False,
    ),
}
