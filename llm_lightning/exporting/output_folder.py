"""Where an export goes: whole or not at all, and never over anything else."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CARD = "README.md"
MARK = "<!-- An export of llm_lightning: exporting here again replaces its files. -->"
BASE = "base"
"""Folder in an adapter's export that holds its base, where that is not on the Hub."""

# All that any format writes: what a new export takes away of a former one.
_WRITTEN = (
    CARD,
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "adapter_config.json",
    "adapter_model.safetensors",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "model-*.gguf",
    "Modelfile",
)


def check_free(out: Path) -> None:
    """Refuses a folder that holds something else than an earlier export.

    Raises:
        ValueError: if it is no folder, or holds something else.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"--out {out} is a file; name a folder")
    if any(out.iterdir()) and not _holds_export(out):
        raise ValueError(f"--out {out} is not empty and holds no export; name another folder")


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Gives an empty folder to write to, whose files take their place in ``out`` at the end.

    If an error comes in between, ``out`` is what it was. Files in it that no export writes stay.

    Args:
        out: what :func:`check_free` lets pass.
    """
    target = out.resolve()
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of an export that was killed
    part.mkdir(parents=True)
    try:
        yield part
        target.mkdir(exist_ok=True)
        _remove_former(target)
        for path in part.iterdir():
            path.rename(target / path.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _holds_export(folder: Path) -> bool:
    card = folder / CARD
    return card.is_file() and card.read_text(encoding="utf-8", errors="replace").startswith(MARK)


def _remove_former(folder: Path) -> None:
    for pattern in _WRITTEN:
        for file in folder.glob(pattern):
            file.unlink()
    shutil.rmtree(folder / BASE, ignore_errors=True)
