"""A byte-level tokenizer in a GGUF file.

llama.cpp has its own code to split a text before byte-pair encoding, and chooses it by a name. A
tokenizer fits if it splits a text as one of these does; others would give wrong tokens silently.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_lightning.backbone.tokenizer import Tokenizer
from llm_lightning.data.prompt_styles import CHAT
from llm_lightning.exporting.run_prompts import stop_id
from llm_lightning.tasks.finetuned_model import FineTunedModel

_TOKENIZER_FILE = "tokenizer.json"
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# How each of llama.cpp's splits is written in a tokenizer.json, and whether a whole word that is a
# token skips its merges.
_SPLITS: dict[str, tuple[list[tuple[Any, ...]], bool]] = {
    "gpt-2": ([("ByteLevel", True)], False),
    "smollm": ([("Digits", True), ("ByteLevel", True)], False),
    "qwen2": ([("Split", _WORDS % ""), ("ByteLevel", False)], False),
    "llama-bpe": ([("Split", _WORDS % "{1,3}"), ("ByteLevel", False)], True),
}


@dataclass
class ByteLevel:
    """A tokenizer as a GGUF file has it."""

    split: str
    """llama.cpp's name of how a text is split."""
    tokens: dict[int, str]
    """All tokens by id, bytes as printable characters."""
    special: set[int]
    """Ids of the special tokens."""
    added: set[int]
    """Ids of tokens that are recognised before a text is split, special ones included."""
    merges: list[str]
    """Pairs that byte-pair encoding merges, the most frequent first."""
    chat_template: str | None
    """The model's own, if it has one."""


def why_not(tokenizer: Tokenizer) -> str | None:
    """Returns why a tokenizer cannot be in a GGUF file, if it cannot."""
    try:
        read(tokenizer)
    except ValueError as error:
        return str(error)
    return None


def read(tokenizer: Tokenizer) -> ByteLevel:
    """Reads a tokenizer from its own files.

    Raises:
        ValueError: if llama.cpp would tokenize otherwise.
    """
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        file = Path(folder) / _TOKENIZER_FILE
        if not file.is_file():
            raise ValueError(f"this tokenizer has no {_TOKENIZER_FILE}")
        fields = json.loads(file.read_text(encoding="utf-8"))
        template = Path(folder) / "chat_template.jinja"
        chat_template = template.read_text(encoding="utf-8") if template.is_file() else None
    model = fields["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        kind = "BPE with bytes as a fallback" if model["type"] == "BPE" else model["type"]
        raise ValueError(f"this tokenizer is {kind}, and only byte-level BPE can be exported")
    if len(tokenizer.prefix) > 1:
        raise ValueError("this tokenizer puts more than one special token before a text")
    added = {token["id"]: token for token in fields["added_tokens"]}
    tokens = {index: text for text, index in model["vocab"].items()}
    return ByteLevel(
        split=_split(fields),
        tokens=tokens | {index: token["content"] for index, token in added.items()},
        special={index for index, token in added.items() if token["special"]},
        added=set(added),
        merges=[pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]],
        chat_template=chat_template,
    )


def add_tokenizer(writer: Any, task: FineTunedModel, num_rows: int) -> None:
    """Adds a run's tokenizer to a file, and its chat template if the run's prompts follow it.

    Args:
        writer: a ``gguf.GGUFWriter``.
        task: the run's.
        num_rows: of its embedding, which may have more rows than there are tokens.
    """
    import gguf

    tokenizer = task.tokenizer
    found, kinds = read(tokenizer), gguf.TokenType
    types = [
        kinds.UNUSED if index not in found.tokens
        else kinds.CONTROL if index in found.special
        else kinds.USER_DEFINED if index in found.added
        else kinds.NORMAL
        for index in range(num_rows)
    ]  # fmt: skip
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(found.split)
    writer.add_token_list([found.tokens.get(index, f"[PAD{index}]") for index in range(num_rows)])
    writer.add_token_types(types)
    writer.add_token_merges(found.merges)
    writer.add_bos_token_id(next(iter(tokenizer.prefix), tokenizer.end_id))
    writer.add_eos_token_id(stop_id(task))
    writer.add_pad_token_id(tokenizer.pad_id)
    writer.add_add_bos_token(bool(tokenizer.prefix))
    writer.add_add_eos_token(False)
    if found.chat_template and task.hparams["text"].get("prompt_style") == CHAT:
        writer.add_chat_template(found.chat_template)


def _split(fields: dict[str, Any]) -> str:
    steps = [_step(part) for part in _flat(fields["pre_tokenizer"])]
    skips_merges = bool(fields["model"].get("ignore_merges"))
    # Composing characters, as Qwen does, changes few texts; llama.cpp does it nowhere.
    normalizer = (fields["normalizer"] or {"type": "NFC"})["type"]
    for name, known in _SPLITS.items():
        if (steps, skips_merges) == known and normalizer == "NFC":
            return name
    raise ValueError(
        f"this tokenizer splits a text in a way that is not known in llama.cpp "
        f"({', '.join(str(step[0]) for step in steps)})"
    )


def _flat(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    return [one for inner in part["pretokenizers"] for one in _flat(inner)]


def _step(part: dict[str, Any]) -> tuple[Any, ...]:
    kind = part["type"]
    if kind == "ByteLevel" and not part["add_prefix_space"]:
        return (kind, part.get("use_regex", True))
    if kind == "Digits":
        return (kind, part["individual_digits"])
    if kind == "Split" and part["behavior"] == "Isolated" and not part["invert"]:
        return (kind, part["pattern"].get("Regex"))
    return (kind, part)
