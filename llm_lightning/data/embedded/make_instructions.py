"""Generate the embedded instructions: ``python -m llm_lightning.data.embedded.make_instructions``.

The entries stand in for the instruction data where that cannot be downloaded, in its layout: 20
kinds of small language and number exercises in plain words. They were written for this project
(licence MIT, like its code), no text is taken from elsewhere, and what can be computed is. That a
model learns them shows that the pipeline works, not how good the model is.

Each kind is a function that draws an item: text to work on, answer and, where a kind needs it, what
is asked for. No kind repeats an item, and no answer occurs twice but for counts, so what is held
out is new in more than its wording. The file deals one entry of each kind per round: any run of 40
entries holds at least one of every kind.
"""

import argparse
import json
import re
import string
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from llm_lightning.data.embedded.make_messages import read_rules

INSTRUCTIONS_PATH = Path(__file__).with_name("instructions.json")
SEED = 2024
ROUNDS = 55

# Kind, then wordings of its instruction: {y} is what is asked for, {x} the text to work on, which
# becomes the input of the entry where a wording lacks it.
PROMPTS = """
spelling Correct the spelling: {x}|Fix the spelling mistake here: {x}|Write this sentence without
  the spelling mistake: {x}|Correct the misspelled word.|One word in the sentence has a spelling
  mistake. Fix it.|Find the spelling mistake and write the sentence correctly.
antonym Tell me the opposite of {x}.|Give a word that means the opposite of {x}.|Which word is the
  opposite of {x}?|Find the opposite of this word.|Name a word with the opposite meaning.|What is
  the opposite of the word?
synonym Which word means much the same as {x}?|Give a synonym for {x}.|Find another word for {x}.|
  Give a word with the same meaning.|Name a synonym for this word.|What is another word for this?
conversion Convert {x} to {y}.|How much is {x} in {y}?|Change {x} into {y}.|Convert the following to
  {y}.|Write this in {y}.|How much is this in {y}?
plural What is the plural of {x}?|Give the plural of the noun {x}.|What do you call more than
  one {x}?|Write the plural of this noun.|Turn the noun into its plural.|What is the plural of the
  word?
past What is the past tense of {x}?|Give the past tense of the verb {x}.|Put the verb {x} in the
  past tense.|Write the past tense of this verb.|Change the verb to the past tense.|What is this
  verb in the past tense?
arithmetic What is the {y} {x}?|Find the {y} {x}.|Work out the {y} {x}.|Find the {y} the two
  numbers.|Work out the {y} these numbers.|What is the {y} the numbers below?
passive Put this sentence in the passive voice: {x}|Change from active to passive: {x}|Write in the
  passive voice: {x}|Put the sentence in the passive voice.|Change the sentence from active to
  passive.|Write this sentence in the passive voice.
sorting Sort these {y}: {x}.|Put the {y}: {x}.|Write the following {y}: {x}.|Sort these {y}.|Put the
  {y}.|Write these {y}.
classify Decide whether the word {x} {y}.|Tell me whether the word {x} {y}.|Say if the word {x}
  {y}.|Decide whether this word {y}.|Tell me if the word {y}.|Say whether the given word {y}.
odd Which word does not belong: {x}?|Find the odd one out: {x}.|Name the word that does not fit with
  the others: {x}.|Which of these words does not belong?|Find the odd one out.|Name the word that
  does not fit with the others.
rhyme Which word rhymes with {x}?|Give a word that rhymes with {x}.|Find a rhyme for {x}.|Give a
  rhyme for this word.|Find a word that rhymes.|Name a word that rhymes with the given one.
capitals Add capital letters and the end mark: {x}|Write this with capitals and punctuation: {x}|
  Repair the capitals and the punctuation: {x}|Add the missing capital letters and the end mark.|
  Write the sentence with capitals and punctuation.|Repair capital letters and punctuation.
degree What is the {y} form of {x}?|Give the {y} form of the adjective {x}.|Write the {y} form of
  {x}.|Give the {y} form of this adjective.|Change the adjective to its {y} form.|What is the {y}
  form of the adjective?
count Count the {y}: {x}|Find the number of {y}: {x}|Tell me the number of {y}: {x}|Count the {y}.|
  What is the number of {y}?|Find the number of {y}.
letter What is the {y} letter of {x}?|Name the {y} letter of the word {x}.|Which letter comes {y} in
  the word {x}?|Name the {y} letter of this word.|What is the {y} letter of the word?|Which letter
  comes {y} in this word?
number Write {x} in words.|Spell out the number {x}.|How do you write {x} in words?|Write this
  number in words.|Spell out the number.|Put the number into words.
order What comes right {y} {x}?|Name what comes right {y} {x}.|Tell me what comes right {y} {x}.|
  Name what comes right {y} this.|What comes right {y} the following?|Tell me what comes right {y}
  this.
question Turn this sentence into a question: {x}|Ask this as a question: {x}|Make a question out of
  this: {x}|Turn the sentence into a question.|Ask this as a question.|Change the statement to a
  question.
negation Make this sentence negative: {x}|Say that this is not so: {x}|Add not to this sentence:
  {x}|Make the sentence negative.|Write the sentence with not.|Change the sentence so that it says
  no.
"""

