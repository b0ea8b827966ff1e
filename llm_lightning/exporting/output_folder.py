"""The folder of an export: written whole or not at all, never over anything else."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CARD = "README.md"
MARK = "<!-- An export of llm_lightning: exporting here again replaces its files. -->"
FOLDER = "<this folder>"
"""How a card names the folder that it is in."""
BASE = "base"
"""Folder with the base of an exported adapter, where the Hub does not have it."""

# Everything that any format writes: a new export removes these files of an earlier one.
_WRITTEN = (
    CARD,
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "adapter_config.json",
    "adapter_model.safetensors",
    "head.safetensors",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spm.model",
    "spiece.model",
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "model-*.gguf",
    "model*.onnx",
    "model*.onnx.data",
    "Modelfile",
)


def check_free(out: Path) -> None:
    """Refuses a folder with anything but an earlier export.

    Args:
        out: to be written; may be missing.

    Raises:
        ValueError: if it is not a folder, or contains something else.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"--out {out} is a file; name a folder")
    if any(out.iterdir()) and not _holds_export(out):
        raise ValueError(f"--out {out} is not empty and contains no export; name another folder")


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yields an empty folder, whose files are moved to ``out`` at the end.

    All get the permissions of a new file, also those of safetensors, which it makes private.

    On an error ``out`` is left as it was. Files in it that no export writes are kept.

    Args:
        out: accepted by :func:`check_free`.
    """
    target = out.resolve()
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by an export that was killed
    part.mkdir(parents=True)
    try:
        yield part
        _set_modes(part)
        target.mkdir(exist_ok=True)
        _remove_earlier(target)
        for path in part.iterdir():
            path.rename(target / path.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _holds_export(folder: Path) -> bool:
    card = folder / CARD
    # After the lines for the Hub, which must be the first.
    return card.is_file() and MARK in card.read_text(encoding="utf-8", errors="replace")


def _set_modes(folder: Path) -> None:
    new = folder / ".new"
    new.touch()  # the mode that the umask gives, without changing it
    mode = new.stat().st_mode & 0o777
    new.unlink()
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(mode)


def _remove_earlier(folder: Path) -> None:
    for pattern in _WRITTEN:
        for file in folder.glob(pattern):
            file.unlink()
    shutil.rmtree(folder / BASE, ignore_errors=True)
