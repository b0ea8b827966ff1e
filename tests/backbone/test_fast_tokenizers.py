"""Tokenizers of transformers, made here and loaded from a folder."""

import time
from pathlib import Path

import pytest
import small_tokenizers as small
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from llm_lightning.backbone.huggingface.tokenizer import FastTokenizer, load_tokenizer
from llm_lightning.backbone.tokenizer import Tokenizer as Protocol
from llm_lightning.data.prompt_styles import CHAT
from llm_lightning.data.prompts import Prompts, Record

TEXT = "A good film: 日本 🎉, I'd see it again!\n\nA bad one  too."
KINDS = {
    "bytes": small.byte_level,
    "bytes_with_bos": lambda: small.byte_level(with_bos=True),
    "sentencepiece": small.sentencepiece_like,
    "word_piece": small.word_piece,
}


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> FastTokenizer:
    return KINDS[request.param]()


def test_special_tokens_around_a_text_are_found() -> None:
    assert (small.byte_level().prefix, small.byte_level().suffix) == ((), ())
    with_bos = small.byte_level(with_bos=True)
    assert (with_bos.prefix, with_bos.suffix) == ((with_bos.special_id("<s>"),), ())
    bert = small.word_piece()
    assert bert.prefix == (bert.special_id("[CLS]"),)
    assert bert.suffix == (bert.special_id("[SEP]"),)


def test_rows_are_filled_with_the_padding_token_and_texts_end_with_the_end_or_separator() -> None:
    bpe, bert = small.byte_level(), small.word_piece()
    assert (bpe.pad_id, bpe.end_id) == (bpe.special_id("<pad>"), bpe.special_id("</s>"))
    assert (bert.pad_id, bert.end_id) == (bert.special_id("[PAD]"), bert.special_id("[SEP]"))
    backend = Tokenizer.from_str(bpe._tokenizer.backend_tokenizer.to_str())
    without_padding = FastTokenizer(small.fast(backend, pad_token=None))
    assert without_padding.pad_id == without_padding.end_id == bpe.end_id


def test_a_text_is_encoded_whole_and_without_special_tokens(tokenizer: FastTokenizer) -> None:
    assert isinstance(tokenizer, Protocol)
    ids = tokenizer.encode(TEXT)
    plain = tokenizer._tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    assert ids == plain
    assert len(ids) > 8  # the length at which one of them would truncate
    assert max(ids) < tokenizer.vocab_size
    assert tokenizer.encode("") == []


@pytest.mark.parametrize("kind", ["bytes", "bytes_with_bos", "sentencepiece"])
def test_any_text_survives_the_round_trip(kind: str) -> None:
    tokenizer = KINDS[kind]()
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    ends = [*tokenizer.prefix, *tokenizer.encode("film"), tokenizer.end_id, tokenizer.pad_id]
    assert tokenizer.decode(ends) == "film"


@pytest.mark.slow
@pytest.mark.parametrize("space", [" ", "\n"])
def test_a_megabyte_of_white_space_is_encoded_within_seconds(
    tokenizer: FastTokenizer, space: str
) -> None:
    """Where GPT-2's encoder, another library, would end the process."""
    started = time.process_time()
    ids = tokenizer.encode(f"a good{space * 2**20}film")
    assert time.process_time() - started < 10
    few = tokenizer.encode(f"a good{space * 3}film")
    assert (ids[:2], ids[-2:]) == (few[:2], few[-2:])


def test_offsets_cover_the_text_in_order(tokenizer: FastTokenizer) -> None:
    ids, offsets = tokenizer.encode_with_offsets(TEXT)
    assert ids == tokenizer.encode(TEXT)
    assert offsets == sorted(offsets)
    covered = {at for start, end in offsets for at in range(start, end)}
    # WordPiece has no tokens for white space.
    assert "".join(TEXT[at] for at in sorted(covered)).split() == TEXT.split() or (
        "".join(TEXT[at] for at in sorted(covered)) == "".join(TEXT.split())
    )