# A star marks the word that gets a slip.
SPELLING = """
The *weather is cold today.|My *brother is ten years old.|She wrote a *letter to her aunt.|We had
*breakfast at seven.|The *children played outside.|He lost his *umbrella on the bus.|I will see you
*tomorrow.|Her *birthday is in June.|They live in a small *village.|The *kitchen is clean now.|
Please close the *drawer.|He is my best *friend.|This *question is too hard.|I have never seen an
*elephant.|The *mountain is covered with snow.|We need more *information.|The *library opens at
nine.|She has a *beautiful voice.|We went home *because it was late.|The *doctor came in the
evening.|It was a *terrible storm.|He told us a funny *story.|The *garden is full of roses.|Our
*neighbor has two dogs.|I *believe every word you said.|We ate bread and *cheese for lunch.|The
*teacher read us a poem.|The king lived in a *castle.|There is a *picture on the wall.|My *sister
plays the piano.|The train leaves the *station at noon.|He drinks a glass of *water.|Did you
*remember the keys?|They *travel by train every summer.|The *farmer has twenty cows.|I put the
*money in my pocket.|The *river runs to the sea.|The *answer is on the last page.|She works in a
*hospital.|He bought a new *jacket.|It is *dangerous to swim here.|We *always eat at home.|The baby
is *sleeping in her bed.|The *soldiers marched through the town.|There was a *strange noise in the
night.|He *finished his work early.|The *language is easy to learn.|Two *hundred people came to
the fair.|My *favorite color is blue.|Is the *restaurant still open?|They *decided to stay at home.|
The *president gave a long speech.|The *market is open on Friday.|We *waited for an hour.|The
*minister said nothing.|I like *chocolate cake.|He broke his *finger last week.|The *captain
stayed on the ship.|Nobody knows the *reason.|She *laughed at the joke.
"""

ANTONYMS = """
hot cold, big small, tall short, fast slow, happy sad, rich poor, strong weak, bright dark, heavy
light, hard soft, old young, early late, clean dirty, full empty, wet dry, loud quiet, open closed,
good bad, true false, high low, wide narrow, thick thin, deep shallow, near far, inside outside, up
down, left right, first last, always never, day night, love hate, win lose, buy sell, begin end,
come go, push pull, laugh cry, remember forget, arrive leave, give take, question answer, friend
enemy, war peace, life death, north south, east west, summer winter, morning evening, kind cruel,
polite rude, safe dangerous, easy difficult, cheap expensive, alive dead, asleep awake, same
different, many few, more less, before after, above below, smooth rough, top bottom, front back
"""

