"""A GGUF file, with its weights dequantized, as a folder of transformers."""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from llm_lightning.backbone.huggingface.gguf_header import check_header
from llm_lightning.backbone.huggingface.quiet import quiet


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[dict[str, Any]]:
    """Arguments that name the file in a folder with nothing else.

    transformers also reads what lies beside a file: an ``adapter_config.json`` there would make it
    load, even fetch, another model.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / file.name).symlink_to(file.resolve())
        yield {
            "pretrained_model_name_or_path": folder,
            "gguf_file": file.name,
            "local_files_only": True,
        }


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

    try:
        check_header(file)
    except OSError as error:
        raise ValueError(f"model.weights: {file} cannot be read: {error.strerror}") from error
    print(f"Converting {file.name}: dequantized once, kept in the cache ...", flush=True)
    # Versions with this class keep weights in blocks, and such a model cannot be saved.
    blocks = getattr(transformers, "GgufConfig", None)
    options = {} if blocks is None else {"quantization_config": blocks(dequantize=True)}
    try:
        # It draws a progress bar of its own on stderr.
        with quiet(), contextlib.redirect_stderr(io.StringIO()), _alone(file) as where:
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
