import numpy as np
import pandas as pd

from llm_lightning.evaluation.audit.equal_texts import conflicting_labels, normalized
from llm_lightning.evaluation.audit.near_duplicates import near_duplicates, shingles, similar_pairs

OFFER = "Congratulations! You have won a prize of 500 pounds. Call 0800 {} now to claim it."


def table(*rows: tuple[str, str, str]) -> pd.DataFrame:
    found = pd.DataFrame(rows, columns=["split", "label", "text"])
    found["row"] = found.groupby("split").cumcount() + 1
    return found


def test_all_pairs_that_comparing_everything_finds_are_found() -> None:
    random = np.random.default_rng(0)
    base = ["".join(random.choice(list("abcdefgh "), 80)) for _ in range(40)]
    texts = list(base)
    for text in base:
        letters = list(text)
        letters[40:48] = list("changed!")[: int(random.integers(1, 8))]
        texts.append("".join(letters))
    expected = {}
    for one in range(len(texts)):
        for other in range(one):
            a, b = shingles(texts[one]), shingles(texts[other])
            if (similarity := len(a & b) / len(a | b)) >= 0.7:
                expected[other, one] = similarity
    found = {(one, other): similarity for one, other, similarity in similar_pairs(texts, 0.7)}
    assert found == expected
    assert len(found) > 30


def test_lines_say_where_the_earlier_text_is() -> None:
    found = near_duplicates(
        table(
            ("train", "ham", "see you at seven"),
            ("train", "spam", OFFER.format("1111")),
            ("train", "spam", OFFER.format("1111").upper()),
            ("val", "ham", "something else entirely"),
            ("test", "ham", OFFER.format("2222")),
            ("test", "ham", "See  you at seven"),
            ("test", "ham", "see you at eight"),
        ),
        similarity=0.8,
    )
    places = found[["where", "split", "row", "other_split", "other_row"]].to_numpy().tolist()
    assert places == [
        ["across", "test", 2, "train", 1],
        ["across", "test", 1, "train", 2],
        ["within", "train", 3, "train", 2],
    ]
    assert found["similarity"].iloc[0] == 1
    assert 0.8 <= found["similarity"].iloc[1] < 1
    assert (found["label"] != found["other_label"]).tolist() == [False, True, False]


def test_no_near_duplicates_are_an_empty_table_with_its_columns() -> None:
    found = near_duplicates(table(("all", "a", "one"), ("all", "b", "")), similarity=0.8)
    assert found.empty
    assert {"where", "split", "other_text", "similarity"} <= set(found)


def test_equal_texts_with_different_labels_are_groups() -> None:
    found = conflicting_labels(
        table(
            ("train", "a", "Same  text"),
            ("train", "a", "other"),
            ("train", "a", "other"),
            ("test", "b", "same text"),
            ("test", "b", "\uff4fnce"),
            ("test", "a", "once"),
        )
    )
    assert found[["group", "split", "row"]].to_numpy().tolist() == [
        [1, "train", 1],
        [1, "test", 1],
        [2, "test", 2],
        [2, "test", 3],
    ]


def test_normalized_texts() -> None:
    assert normalized(" \uff21\tB\nStra\u00dfe ") == "a b strasse"
