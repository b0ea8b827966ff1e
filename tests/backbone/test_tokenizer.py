import hashlib
import re
from importlib import resources
from pathlib import Path

import pytest

from llm_lightning.backbone import tokenizer as module
from llm_lightning.backbone.tokenizer import (
    END_OF_TEXT_ID,
    GPT2Tokenizer,
    Tokenizer,
    encode,
    gpt2_encoding,
)


def test_known_sentence_has_gpt2s_ids() -> None:
    ids = encode("Hello world, you won the lottery!")
    assert ids == [15496, 995, 11, 345, 1839, 262, 22098, 0]


def test_ranks_are_the_published_file() -> None:
    ranks = resources.files("llm_lightning.backbone") / "assets" / "gpt2.tiktoken"
    assert hashlib.sha256(ranks.read_bytes()).hexdigest() == (
        "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
    )
    assert "MIT" in ranks.with_name("gpt2.tiktoken.LICENSE").read_text()


def test_end_of_text_in_a_message_is_ordinary_text() -> None:
    ids = encode("stop<|endoftext|>go")
    assert END_OF_TEXT_ID not in ids
    assert gpt2_encoding().decode(ids) == "stop<|endoftext|>go"


def test_any_text_survives_the_round_trip() -> None:
    text = "£5 naïve 北京 👍🏽\t\n\x00 '  don't"
    assert gpt2_encoding().decode(encode(text)) == text
    assert encode("") == []


def test_gpt2s_tokenizer_is_one_object_with_one_special_token() -> None:
    tokenizer = GPT2Tokenizer()
    assert isinstance(tokenizer, Tokenizer)
    assert tokenizer == GPT2Tokenizer()
    assert (tokenizer.vocab_size, tokenizer.prefix, tokenizer.suffix) == (50257, (), ())
    assert tokenizer.pad_id == tokenizer.end_id == tokenizer.special_id("<|endoftext|>") == 50256
    assert tokenizer.special_id("the") is None
    assert tokenizer.encode("Hello world") == [15496, 995]
    assert tokenizer.decode([15496, END_OF_TEXT_ID, 995]) == "Hello world"
    with pytest.raises(ValueError, match="no chat template"):
        tokenizer.render_chat([{"role": "user", "content": "Hi"}])


def test_offsets_are_the_characters_that_a_token_covers_in_part_or_whole() -> None:
    text = "naïve 日 🎉 end"
    ids, offsets = GPT2Tokenizer().encode_with_offsets(text)
    assert ids == encode(text)
    assert [text[start:end] for start, end in offsets] == [
        "na", "ïve", " 日", "日", "日", " 🎉", "🎉", "🎉", " end"
    ]  # fmt: skip
    assert GPT2Tokenizer().encode_with_offsets("") == ([], [])


def test_special_tokens_are_recognised_on_request_alone() -> None:
    text = "a<|endoftext|>b"
    assert END_OF_TEXT_ID not in GPT2Tokenizer().encode_with_offsets(text)[0]
    ids, offsets = GPT2Tokenizer().encode_with_offsets(text, special=True)
    assert ids == [64, END_OF_TEXT_ID, 65]
    assert offsets == [(0, 1), (1, 14), (14, 15)]


def test_the_ranks_are_what_is_saved(tmp_path: Path) -> None:
    GPT2Tokenizer().save(tmp_path)
    (file,) = tmp_path.iterdir()
    ranks = resources.files("llm_lightning.backbone") / "assets" / "gpt2.tiktoken"
    assert file.read_bytes() == ranks.read_bytes()


@pytest.mark.parametrize("space", [" ", "\n", "\t", " \n", "\u00a0", "\u2003 ", "\r\n", "\x1c "])
def test_long_white_space_has_the_same_ids_as_in_one_piece(
    space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arounds = [("", ""), ("a", ""), ("", "b"), ("a.", "\u00e9"), ("1", "<|endoftext|>")]
    whole = gpt2_encoding()

    def check(length: int) -> None:
        for before, after in arounds:
            run = (space * length)[:length]
            text = f"{before}{run}{after} and on {run}"
            assert encode(text) == whole.encode_ordinary(text)
            ids, offsets = GPT2Tokenizer().encode_with_offsets(text, special=True)
            assert ids == whole.encode(text, allowed_special="all")
            assert offsets[-1][1] == len(text)

    check(module._LONG_RUN + 1)
    shorter = module._LONG_SPACE.pattern.replace(str(module._LONG_RUN), "20")
    monkeypatch.setattr(module, "_LONG_SPACE", re.compile(shorter))
    monkeypatch.setattr(module, "_LONG_RUN", 20)
    for length in (*range(17, 24), 40, 301):
        check(length)


@pytest.mark.parametrize("space", [" ", "\n"])
def test_a_million_blanks_are_encoded(space: str) -> None:
    text = "a" + space * (1_000_000 // len(space)) + "b"
    assert gpt2_encoding().decode(encode(text)) == text
