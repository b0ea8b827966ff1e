"""The packaged messages: what ships, and how hard it is for the shipped baselines."""

import re

import pytest
from generators import written_by

from llm_lightning.data.packaged.make_messages import MESSAGES_PATH, make_messages, to_tsv
from llm_lightning.data.spam import SmsSpam
from llm_lightning.evaluation.baselines import Baseline

Message = tuple[str, str]


def shipped_messages() -> list[Message]:
    lines = MESSAGES_PATH.read_bytes().decode().removesuffix("\n").split("\n")
    return [(label, text) for label, text in (line.split("\t") for line in lines)]


def accuracies(method: str, split: str) -> dict[str, float]:
    """Accuracies in percent of a baseline that the package ships, on one of its own splits."""
    data = SmsSpam(split=split)
    data.use_packaged()
    tables = data.read()
    fitted = Baseline(method=method).fit(list(tables.train["Text"]), list(tables.train["Label"]))
    found = {}
    for name, table in tables.items():
        predicted = fitted.probabilities(list(table["Text"])).argmax(axis=1)
        found[name] = 100 * float((predicted == table["Label"].to_numpy()).mean())
    return found


def test_shipped_file_is_what_the_generator_writes():
    assert MESSAGES_PATH.read_bytes() == to_tsv(make_messages()).encode()


def test_command_writes_to_out_whatever_the_hash_seed(tmp_path):
    written = written_by(make_messages.__module__, tmp_path / "messages.tsv")
    assert written == MESSAGES_PATH.read_bytes()


def test_layout_is_that_of_the_sms_spam_collection():
    content = MESSAGES_PATH.read_bytes().decode()
    assert content.endswith("\n")
    assert "\r" not in content
    assert '"' not in content
    assert all(re.fullmatch(r"(ham|spam)\t[^\t]+", line) for line in content.split("\n")[:-1])


def test_classes_are_balanced_and_mixed():
    labels = [label for label, _ in shipped_messages()]
    assert len(labels) == 2400
    assert labels.count("ham") == labels.count("spam") == 1200
    assert 540 < labels[:1200].count("ham") < 660


def test_no_text_occurs_twice():
    folded = {" ".join(text.casefold().split()) for _, text in shipped_messages()}
    assert len(folded) == 2400


def test_grammar_is_expanded_completely():
    assert not [text for _, text in shipped_messages() if re.search(r"[][{}|~#@%]", text)]


def test_numbers_and_domains_are_fictional():
    for _, text in shipped_messages():
        assert set(re.findall(r"\w\.([a-z]{2,})\b", text)) <= {"example"}
        assert not re.search(r"\d{7,}", text)
        assert all(re.match("01", end) for end in re.findall(r"\b555[- ](\d+)", text))


@pytest.mark.parametrize("split", ["table", "clean"])
def test_pairs_of_words_tell_the_classes_apart_but_not_perfectly(split):
    assert 96 <= accuracies("logreg", split)["test"] <= 99.9


@pytest.mark.parametrize("split", ["table", "clean"])
def test_counts_of_single_words_are_not_enough(split):
    naive_bayes, logreg = (
        accuracies(method, split)["test"] for method in ("naive_bayes", "logreg")
    )
    assert 90 <= naive_bayes <= 97.5
    assert naive_bayes < logreg - 1


@pytest.mark.parametrize("split", ["table", "clean"])
@pytest.mark.parametrize("method", ["length", "majority"])
def test_length_and_share_do_not_determine_the_class(method, split):
    found = accuracies(method, split)
    assert max(found.values()) < 65