SYNONYMS = """
big large, small little, quick fast, begin start, finish end, happy glad, sad unhappy, shut close,
ill sick, buy purchase, speak talk, answer reply, gift present, road street, stone rock, woods
forest, ocean sea, rich wealthy, clever smart, silent quiet, brave bold, scared afraid, difficult
hard, simple easy, correct right, wrong incorrect, choose pick, help aid, hurry rush, shout yell,
weep cry, jump leap, throw toss, build construct, fix repair, allow let, own possess, need require,
error mistake, story tale, job work, journey trip, doctor physician, chair seat, cash money, foe
enemy, pal friend, beautiful lovely, strange odd, tired weary, whole entire, final last, middle
center, fortunate lucky, rude impolite, maybe perhaps, often frequently, nearly almost, sofa couch,
shop store, automobile car, angry cross, evil wicked, below under
"""

# From, to, factor; degrees are a case of their own.
CONVERSIONS = """
kilometers meters 1000, hours minutes 60, minutes seconds 60, kilograms grams 1000, days hours 24,
weeks days 7, years months 12, meters centimeters 100, centimeters millimeters 10, feet inches 12,
yards feet 3, liters milliliters 1000, dollars cents 100
"""

# Irregular words bring their other forms; those of the rest are computed.
PLURALS = """
man men, woman women, child children, foot feet, tooth teeth, mouse mice, goose geese, ox oxen,
person people, leaf leaves, knife knives, wife wives, wolf wolves, life lives, shelf shelves, loaf
loaves, thief thieves, calf calves, sheep sheep, deer deer, potato potatoes, tomato tomatoes, hero
heroes, baby, city, story, lady, family, country, box, fox, dress, church, watch, brush, glass, bus,
dish, beach, key, boy, day, monkey, house, horse, tree, garden, river, letter, window, flower,
table, book, door, friend, ship, bridge, teacher, picture
"""

PASTS = """
go went, see saw, eat ate, take took, give gave, come came, run ran, write wrote, drive drove, speak
spoke, break broke, sing sang, swim swam, drink drank, begin began, know knew, grow grew, fly flew,
throw threw, buy bought, bring brought, think thought, catch caught, teach taught, find found, tell
told, sell sold, make made, keep kept, sleep slept, feel felt, leave left, lose lost, send sent,
build built, stand stood, hear heard, sit sat, forget forgot, choose chose, win won, play, walk,
talk, open, close, carry, cry, try, study, stop, plan, drop, live, love, smile, help, ask, wait,
watch, visit, listen, jump, laugh
"""

DEGREES = """
good better best, bad worse worst, far farther farthest, big, hot, sad, thin, wet, happy, easy,
heavy, busy, pretty, early, funny, angry, lucky, dirty, large, nice, safe, wide, brave, late, wise,
strange, small, cold, warm, tall, short, long, fast, slow, old, young, new, strong, weak, dark,
cheap, clean, deep, hard, soft, loud, rich, poor, sharp, sweet, kind, bright, beautiful, careful,
useful, famous, difficult, important, expensive, dangerous
"""

# Verb in the past tense, its participle and what may be its object.
PASSIVES = """
wrote written a letter|a poem|two stories
ate eaten the apple|the bread|two cakes
broke broken the window|a plate|two cups
built built a house|the bridge|two boats
found found the key|a coin|two old books
sang sung a song|two songs
drove driven the car|the bus
took taken the coat|a picture|two chairs
bought bought a lamp|the farm|two horses
read read the book|a story|two letters
painted painted the wall|the door|two pictures
washed washed the car|the shirt|two dishes
opened opened the box|the gate|two bottles
cooked cooked the fish|the soup|two eggs
carried carried the bag|the baby|two baskets
"""

CATEGORIES = """
animal dog cat horse cow rabbit lion monkey wolf goat
fruit apple pear banana grape melon mango strawberry apricot fig
color red blue green yellow brown black white purple pink
tool hammer saw spade axe shovel screwdriver rake chisel wrench
vehicle car bus train truck bicycle airplane tractor taxi
building house church castle school barn hotel palace cottage
"""

WORD_CLASSES = """
noun kitchen teacher village sister city mountain money winter
verb bring listen forget arrive sing become choose believe
adjective happy heavy beautiful angry careful lazy tiny honest
"""

