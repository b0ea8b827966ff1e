"""GPT-2's byte-pair encoding from ranks packaged with the library: no network, ever.

``assets/gpt2.tiktoken`` holds the 50,256 mergeable ranks (OpenAI, MIT licence beside it), one
``<base64 bytes> <rank>`` per line. tiktoken's own ``gpt2`` encoding would download the same data.
"""

import base64
from functools import cache
from importlib import resources

import tiktoken

END_OF_TEXT = "<|endoftext|>"
END_OF_TEXT_ID = 50256
VOCAB_SIZE = 50257

# GPT-2's pre-tokenisation (Radford et al. 2019, section 2.2; encoder.py of the published code).
_SPLIT_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@cache
def gpt2_encoding() -> tiktoken.Encoding:
    """Returns GPT-2's encoding; built once per process (about 0.2 s)."""
    lines = (resources.files(__package__) / "assets" / "gpt2.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}
    return tiktoken.Encoding(
        name="gpt2",
        pat_str=_SPLIT_PATTERN,
        mergeable_ranks=ranks,
        special_tokens={END_OF_TEXT: END_OF_TEXT_ID},
        explicit_n_vocab=VOCAB_SIZE,
    )


def encode(text: str) -> list[int]:
    """Encodes a user's text.

    Special tokens are treated as ordinary text: ``<|endoftext|>`` inside a message cannot end or
    reset the model's input.
    """
    return gpt2_encoding().encode_ordinary(text)
