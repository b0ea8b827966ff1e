"""Generates the packaged instructions: ``python -m llm_lightning.data.packaged.make_instructions``.

The entries replace the book's where those cannot be downloaded, and have their layout: 20 kinds
of small language and number exercises in plain words. They were written for this project (licence
MIT, like its code), no text is taken from elsewhere, and what can be computed is. That a model
learns them shows that the pipeline works, not how good the model is.

Each kind is a function that draws an item: the text to work on, the answer and, where a kind needs
it, the form that is wanted. No kind repeats an item, and no answer occurs twice but for counts, so
what is held out is new in more than its wording. The file deals one entry of each kind per round:
any run of 40 entries holds at least one of every kind.
"""

import argparse
import json
import re
import string
import tomllib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

INSTRUCTIONS_PATH = Path(__file__).with_name("instructions.json")
SEED = 2024
ROUNDS = 55

LISTS: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("words.toml").read_text(encoding="utf-8")
)
"""Words, sentences and wordings, by the names in that file."""
STATEMENTS: dict[str, list[str]] = LISTS["statements"]
WORDS = sorted(
    {group.split()[0] for name in ("plurals", "pasts", "degrees") for group in LISTS[name]}
)


class Item(NamedTuple):
    """What an entry is about: the text to work on, the answer and, maybe, the form wanted."""

    x: str
    answer: str
    y: str = ""


class Entry(NamedTuple):
    """An entry of the file, with the kind and the item it comes from."""

    kind: str
    item: Item
    instruction: str
    input: str
    output: str


def capital(text: str) -> str:
    """Give a text a capital first letter."""
    return text[0].upper() + text[1:]


def inflect(word: str, suffix: str) -> str:
    """Add ``s``, ``ed``, ``er`` or ``est`` to a regular word, with the spelling that it takes."""
    if re.search("[^aeiou]y$", word):
        return word[:-1] + ("ies" if suffix == "s" else "i" + suffix)
    if suffix == "s":
        return word + ("es" if re.search("(s|x|ch|sh)$", word) else "s")
    if word.endswith("e"):
        return word + suffix[1:]
    # A short word of one syllable doubles its last consonant.
    return word + (word[-1] if re.fullmatch("[^aeiou]*[aeiou][bdgmnpt]", word) else "") + suffix


def state(subject: str, predicate: str, form: str) -> str:
    """Build a statement, its question or its negation.

    Args:
        subject: one of the subjects in ``words.toml``.
        predicate: ``be`` and the rest, ``can`` or ``will`` and the rest, or a verb and the rest.
        form: ``statement``, ``question`` or ``negation``.

    Returns:
        The sentence with capital and end mark.
    """
    plural = subject in STATEMENTS["plurals"]
    verb, rest = predicate.split(maxsplit=1)
    if verb == "be":
        verb = "are" if plural else "is"
    elif verb not in ("can", "will"):
        if form == "statement":
            return f"{capital(subject)} {verb if plural else inflect(verb, 's')} {rest}."
        verb, rest = "do" if plural else "does", predicate
    if form == "question":
        return f"{capital(verb)} {subject} {rest}?"
    if form == "negation":
        verb = "cannot" if verb == "can" else f"{verb} not"
    return f"{capital(subject)} {verb} {rest}."


