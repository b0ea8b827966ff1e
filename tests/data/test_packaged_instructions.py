"""The packaged instructions: what ships, and that the answers are right."""

import calendar
import json
import re
from collections import Counter

import pytest
from generators import written_by

from llm_lightning.data.packaged.make_instructions import (
    INSTRUCTIONS_PATH,
    KINDS,
    Entry,
    in_words,
    inflect,
    item_key,
    make_entries,
    to_json,
)

TRAIN, TEST = 935, 110  # the rest validates

ENTRIES = make_entries()


def shipped_records() -> list[dict[str, str]]:
    records: list[dict[str, str]] = json.loads(INSTRUCTIONS_PATH.read_bytes())
    return records


def entries_of(kind: str) -> list[tuple[str, str]]:
    """The text each shipped entry of a kind gives the model, and its answer."""
    texts = [
        (f"{record['instruction']}\n{record['input']}".strip(), record["output"])
        for entry, record in zip(ENTRIES, shipped_records(), strict=True)
        if entry.kind == kind
    ]
    assert len(texts) == 55
    return texts


def sentence_in(text: str) -> str:
    """The text below the instruction, or after its colon."""
    return re.split(r"\n|: ", text)[-1]


def test_shipped_file_is_what_the_generator_writes():
    assert INSTRUCTIONS_PATH.read_bytes() == to_json(ENTRIES).encode()


def test_command_writes_to_out_whatever_the_hash_seed(tmp_path):
    written = written_by(make_entries.__module__, tmp_path / "instructions.json")
    assert written == INSTRUCTIONS_PATH.read_bytes()


def test_layout_is_that_of_instruction_data():
    records = shipped_records()
    assert len(records) == 1100
    for record in records:
        assert list(record) == ["instruction", "input", "output"]
        for value in record.values():
            assert value == " ".join(value.split())
            assert not re.search(r"[{}|*]", value)
        assert record["instruction"]
        assert re.fullmatch(r"[A-Z0-9].*[.?]", record["output"])
        assert len(record["output"].split()) <= 25
    assert INSTRUCTIONS_PATH.stat().st_size < 300_000


def test_no_question_occurs_twice():
    asked = {(record["instruction"], record["input"]) for record in shipped_records()}
    assert len(asked) == 1100


def test_every_kind_is_in_each_split():
    for part in (ENTRIES[:TRAIN], ENTRIES[TRAIN : TRAIN + TEST], ENTRIES[TRAIN + TEST :]):
        counts = Counter(entry.kind for entry in part)
        assert counts.keys() == KINDS.keys()
        assert max(counts.values()) - min(counts.values()) <= 2


def test_about_half_of_the_inputs_are_empty():
    records = shipped_records()
    for part in (records[:TRAIN], records[TRAIN:]):
        assert 0.35 <= sum(not record["input"] for record in part) / len(part) <= 0.65


def test_held_out_items_are_not_in_training():
    def items(part: list[Entry]) -> set[tuple[str, str]]:
        return {(entry.kind, item_key(entry.kind, entry.item)) for entry in part}

    assert len(items(ENTRIES)) == 1100
    assert not items(ENTRIES[:TRAIN]) & items(ENTRIES[TRAIN:])


def test_held_out_answers_are_not_in_training():
    # Sentences of one length share their answer.
    answers = Counter(entry.item.answer for entry in ENTRIES if entry.kind != "count")
    assert len(answers) == 1100 - 55
    assert not answers.keys() & {entry.item.answer for entry in ENTRIES if entry.kind == "count"}


def test_instructions_are_worded_in_several_ways():
    for kind in KINDS:
        # What follows a colon, numbers and the wanted form are the item, not the wording.
        openings = {
            " ".join(entry.instruction.split()[:3]) for entry in ENTRIES if entry.kind == kind
        }
        assert len(openings) >= 3


def test_arithmetic_is_right():
    results = {
        "sum of": lambda a, b: a + b,
        "difference between": lambda a, b: a - b,
        "product of": lambda a, b: a * b,
    }
    for text, answer in entries_of("arithmetic"):
        match = re.fullmatch(r"The (\D+) (\d+) and (\d+) is (\d+)\.", answer)
        assert match
        assert match[1] in text
        assert re.findall(r"\d+", text) == [match[2], match[3]]
        assert results[match[1]](int(match[2]), int(match[3])) == int(match[4]) > 0


