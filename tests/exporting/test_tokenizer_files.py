"""The tokenizer in transformers' files is this package's."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID, encode, gpt2_encoding
from llm_lightning.exporting.gpt2.tokenizer_files import merges, vocabulary, write_tokenizer

TEXTS = [
    "ok",
    "",
    "naïve café ☕ 日本語  \n\n\t x",
    "we'll he's I'VE 12345 3.14  ...!!",
    " leading and trailing \n",
    "Stop <|endoftext|> here",
    "<|endoftext|>",
    "\u00a0\u200b👩‍👩‍👧 \x00\x7f",
    "e\u0301 is not é; nor ﬁ fi, nor Ⅳ IV",
    "\r\n\r\n   tabs\t\tand  spaces   ",
    "    def f(x):\n        return x**2  # ünïcödé",
    "\u02bcn'LL''ll 's's ''' don't",
    "٣٤٥ ½ ²³ १२३",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(made, 7)
    return made


def test_odd_texts_become_the_same_tokens(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        assert ids == encode(text), text
        assert tokenizer.decode(ids) == text


def test_padding_is_on_the_right_with_the_end_of_text(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == END_OF_TEXT_ID
    assert len(tokenizer) == 50257
    batch = tokenizer(["ok", "see you at 7?"], padding=True)
    width = len(encode("see you at 7?"))
    assert batch["input_ids"][0] == encode("ok") + [END_OF_TEXT_ID] * (width - 1)


def test_texts_are_cut_where_the_run_cut_them(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "one two three four five six seven eight nine ten"
    assert tokenizer(text, truncation=True)["input_ids"] == encode(text)[:7]


def test_every_token_that_is_a_text_is_found_again(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoding = gpt2_encoding()
    texts = []
    for token in range(END_OF_TEXT_ID):
        try:
            texts.append(encoding.decode_single_token_bytes(token).decode())
        except UnicodeDecodeError:
            continue
    assert len(texts) > 49_000
    found = tokenizer(texts)["input_ids"]
    for text, ids in zip(texts, found, strict=True):
        assert ids == encoding.encode_ordinary(text), text


def test_vocabulary_and_merges_are_the_published_ones() -> None:
    """As OpenAI's ``encoder.json`` and ``vocab.bpe`` have them."""
    known = vocabulary()
    assert sorted(known.values()) == list(range(50257))
    assert [known[token] for token in ("!", "Ġthe", "Ċ", "<|endoftext|>")] == [0, 262, 198, 50256]
    pairs = merges()
    assert len(pairs) == len(set(pairs)) == 50000
    assert pairs[:5] == [("Ġ", "t"), ("Ġ", "a"), ("h", "e"), ("i", "n"), ("r", "e")]
    assert pairs[-1] == ("Ġg", "azed")
    assert all(left + right in known for left, right in pairs)
