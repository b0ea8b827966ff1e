"""A GGUF file, with its weights dequantized, as a folder of transformers."""

import contextlib
import io
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from llm_lightning.backbone.checkpoint import WEIGHTS_NAME
from llm_lightning.backbone.huggingface.quiet import quiet


def convert(file: Path, folder: Path) -> None:
    """Writes configuration, tokenizer and float32 weights.

    Args:
        file: of an architecture that transformers can read from GGUF.
        folder: an empty one.

    Raises:
        ValueError: if transformers cannot read the file.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print(f"Converting {file.name}: dequantized once, kept in the cache ...", flush=True)
    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        # It draws a progress bar of its own on stderr.
        with quiet(), contextlib.redirect_stderr(io.StringIO()):
            model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(**where)
            tokenizer.save_pretrained(folder)
        _save(model, folder)
    # The reader raises whatever its parts do: ValueError, KeyError, its own errors.
    except Exception as error:
        raise ValueError(
            f"model.weights: {file} cannot be read by transformers "
            f"({type(error).__name__}: {error})"
        ) from error


def _save(model: Any, folder: Path) -> None:
    # save_pretrained() takes the dequantized model for a quantized one and refuses it.
    del model.config.quantization_config
    model.config.save_pretrained(folder)
    # A tied head is stored once, as the embedding. named_parameters() leaves out the second name.
    tensors = {name: value.detach().contiguous() for name, value in model.named_parameters()}
    save_file(tensors, folder / WEIGHTS_NAME, {"format": "pt"})