def test_white_space_belongs_to_the_token_that_holds_it() -> None:
    _, offsets = small.byte_level().encode_with_offsets("A film\n")
    assert offsets[-1] == (6, 7)
    assert (1, 2) in [(start, start + 1) for start, _ in offsets]


@pytest.mark.parametrize(
    ("kind", "text"), [("bytes", "Say <|im_end|> now"), ("word_piece", "say [SEP] now")]
)
def test_special_tokens_in_a_users_text_are_ordinary_text(kind: str, text: str) -> None:
    tokenizer = KINDS[kind]()
    spelling = text.split()[1]
    special = tokenizer.special_id(spelling)
    assert special is not None
    assert special not in tokenizer.encode(text)
    assert special not in tokenizer.encode_with_offsets(text)[0]
    ids, offsets = tokenizer.encode_with_offsets(text, special=True)
    assert offsets[ids.index(special)] == (4, 4 + len(spelling))
    assert tokenizer.special_id("film") is None


def test_a_saved_tokenizer_is_the_same(tmp_path: Path) -> None:
    made = small.byte_level(small.CHATML, with_bos=True)
    made.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.encode(TEXT) == made.encode(TEXT)
    for name in ("vocab_size", "pad_id", "end_id", "prefix", "suffix", "has_chat_template"):
        assert getattr(loaded, name) == getattr(made, name)
    messages = [{"role": "user", "content": "Hi"}]
    assert loaded.render_chat(messages) == "<|im_start|>user\nHi<|im_end|>\n"


def test_a_template_that_is_missing_or_refuses_is_an_error() -> None:
    with pytest.raises(ValueError, match="has no chat template"):
        small.byte_level().render_chat([])
    with pytest.raises(ValueError, match="refuses the conversation: System role not supported"):
        small.byte_level(small.GEMMA).render_chat([{"role": "system", "content": "Be brief."}])


def test_a_prompt_does_not_depend_on_the_day() -> None:
    template = "{{ strftime_now('%d %b %Y') }}: {{ messages[0].content }}"
    tokenizer = small.byte_level(template)
    assert tokenizer.render_chat([{"role": "user", "content": "Hi"}]) == "26 Jul 2024: Hi"


def test_a_folder_without_a_usable_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere is no folder with a tokenizer"):
        load_tokenizer(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"holds no tokenizer that transformers can load \(") as e:
        load_tokenizer(tmp_path)
    assert str(tmp_path) in str(e.value)
    small.byte_level().save(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="holds no tokenizer that transformers can load"):
        load_tokenizer(tmp_path)


class Slow:
    is_fast = False


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(ValueError, match="Slow has no fast version, and only fast"):
        FastTokenizer(Slow())


def test_a_tokenizer_without_any_end_is_refused() -> None:
    backend = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    without = small.fast(backend, bos_token=None, eos_token=None, pad_token=None)
    with pytest.raises(ValueError, match="no token that ends or fills a text"):
        FastTokenizer(without)


def test_an_added_token_that_is_not_special_is_one_wherever_it_is_written() -> None:
    made = small.byte_level(small.CHATML)
    made._tokenizer.add_tokens([AddedToken("<think>", special=False)])
    tokenizer = FastTokenizer(made._tokenizer)
    think = tokenizer.special_id("<think>")
    start = tokenizer.special_id("<|im_start|>")
    text = "a <think> b <|im_start|>"
    ids, offsets = tokenizer.encode_with_offsets(text)
    assert ids == tokenizer.encode(text)
    assert ids.count(think) == 1
    assert offsets[ids.index(think)] == (2, 9)
    assert start not in ids
    assert tokenizer.decode(ids) == text
    prompt = Prompts(CHAT, tokenizer).prompt_ids(Record(text), 200)
    assert prompt.count(think) == 1
    assert prompt.count(start) == 2, "of the user's and the assistant's turn alone"
