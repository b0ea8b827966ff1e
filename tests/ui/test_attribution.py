"""Occlusion shows what the model does without a token."""

import numpy as np
import pytest
from ui.small_models import tiny_classifier

from llm_lightning.runs.prediction import predict
from llm_lightning.ui import attribution
from llm_lightning.ui.attribution import occlusion

TEXT = "win a free prize now"


@pytest.mark.parametrize("padding", ["batch", "max_length", "none"])
def test_a_change_is_that_of_the_text_without_the_token(padding: str) -> None:
    model = tiny_classifier("mean_real", padding=padding)
    found = occlusion(model, TEXT, "spam")
    words = ["win", " a", " free", " prize", " now"]
    assert [piece.text for piece in found.pieces] == words
    texts = [TEXT, *("".join(words[:i] + words[i + 1 :]) for i in range(len(words)))]
    whole, *without = [one.probabilities["spam"] for one in predict(model, texts)]
    assert found.probability == pytest.approx(whole, abs=1e-6)
    expected = [whole - probability for probability in without]
    assert np.ptp(expected) > 0.01, "a test of something"
    assert [piece.change for piece in found.pieces] == pytest.approx(expected, abs=1e-5)


def test_what_was_cut_was_not_seen() -> None:
    text = "one two three four five six"
    for truncate, seen in (("end", [0, 1, 2]), ("start", [3, 4, 5]), ("middle", [0, 1, 5])):
        found = occlusion(tiny_classifier(max_length=3, truncate=truncate), text, "ham")
        assert "".join(piece.text for piece in found.pieces) == text
        kept = "".join(piece.text for piece in found.pieces if piece.change is not None)
        assert kept.split() == [text.split()[i] for i in seen]


def test_a_long_text_is_left_out_in_larger_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution, "MOST_PIECES", 2)
    found = occlusion(tiny_classifier(), "a b c d e 🙂", "ham")
    assert "".join(piece.text for piece in found.pieces) == "a b c d e 🙂"
    assert (len(found.pieces), found.tokens_a_piece) == (2, 3)


def test_an_empty_text_has_no_pieces() -> None:
    assert occlusion(tiny_classifier(), "", "ham").pieces == []