RHYMES = """
cat hat mat, dog log fog, tree bee knee, night light right, day play way, book cook look, house
mouse, ring king sing, red bed head, sun run fun, car star far, boat coat goat, cake lake snake,
rain train chain, ball wall tall, moon spoon soon, hill mill still, door floor more, nose rose, sand
hand land, cold gold old, blue shoe true, ten pen hen, fish dish wish, bear chair hair, ice mice
rice
"""

SORTINGS = """
numbers from smallest to largest
numbers from largest to smallest
words in alphabetical order
"""

# Statements pair a subject with a predicate.
SINGULARS = "the boy|the girl|my sister|our teacher|Anna|Tom|the farmer|his aunt|she|he"
PLURAL_SUBJECTS = "the children|her parents|the soldiers|they|we"
PREDICATES = (
    "be tired|be hungry|be at school|be in the garden|be ready to leave|be late for dinner|be in "
    "Paris this week|can swim|can sing well|can see the moon|will come home soon|will help you|"
    "will go to London in May|like music|play the piano|live near the river|want some water|work "
    "in the city|know the answer|walk to school every day|drink tea on Sunday|love the sea|need "
    "new shoes|watch the birds"
)

SEQUENCES = """
Monday Tuesday Wednesday Thursday Friday Saturday Sunday Monday, January February March April May
June July August September October November December January
"""

NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen, zero ten twenty thirty forty fifty sixty seventy eighty ninety
"""


class Item(NamedTuple):
    """What an entry is about: the text to work on, the answer and, maybe, what is asked for."""

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


def read_groups(block: str) -> list[list[str]]:
    """Split a block of groups, separated by commas, into the words of each."""
    return [group.split() for group in block.split(",")]


WORDS = sorted({group[0] for block in (PLURALS, PASTS, DEGREES) for group in read_groups(block)})


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
        subject: One of the subjects of this module.
        predicate: ``be`` and the rest, ``can`` or ``will`` and the rest, or a verb and the rest.
        form: ``statement``, ``question`` or ``negation``.

    Returns:
        The sentence with capital and end mark.
    """
    plural = subject in PLURAL_SUBJECTS.split("|")
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
    subjects = f"{SINGULARS}|{PLURAL_SUBJECTS}".split("|")
    return rng.choice(subjects), rng.choice(PREDICATES.split("|"))


