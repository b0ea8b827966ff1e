"""GPT-2's tokenizer in transformers' files, and its merges.

tiktoken stores a rank for every token; transformers' format lists the two tokens that each one was
merged from. Those result from byte-pair encoding of the token's bytes with only the tokens of lower
rank (Sennrich et al. 2016, algorithm 1, run on the token itself).
"""

import json
from functools import cache
from pathlib import Path

from llm_lightning.backbone.tokenizer import END_OF_TEXT, END_OF_TEXT_ID, gpt2_encoding


@cache
def vocabulary() -> dict[str, int]:
    """Returns every token, in printable characters, with its id; end of text included."""
    encoding = gpt2_encoding()
    tokens = {_printable(encoding.decode_single_token_bytes(i)): i for i in range(END_OF_TEXT_ID)}
    return tokens | {END_OF_TEXT: END_OF_TEXT_ID}


@cache
def merges() -> list[tuple[str, str]]:
    """Returns the pairs that byte-pair encoding merges, most frequent first."""
    encoding = gpt2_encoding()
    ranks = {encoding.decode_single_token_bytes(i): i for i in range(END_OF_TEXT_ID)}
    pairs = []
    for token, rank in ranks.items():
        if len(token) > 1:
            left, right = _parts(token, rank, ranks)
            pairs.append((_printable(left), _printable(right)))
    return pairs


def write_tokenizer(folder: Path, model_max_length: int) -> None:
    """Writes ``vocab.json``, ``merges.txt`` and ``tokenizer_config.json``.

    Args:
        folder: must exist.
        model_max_length: longest input, in tokens.
    """
    text = json.dumps(vocabulary(), ensure_ascii=False)
    (folder / "vocab.json").write_text(text + "\n", encoding="utf-8")
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges())]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), END_OF_TEXT)
    config = {
        "tokenizer_class": "GPT2Tokenizer",
        "model_max_length": model_max_length,
        "add_prefix_space": False,
        "padding_side": "right",
        "split_special_tokens": True,  # an end-of-text in a text is plain text, as in training
    }
    text = json.dumps(config | special, indent=2)
    (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")


def _parts(token: bytes, rank: int, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens of lower rank that a token is made of."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        joined = [parts[i] + parts[i + 1] for i in range(len(parts) - 1)]
        known = [ranks.get(pair, rank) for pair in joined]
        best = min(range(len(joined)), key=known.__getitem__)
        parts[best : best + 2] = [joined[best]]
    return parts[0], parts[1]


@cache
def _characters() -> list[str]:
    """A printable character for each byte, as in the published vocabulary."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)}
    printable |= set(range(ord("®"), ord("ÿ") + 1))
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def _printable(token: bytes) -> str:
    return "".join(_characters()[byte] for byte in token)
