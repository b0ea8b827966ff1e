import hashlib
from importlib import resources

from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID, encode, gpt2_encoding


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