def in_words(number: int) -> str:
    """Spell out a number below 1,000."""
    ones, tens = read_groups(NUMBERS)
    if number >= 100:
        rest = f" {in_words(number % 100)}" if number % 100 else ""
        return f"{ones[number // 100]} hundred{rest}"
    if number >= 20:
        return tens[number // 10] + (f"-{ones[number % 10]}" if number % 10 else "")
    return ones[number]


def draw_spelling(rng: Random) -> Item:
    """Draw a sentence in which two neighboring letters of a word are swapped, or one is lost."""
    sentence = rng.choice(" ".join(SPELLING.split()).replace("| ", "|").split("|"))
    before, word, after = re.split(r"\*(\w+)", sentence)
    at = rng.choice([i for i in range(1, len(word) - 2) if word[i] != word[i + 1]])
    slip = rng.choice((word[at + 1] + word[at], word[at + 1]))
    return Item(before + word[:at] + slip + word[at + 2 :] + after, before + word + after)


def draw_pair(block: str, answer: str) -> Callable[[Random], Item]:
    """Make the function of a kind that asks for the second word of a pair."""
    pairs = read_groups(block)

    def draw(rng: Random) -> Item:
        first, second = rng.choice(pairs)
        return Item(first, answer.format(first, second))

    return draw


def draw_form(block: str, suffix: str, answer: str) -> Callable[[Random], Item]:
    """Make the function of a kind that asks for an inflected form."""
    groups = read_groups(block)

    def draw(rng: Random) -> Item:
        word, *irregular = rng.choice(groups)
        return Item(word, answer.format(word, *irregular or [inflect(word, suffix)]))

    return draw


def draw_conversion(rng: Random) -> Item:
    """Draw an amount to convert."""
    if rng.random() < 0.1:
        degrees = rng.randrange(5, 101, 5)
        source, target, result = "degrees Celsius", "degrees Fahrenheit", degrees * 9 // 5 + 32
        return Item(f"{degrees} {source}", f"{degrees} {source} is {result} {target}.", target)
    source, target, factor = rng.choice(read_groups(CONVERSIONS))
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
    past, rest = rng.choice(read_rules(PASSIVES))
    participle, things = rest.split(maxsplit=1)
    thing = rng.choice(things.split("|"))
    agent = rng.choice([name for name in SINGULARS.split("|") if name not in ("she", "he")])
    be = "were" if thing.startswith("two ") else "was"
    return Item(
        f"{capital(agent)} {past} {thing}.", f"{capital(thing)} {be} {participle} by {agent}."
    )


def draw_sorting(rng: Random) -> Item:
    """Draw a list that is out of order."""
    wanted = rng.choice(SORTINGS.strip().split("\n"))
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
    verb, block = rng.choice((("names", CATEGORIES), ("is", WORD_CLASSES)))
    groups = read_rules(block)[:4]
    name, words = rng.choice(groups)
    word = rng.choice(words.split())
    *others, last = [article(group) for group, _ in groups]
    asked = f"{verb} {', '.join(others)} or {last}"
    return Item(word, f"The word {word} {verb} {article(name)}.", asked)


def draw_odd(rng: Random) -> Item:
    """Draw three words of one category and one of another."""
    (name, words), (_, other_words) = rng.sample(read_rules(CATEGORIES), 2)
    odd = rng.choice(other_words.split())
    shown = [odd, *rng.sample(words.split(), 3)]
    rng.shuffle(shown)
    reason = f"the others are {inflect(name, 's')}"
    return Item(", ".join(shown), f"The odd one out is {odd}, because {reason}.")


def draw_rhyme(rng: Random) -> Item:
    """Draw a word to find a rhyme for."""
    group = rng.choice(read_groups(RHYMES))
    at = rng.randrange(len(group))
    return Item(group[at], f"A word that rhymes with {group[at]} is {group[at - 1]}.")


def draw_capitals(rng: Random) -> Item:
    """Draw a sentence without capital letters and end mark."""
    sentence = state(*draw_statement(rng), rng.choice(("statement", "question")))
    return Item(sentence[:-1].lower(), sentence)


def draw_degree(rng: Random) -> Item:
    """Draw an adjective to compare."""
    word, *forms = rng.choice(read_groups(DEGREES))
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
    sequence = rng.choice([*read_groups(SEQUENCES), letters, numbers])
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
    "antonym": draw_pair(ANTONYMS, "The opposite of {} is {}."),
    "synonym": draw_pair(SYNONYMS, "A synonym for {} is {}."),
    "conversion": draw_conversion,
    "plural": draw_form(PLURALS, "s", "The plural of {} is {}."),
    "past": draw_form(PASTS, "ed", "The past tense of {} is {}."),
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
        seed: Seed of the one random generator behind every choice.

    Returns:
        The entries in file order, round by round, each round shuffled.
    """
    rng = Random(seed)
    rounds: list[list[Entry]] = [[] for _ in range(ROUNDS)]
    answers: set[str] = set()
    for at, (kind, rest) in enumerate(read_rules(PROMPTS)):
        items: dict[str, Item] = {}
        while len(items) < ROUNDS:
            item = KINDS[kind](rng)
            key = item_key(kind, item)
            if key not in items and (kind == "count" or item.answer not in answers):
                items[key] = item
                answers.add(item.answer)
        prompts = [prompt.strip() for prompt in rest.split("|")]
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
    parser = argparse.ArgumentParser(description="Generate the embedded instructions.")
    parser.add_argument("--out", type=Path, default=INSTRUCTIONS_PATH, metavar="FILE")
    parser.parse_args().out.write_bytes(to_json(make_entries()).encode())


if __name__ == "__main__":
    main()
