"""A language model as a GGUF file for llama.cpp and Ollama, tokenizer included.

Names and their order follow the GGUF specification's ``gpt2`` architecture.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from llm_lightning.backbone.gpt_config import LAYER_NORM_EPSILON
from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID
from llm_lightning.exporting.dense import Dense
from llm_lightning.exporting.tokenizer_files import merges, vocabulary

QUANTIZATIONS = ("f16", "q8_0")
_Q8_BLOCK = 32  # weights that share a scale

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
        quantization: of the matrices: ``f16``, or ``q8_0``: 8 bits a weight and 16 for every 32
            weights, except for matrices whose row length is not a multiple of 32, which are
            written as ``f16``. Vectors and position embeddings stay in 32 bits.
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
    is_f16 = quantization == "f16"
    types = gguf.LlamaFileType
    writer.add_file_type(types.MOSTLY_F16 if is_f16 else types.MOSTLY_Q8_0)
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, gguf, config.vocab_size)
    for tensor_name, value in _tensors(model):
        if value.ndim == 1 or tensor_name == _TOP["wpe.weight"]:
            writer.add_tensor(tensor_name, value)
            continue
        kind = gguf.GGMLQuantizationType.F16
        if not is_f16 and value.shape[1] % _Q8_BLOCK == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(tensor_name, gguf.quants.quantize(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_back(file: Path, model: Dense) -> Dense:
    """Reads a file of :func:`write_gguf`, dequantized to full precision.

    Args:
        file: to read.
        model: what was written, for its architecture.
    """
    import gguf
    import torch

    tensors = {}
    for found in gguf.GGUFReader(file).tensors:
        value = gguf.quants.dequantize(found.data, found.tensor_type)
        tensors[found.name] = torch.from_numpy(value.astype(np.float32))
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


def _tensors(model: Dense) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name, new in _names(model):
        yield new, _array(model.backbone[name])
    # Written even if tied to the embedding: readers of GPT-2 files differ in their defaults.
    yield "output.weight", _array(model.head)


def _array(value: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = value.contiguous().numpy()
    return array
