"""A GGUF file, with its weights dequantized, as a folder of transformers."""

import contextlib
import io
from pathlib import Path

import torch

from llm_lightning.backbone.huggingface.quiet import quiet


def convert(file: Path, folder: Path) -> None:
    """Writes configuration, tokenizer and float32 weights.

    Args:
        file: of an architecture that transformers can read from GGUF.
        folder: an empty one.

    Raises:
        ValueError: if transformers cannot read the file.
    """
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print(f"Converting {file.name}: dequantized once, kept in the cache ...", flush=True)
    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    # Versions with this class keep weights in blocks, and such a model cannot be saved.
    blocks = getattr(transformers, "GgufConfig", None)
    options = {} if blocks is None else {"quantization_config": blocks(dequantize=True)}
    try:
        # It draws a progress bar of its own on stderr.
        with quiet(), contextlib.redirect_stderr(io.StringIO()):
            model = AutoModelForCausalLM.from_pretrained(**where, **options, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(**where)
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    # The reader raises whatever its parts do: ValueError, KeyError, its own errors.
    except Exception as error:
        raise ValueError(
            f"model.weights: {file} cannot be read by transformers "
            f"({type(error).__name__}: {error})"
        ) from error