def test_conversions_are_right():
    factors = {
        ("kilometers", "meters"): 1000,
        ("hours", "minutes"): 60,
        ("minutes", "seconds"): 60,
        ("kilograms", "grams"): 1000,
        ("days", "hours"): 24,
        ("weeks", "days"): 7,
        ("years", "months"): 12,
        ("meters", "centimeters"): 100,
        ("centimeters", "millimeters"): 10,
        ("feet", "inches"): 12,
        ("yards", "feet"): 3,
        ("liters", "milliliters"): 1000,
        ("dollars", "cents"): 100,
    }
    for text, answer in entries_of("conversion"):
        match = re.fullmatch(r"(\d+) ([\w ]+) is ([\d,]+) ([\w ]+)\.", answer)
        assert match
        amount, result = int(match[1]), int(match[3].replace(",", ""))
        assert re.search(rf"\b{match[1]} {match[2]}\b", text)
        assert re.search(rf"\b(in|to|into) {match[4]}\b", text)
        if match[2] == "degrees Celsius":
            assert match[4] == "degrees Fahrenheit"
            assert result == amount * 1.8 + 32
        else:
            assert result == amount * factors[match[2], match[4]]


def test_lists_are_sorted():
    for text, answer in entries_of("sorting"):
        listed = sentence_in(text).rstrip(".").split(", ")
        order, result = answer.rstrip(".").split(" are ")
        assert order.removeprefix("The ") in text
        things = result.split(", ")
        assert Counter(things) == Counter(listed)
        assert things != listed
        if "alphabetical" in order:
            assert things == sorted(things)
        else:
            numbers = [int(thing) for thing in things]
            assert numbers == sorted(numbers, reverse="largest to smallest" in order)


def test_counts_are_right():
    for text, answer in entries_of("count"):
        counted = sentence_in(text)
        if " " in counted:
            assert "words in this sentence" in text
            assert answer == f"The sentence has {counted.count(' ') + 1} words."
        else:
            assert "letters in this word" in text
            assert answer == f"The word {counted} has {len(counted)} letters."


def test_letters_are_right():
    for text, answer in entries_of("letter"):
        match = re.fullmatch(r"The (first|last) letter of (\w+) is (\w)\.", answer)
        assert match
        assert match[1] in text
        assert re.search(rf"\b{match[2]}[.?]?$", text)
        assert match[3] == match[2][0 if match[1] == "first" else -1]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (7, "seven"),
        (11, "eleven"),
        (40, "forty"),
        (98, "ninety-eight"),
        (100, "one hundred"),
        (213, "two hundred thirteen"),
        (880, "eight hundred eighty"),
    ],
)
def test_number_in_words(number, words):
    assert in_words(number) == words


def test_numbers_are_right():
    value = {in_words(number): number for number in range(1000)}
    assert len(value) == 1000
    for text, answer in entries_of("number"):
        match = re.fullmatch(r"The number (\d+) in words is (.+)\.", answer)
        assert match
        assert re.findall(r"\d+", text) == [match[1]]
        assert value[match[2]] == int(match[1])


def test_order_is_right():
    months = list(calendar.month_name)[1:]
    for text, answer in entries_of("order"):
        match = re.fullmatch(r"(.+) comes right (before|after) (.+)\.", answer)
        assert match
        assert f"right {match[2]} " in text
        assert re.search(rf"\b{match[3]}[.?]?$", text)
        answered, given = match[1].split()[-1], match[3].split()[-1]
        first, second = (answered, given) if match[2] == "before" else (given, answered)
        if first in months:
            assert months.index(second) == (months.index(first) + 1) % 12
        elif first.isdecimal():
            assert int(second) == int(first) + 1
        elif len(first) == 1:
            assert ord(second) == ord(first) + 1
        else:
            days = list(calendar.day_name)
            assert days.index(second) == (days.index(first) + 1) % 7


def test_spelling_mistakes_are_one_slip_in_one_word():
    for text, answer in entries_of("spelling"):
        pairs = zip(sentence_in(text).split(), answer.split(), strict=True)
        [(wrong, right)] = [(wrong, right) for wrong, right in pairs if wrong != right]
        swapped = sorted(wrong) == sorted(right)
        lost = [right[:i] + right[i + 1 :] for i in range(len(right))]
        assert swapped or wrong in lost


def test_rewritten_sentences_keep_their_words():
    added = {
        "passive": "was|were|by|written|eaten|broken|sung|driven|taken"
        "|wrote|ate|broke|sang|drove|took",
        "question": "do|does",
        "negation": "do|does|not",
        "capitals": "",
    }
    for kind, extra in added.items():
        for text, answer in entries_of(kind):
            before, after = (
                Counter(
                    # A verb loses its third-person ending next to do and does.
                    re.sub("(?<=watch)es$|s$", "", word)
                    for word in re.findall(r"\w+", sentence.lower().replace("cannot", "can not"))
                    if not (extra and re.fullmatch(extra, word))
                )
                for sentence in (sentence_in(text), answer)
            )
            assert before == after


