"""The embedded messages: what ships, and how hard it is for models that ignore word order."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from llm_lightning.data.embedded.make_messages import MESSAGES_PATH, make_messages, to_tsv

Message = tuple[str, str]


def shipped_messages() -> list[Message]:
    lines = MESSAGES_PATH.read_bytes().decode().removesuffix("\n").split("\n")
    return [(label, text) for label, text in (line.split("\t") for line in lines)]


def split_messages(messages: list[Message], seed: int) -> tuple[list[Message], list[Message]]:
    """Training and test part of the project's undersampled 70/10/20 `table` split."""

    def permuted(rows: list[Message]) -> list[Message]:
        # A fresh generator each time, as pandas' sample(random_state=seed) does.
        order = np.random.RandomState(seed).choice(len(rows), len(rows), replace=False)
        return [rows[i] for i in order]

    rows = permuted([row for row in messages if row[0] == "ham"])
    rows += [row for row in messages if row[0] == "spam"]
    rows = permuted(permuted(rows))
    train_end = int(0.7 * len(rows))
    return rows[:train_end], rows[train_end + int(0.1 * len(rows)) :]


def test_shipped_file_is_what_the_generator_writes():
    assert MESSAGES_PATH.read_bytes() == to_tsv(make_messages()).encode()


def test_command_writes_to_out_whatever_the_hash_seed(tmp_path):
    out = tmp_path / "messages.tsv"
    command = [sys.executable, "-m", make_messages.__module__, "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    subprocess.run(command, check=True, env=environment)
    assert out.read_bytes() == MESSAGES_PATH.read_bytes()


def test_layout_is_that_of_the_sms_spam_collection():
    content = MESSAGES_PATH.read_bytes().decode()
    assert content.endswith("\n")
    assert "\r" not in content
    assert '"' not in content
    assert all(re.fullmatch(r"(ham|spam)\t[^\t]+", line) for line in content.split("\n")[:-1])


def test_classes_are_balanced_and_mixed():
    labels = [label for label, _ in shipped_messages()]
    assert len(labels) == 1500
    assert labels.count("ham") == labels.count("spam") == 750
    assert 300 < labels[:750].count("ham") < 450


def test_no_text_occurs_twice():
    folded = {" ".join(text.casefold().split()) for _, text in shipped_messages()}
    assert len(folded) == 1500


def test_grammar_is_expanded_completely():
    assert not [text for _, text in shipped_messages() if re.search(r"[][{}|~#@%]", text)]


def test_numbers_and_domains_are_fictional():
    for _, text in shipped_messages():
        assert set(re.findall(r"\w\.([a-z]{2,})\b", text)) <= {"example"}
        assert not re.search(r"\d{7,}", text)
        assert all(re.match("01", end) for end in re.findall(r"\b555[- ](\d+)", text))


@pytest.mark.parametrize("seed", [123, 0, 1, 2, 3])
def test_bag_of_words_is_good_but_not_perfect(seed):
    train, test = split_messages(shipped_messages(), seed)
    classifier = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    classifier.fit([text for _, text in train], [label for label, _ in train])
    accuracy = classifier.score([text for _, text in test], [label for label, _ in test])
    assert 0.90 <= accuracy <= 0.98


def test_length_tells_little():
    train, test = split_messages(shipped_messages(), seed=123)

    def accuracy(rows: list[Message], threshold: int, label_above: str) -> float:
        hits = [(len(text) > threshold) == (label == label_above) for label, text in rows]
        return sum(hits) / len(hits)

    lengths = sorted({len(text) for _, text in train})
    rules = [(threshold, label) for threshold in lengths for label in ("ham", "spam")]
    best = max(rules, key=lambda rule: accuracy(train, *rule))
    assert accuracy(train, *best) < 0.75
    assert accuracy(test, *best) < 0.75