def article(noun: str) -> str:
    """Put the article that fits before a noun."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def draw_statement(rng: Random) -> tuple[str, str]:
    """Draw a subject and a predicate."""
    subjects = STATEMENTS["singulars"] + STATEMENTS["plurals"]
    return rng.choice(subjects), rng.choice(STATEMENTS["predicates"])


def in_words(number: int) -> str:
    """Spell out a number below 1,000."""
    ones: list[str] = LISTS["ones"]
    tens: list[str] = LISTS["tens"]
    if number >= 100:
        rest = f" {in_words(number % 100)}" if number % 100 else ""
        return f"{ones[number // 100]} hundred{rest}"
    if number >= 20:
        return tens[number // 10] + (f"-{ones[number % 10]}" if number % 10 else "")
    return ones[number]


def draw_spelling(rng: Random) -> Item:
    """Draw a sentence in which two neighboring letters of a word are swapped, or one is lost."""
    before, word, after = re.split(r"\*(\w+)", rng.choice(LISTS["spelling"]))
    at = rng.choice([i for i in range(1, len(word) - 2) if word[i] != word[i + 1]])
    slip = rng.choice((word[at + 1] + word[at], word[at + 1]))
    return Item(before + word[:at] + slip + word[at + 2 :] + after, before + word + after)


def draw_pair(name: str, answer: str) -> Callable[[Random], Item]:
    """Make the function of a kind whose answer is the second word of a pair."""

    def draw(rng: Random) -> Item:
        first, second = rng.choice(LISTS[name]).split()
        return Item(first, answer.format(first, second))

    return draw


def draw_form(name: str, suffix: str, answer: str) -> Callable[[Random], Item]:
    """Make the function of a kind whose answer is an inflected form."""

    def draw(rng: Random) -> Item:
        word, *irregular = rng.choice(LISTS[name]).split()
        return Item(word, answer.format(word, *irregular or [inflect(word, suffix)]))

    return draw


def draw_conversion(rng: Random) -> Item:
    """Draw an amount to convert."""
    if rng.random() < 0.1:
        degrees = rng.randrange(5, 101, 5)
        source, target, result = "degrees Celsius", "degrees Fahrenheit", degrees * 9 // 5 + 32
        return Item(f"{degrees} {source}", f"{degrees} {source} is {result} {target}.", target)
    source, target, factor = rng.choice(LISTS["conversions"]).split()
    amount = rng.randrange(2, 31)
    result = amount * int(factor)
    return Item(f"{amount} {source}", f"{amount} {source} is {result:,} {target}.", target)


def draw_arithmetic(rng: Random) -> Item:
    """Draw two numbers to add, subtract or multiply."""
    name = rng.choice(("sum of", "difference between", "product of"))
    a, b = rng.sample(range(2, 13) if name == "product of" else range(2, 100), 2)
    if name == "difference between":
        a, b = max(a, b), min(a, b)
    result = {"sum of": a + b, "difference between": a - b, "product of": a * b}[name]
    return Item(f"{a} and {b}", f"The {name} {a} and {b} is {result}.", name)


def draw_passive(rng: Random) -> Item:
    """Draw a sentence in the active voice."""
    past, (participle, *things) = rng.choice(list(LISTS["passives"].items()))
    thing = rng.choice(things)
    agent = rng.choice([name for name in STATEMENTS["singulars"] if name not in ("she", "he")])
    be = "were" if thing.startswith("two ") else "was"
    return Item(
        f"{capital(agent)} {past} {thing}.", f"{capital(thing)} {be} {participle} by {agent}."
    )


def draw_sorting(rng: Random) -> Item:
    """Draw a list that is out of order."""
    wanted = rng.choice(LISTS["sortings"])
    if wanted.startswith("words"):
        things = rng.sample(WORDS, 4)
        ordered = sorted(things)
    else:
        things = [str(number) for number in rng.sample(range(1, 100), 4)]
        ordered = sorted(things, key=int, reverse=wanted.endswith("smallest"))
    if things == ordered:
        things.reverse()
    return Item(", ".join(things), f"The {wanted} are {', '.join(ordered)}.", wanted)


def draw_classify(rng: Random) -> Item:
    """Draw a word to put in a category or a word class."""
    verb, kinds = rng.choice((("names", "categories"), ("is", "word_classes")))
    groups = list(LISTS[kinds].items())[:4]
    name, words = rng.choice(groups)
    word = rng.choice(words.split())
    *others, last = [article(group) for group, _ in groups]
    asked = f"{verb} {', '.join(others)} or {last}"
    return Item(word, f"The word {word} {verb} {article(name)}.", asked)


def draw_odd(rng: Random) -> Item:
    """Draw three words of one category and one of another."""
    (name, words), (_, other_words) = rng.sample(list(LISTS["categories"].items()), 2)
    odd = rng.choice(other_words.split())
    shown = [odd, *rng.sample(words.split(), 3)]
    rng.shuffle(shown)
    reason = f"the others are {inflect(name, 's')}"
    return Item(", ".join(shown), f"The odd one out is {odd}, because {reason}.")


def draw_rhyme(rng: Random) -> Item:
    """Draw a word to find a rhyme for."""
    group = rng.choice(LISTS["rhymes"]).split()
    at = rng.randrange(len(group))
    return Item(group[at], f"A word that rhymes with {group[at]} is {group[at - 1]}.")


def draw_capitals(rng: Random) -> Item:
    """Draw a sentence without capital letters and end mark."""
    sentence = state(*draw_statement(rng), rng.choice(("statement", "question")))
    return Item(sentence[:-1].lower(), sentence)


def draw_degree(rng: Random) -> Item:
    """Draw an adjective to compare."""
    word, *forms = rng.choice(LISTS["degrees"]).split()
    if len(word) > 7 or word.endswith(("ful", "ous")):
        forms = [f"more {word}", f"most {word}"]
    forms = forms or [inflect(word, "er"), inflect(word, "est")]
    name, form = rng.choice(list(zip(("comparative", "superlative"), forms, strict=True)))
    return Item(word, f"The {name} form of {word} is {form}.", name)


def draw_count(rng: Random) -> Item:
    """Draw a word to count the letters of, or a sentence to count the words of."""
    if rng.random() < 0.5:
        word = rng.choice(WORDS)
        return Item(word, f"The word {word} has {len(word)} letters.", "letters in this word")
    sentence = state(*draw_statement(rng), "statement")
    words = len(sentence.split())
    return Item(sentence, f"The sentence has {words} words.", "words in this sentence")


def draw_letter(rng: Random) -> Item:
    """Draw a word to find the first or last letter of."""
    word = rng.choice(WORDS)
    name, letter = rng.choice((("first", word[0]), ("last", word[-1])))
    return Item(word, f"The {name} letter of {word} is {letter}.", name)


def draw_number(rng: Random) -> Item:
    """Draw a number to spell out."""
    number = rng.randrange(11, rng.choice((100, 1000)))
    return Item(str(number), f"The number {number} in words is {in_words(number)}.")


def draw_order(rng: Random) -> Item:
    """Draw a day, month, letter or number to name the neighbor of."""
    letters = [f"the letter {letter}" for letter in string.ascii_uppercase]
    numbers = [f"the number {number}" for number in range(1, 100)]
    sequences = [sequence.split() for sequence in LISTS["sequences"]]
    sequence = rng.choice([*sequences, letters, numbers])
    at = rng.randrange(len(sequence) - 1)
    if rng.random() < 0.5:
        x, answer, y = sequence[at], sequence[at + 1], "after"
    else:
        x, answer, y = sequence[at + 1], sequence[at], "before"
    return Item(x, f"{capital(answer)} comes right {y} {x}.", y)


def draw_rewriting(form: str) -> Callable[[Random], Item]:
    """Make the function of a kind that turns a statement into a question or a negation."""

    def draw(rng: Random) -> Item:
        subject, predicate = draw_statement(rng)
        statement = state(subject, predicate, "statement")
        return Item(statement, state(subject, predicate, form))

    return draw


KINDS: dict[str, Callable[[Random], Item]] = {
    "spelling": draw_spelling,
    "antonym": draw_pair("antonyms", "The opposite of {} is {}."),
    "synonym": draw_pair("synonyms", "A synonym for {} is {}."),
    "conversion": draw_conversion,
    "plural": draw_form("plurals", "s", "The plural of {} is {}."),
    "past": draw_form("pasts", "ed", "The past tense of {} is {}."),
    "arithmetic": draw_arithmetic,
    "passive": draw_passive,
    "sorting": draw_sorting,
    "classify": draw_classify,
    "odd": draw_odd,
    "rhyme": draw_rhyme,
    "capitals": draw_capitals,
    "degree": draw_degree,
    "count": draw_count,
    "letter": draw_letter,
    "number": draw_number,
    "order": draw_order,
    "question": draw_rewriting("question"),
    "negation": draw_rewriting("negation"),
}


def item_key(kind: str, item: Item) -> str:
    """Say what an item is about whatever its order, case and marks: its words, sorted."""
    # Two slips in one sentence are one item.
    text = item.answer if kind == "spelling" else f"{item.y} {item.x}"
    return " ".join(sorted(re.findall(r"\w+", text.lower())))


def make_entries(seed: int = SEED) -> list[Entry]:
    """Generate the entries.

    Args:
        seed: seed of the one random generator behind every choice.

    Returns:
        The entries in file order, round by round, each round shuffled.
    """
    rng = Random(seed)
    rounds: list[list[Entry]] = [[] for _ in range(ROUNDS)]
    answers: set[str] = set()
    for at, (kind, prompts) in enumerate(LISTS["prompts"].items()):
        items: dict[str, Item] = {}
        while len(items) < ROUNDS:
            item = KINDS[kind](rng)
            key = item_key(kind, item)
            if key not in items and (kind == "count" or item.answer not in answers):
                items[key] = item
                answers.add(item.answer)
        for number, item in enumerate(items.values()):
            # Every second entry of a kind, and of a round, has its text in the instruction.
            inline = (number + at) % 2 == 0
            prompt = rng.choice([prompt for prompt in prompts if ("{x}" in prompt) == inline])
            instruction = prompt.format(x=item.x, y=item.y)
            text = "" if inline else item.x
            rounds[number].append(Entry(kind, item, instruction, text, item.answer))
    for entries in rounds:
        rng.shuffle(entries)
    return [entry for entries in rounds for entry in entries]


def to_json(entries: list[Entry]) -> str:
    """Lay entries out as a JSON list, one entry per line."""
    lines = [
        json.dumps({"instruction": e.instruction, "input": e.input, "output": e.output})
        for e in entries
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def main() -> None:
    """Write the entries to the shipped file, or to the one named on the command line."""
    parser = argparse.ArgumentParser(description="Generate the packaged instructions.")
    parser.add_argument("--out", type=Path, default=INSTRUCTIONS_PATH, metavar="FILE")
    parser.parse_args().out.write_bytes(to_json(make_entries()).encode())


if __name__ == "__main__":
    main()