def test_rewritten_sentences_have_their_form():
    for text, answer in entries_of("passive"):
        thing, be, _, agent = re.findall(r"^(.+) (was|were) (\w+) by (.+)\.$", answer)[0]
        active = sentence_in(text)
        assert active.lower().startswith(agent.lower())
        assert active.endswith(f" {thing.lower()}.")
        assert be == ("were" if thing.startswith("Two ") else "was")
    for text, answer in entries_of("question"):
        assert re.match(r"(Is|Are|Can|Will|Do|Does) .+\?$", answer)
        assert sentence_in(text).endswith(".")
    for _, answer in entries_of("negation"):
        assert len(re.findall(r"\bnot\b|cannot", answer)) == 1
    for text, answer in entries_of("capitals"):
        plain = sentence_in(text)
        assert plain == plain.lower()
        assert plain == answer[:-1].lower()
        assert (answer[-1] == "?") == bool(re.match("(is|are|can|will|do|does) ", plain))
        assert set(re.findall(r"(?<!^)\b[A-Z]\w+", answer)) <= {
            "Anna",
            "Tom",
            "Paris",
            "London",
            "May",
            "Sunday",
        }


@pytest.mark.parametrize(
    ("word", "suffix", "inflected"),
    [
        ("book", "s", "books"),
        ("church", "s", "churches"),
        ("bus", "s", "buses"),
        ("baby", "s", "babies"),
        ("monkey", "s", "monkeys"),
        ("walk", "ed", "walked"),
        ("smile", "ed", "smiled"),
        ("carry", "ed", "carried"),
        ("play", "ed", "played"),
        ("stop", "ed", "stopped"),
        ("visit", "ed", "visited"),
        ("listen", "ed", "listened"),
        ("big", "er", "bigger"),
        ("slow", "er", "slower"),
        ("cheap", "est", "cheapest"),
        ("large", "est", "largest"),
        ("happy", "est", "happiest"),
    ],
)
def test_regular_words_are_inflected_by_rule(word, suffix, inflected):
    assert inflect(word, suffix) == inflected


def test_pairs_give_the_word_that_is_wanted():
    patterns = {
        "antonym": r"The opposite of (\w+) is (\w+)\.",
        "synonym": r"A synonym for (\w+) is (\w+)\.",
        "plural": r"The plural of (\w+) is (\w+)\.",
        "past": r"The past tense of (\w+) is (\w+)\.",
        "rhyme": r"A word that rhymes with (\w+) is (\w+)\.",
        "degree": r"The (?:comparative|superlative) form of (\w+) is ((?:more |most )?\w+)\.",
    }
    for kind, pattern in patterns.items():
        for text, answer in entries_of(kind):
            match = re.fullmatch(pattern, answer)
            assert match
            assert re.search(rf"\b{match[1]}\b", text)
            assert match[1] != match[2] or match[1] in ("sheep", "deer")
            if kind == "degree":
                assert answer.split()[1] in text
                ending = "er|worse" if "comparative" in text else "est|worst"
                degree = "more " if "comparative" in text else "most "
                assert re.search(f"({ending})$", match[2]) or match[2] == degree + match[1]


def test_classified_words_are_offered_their_class():
    classes = {}
    for text, answer in entries_of("classify"):
        match = re.fullmatch(r"The word (\w+) (is|names) (an? \w+)\.", answer)
        assert match
        assert re.search(rf"\b{match[1]}\b", text)
        assert f" {match[2]} " in text
        assert match[3] in text
        assert (match[3][2] == " ") == (match[3].split()[1][0] in "aeiou")
        assert classes.setdefault(match[1], match[3]) == match[3]


def test_odd_one_out_is_the_only_one_of_its_category():
    category_of: dict[str, str] = {}
    for text, answer in entries_of("odd"):
        match = re.fullmatch(r"The odd one out is (\w+), because the others are (\w+)s\.", answer)
        assert match
        listed = sentence_in(text).rstrip(".?").split(", ")
        assert len(set(listed)) == 4
        assert match[1] in listed
        for word in listed:
            if word != match[1]:
                assert category_of.setdefault(word, match[2]) == match[2]
    for _, answer in entries_of("odd"):
        odd, others = re.findall(r"is (\w+), because the others are (\w+)s\.", answer)[0]
        assert category_of.get(odd) != others
