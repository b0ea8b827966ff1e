"""A language model as a GGUF file for llama.cpp and Ollama, tokenizer included.

Names and their order follow the GGUF specification's ``gpt2`` architecture.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from llm_lightning.backbone.gpt_config import LAYER_NORM_EPSILON
from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID
from llm_lightning.exporting.dense import Dense
from llm_lightning.exporting.gguf_tensors import (
    add_file_type,
    add_tensors,
    finish,
    read_tensors,
)
from llm_lightning.exporting.gpt2.tokenizer_files import merges, vocabulary

_TOP = {
    "wte.weight": "token_embd.weight",
    "wpe.weight": "position_embd.weight",
    "ln_f.weight": "output_norm.weight",
    "ln_f.bias": "output_norm.bias",
}
_IN_BLOCK = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def write_gguf(model: Dense, file: Path, name: str, quantization: str) -> None:
    """Writes one file.

    Args:
        model: a language model.
        file: overwritten if it exists.
        name: of the model, for people.
        quantization: of the matrices, as for
            :func:`~llm_lightning.exporting.gguf_tensors.add_tensors`; position embeddings stay in
            32 bits.
    """
    import gguf

    writer = gguf.GGUFWriter(file, "gpt2")
    writer.add_name(name)
    config = model.config
    writer.add_block_count(config.n_layer)
    writer.add_context_length(config.n_positions)
    writer.add_embedding_length(config.n_embd)
    writer.add_feed_forward_length(4 * config.n_embd)
    writer.add_head_count(config.n_head)
    writer.add_layer_norm_eps(LAYER_NORM_EPSILON)
    add_file_type(writer, quantization)
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, gguf, config.vocab_size)
    add_tensors(writer, _tensors(model), quantization)
    finish(writer)


def read_back(file: Path, model: Dense) -> Dense:
    """Reads a file of :func:`write_gguf`, dequantized to full precision.

    Args:
        file: to read.
        model: what was written, for its architecture.
    """
    tensors = read_tensors(file)
    backbone = {name: tensors[new] for name, new in _names(model)}
    return Dense(model.config, backbone, tensors["output.weight"], None, is_tied=False)


def _add_tokenizer(writer: Any, gguf: Any, vocab_size: int) -> None:
    known = vocabulary()
    # Readers take the vocabulary's size, which may be rounded up, from the number of tokens.
    unused = [f"[PAD{index}]" for index in range(len(known), vocab_size)]
    kinds = gguf.TokenType
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*sorted(known, key=known.__getitem__), *unused])
    types = [*[kinds.NORMAL] * END_OF_TEXT_ID, kinds.CONTROL, *[kinds.UNUSED] * len(unused)]
    writer.add_token_types(types)
    writer.add_token_merges([f"{left} {right}" for left, right in merges()])
    writer.add_bos_token_id(END_OF_TEXT_ID)
    writer.add_eos_token_id(END_OF_TEXT_ID)
    writer.add_unk_token_id(END_OF_TEXT_ID)
    writer.add_pad_token_id(END_OF_TEXT_ID)
    writer.add_add_bos_token(False)


def _names(model: Dense) -> Iterator[tuple[str, str]]:
    """Pairs of a name in the backbone and in the file."""
    yield from _TOP.items()
    for index in range(model.config.n_layer):
        for ours, theirs in _IN_BLOCK.items():
            for kind in ("weight", "bias"):
                yield f"h.{index}.{ours}.{kind}", f"blk.{index}.{theirs}.{kind}"


def _tensors(model: Dense) -> Iterator[tuple[str, Tensor, bool]]:
    for name, new in _names(model):
        yield new, model.backbone[name], new == _TOP["wpe.weight"]
    # Written even if tied to the embedding: readers of GPT-2 files differ in their defaults.
    yield "output.weight", model.head, False
