"""Where names stand in a figure, and which characters they have."""

import pytest

from llm_lightning.reporting.draw import style


@pytest.mark.parametrize(
    ("heights", "placed"),
    [
        ([0.2, 0.8], [0.2, 0.8]),  # far enough apart
        ([0.5, 0.5], [0.45, 0.55]),  # apart by the gap, around their mean
        ([0.52, 0.48, 0.9], [0.55, 0.45, 0.9]),  # order kept
        ([1.0, 1.0, 0.99], [0.9, 1.0, 0.8]),  # pushed down from the edge
        ([0.0, 0.0], [0.0, 0.1]),  # pushed up from the edge
    ],
)
def test_spread_moves_names_apart_but_not_off_the_plot(heights, placed):
    assert style.spread(heights, 0.1, 0, 1) == pytest.approx(placed)


def test_plain_text_is_cut_and_has_no_characters_that_a_file_cannot_hold():
    assert style.plain("abcdef", limit=4) == "abc…"
    assert style.plain("a\x07b\ud800c\n$5", limit=20) == "a b c $5"
