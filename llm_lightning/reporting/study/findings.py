"""The first sentences of the page: what the numbers say, and what they do not."""

from collections.abc import Sequence

from llm_lightning.reporting.study import language
from llm_lightning.reporting.study.classification import TestSet
from llm_lightning.reporting.study.rows import Row

MAX_NAMED = 4
"""Most rows that a sentence names."""


def of_test_set(found: TestSet) -> list[str]:
    """Sentences about classifiers on one set of test messages."""
    real = [row for row in found.rows if not row.stand_in]
    sentences = []
    if networks := [row for row in real if not row.is_baseline]:
        sentences += _best(found, networks, [row for row in real if row.is_baseline])
    sentences += _compared(found)
    if found.verdicts:
        sentences.append(_published(found))
    sentences += _cautions(found)
    return sentences


def _best(found: TestSet, networks: Sequence[Row], baselines: Sequence[Row]) -> list[str]:
    accuracy = {row.number: row.mean("test", "accuracy") or 0.0 for row in found.rows}
    best = max(networks, key=lambda row: accuracy[row.number])
    sentences = []
    if best.wilson is not None:
        which = (
            f"has the highest test accuracy of {len(networks)} networks:"
            if len(networks) > 1
            else "reaches a test accuracy of"
        )
        sentences.append(
            f"{_quoted(best)} {which} {_percent(accuracy[best.number])} % on {found.num_examples} "
            f"messages; the choice of messages alone leaves it anywhere from "
            f"{100 * best.wilson.low:.1f} to {100 * best.wilson.high:.1f} %."
        )
    if baselines:
        bar = max(baselines, key=lambda row: accuracy[row.number])
        above = [row for row in networks if accuracy[row.number] > accuracy[bar.number]]
        who = "No network lies" if not above else f"{_of(len(above), len(networks), 'network')} lie"
        who = who.replace("1 of 1 network lie", "The network lies")
        sentences.append(
            f"{who} above the best baseline, {_quoted(bar)} with "
            f"{_percent(accuracy[bar.number])} %, which needs no network at all."
        )
    else:
        sentences.append(_no_baseline(found))
    return sentences


def _no_baseline(found: TestSet) -> str:
    majority = found.card.majority_accuracy
    known = (
        f" Always naming the class that is most frequent in training gives {_percent(majority)} %."
        if majority is not None
        else ""
    )
    return (
        f"No baseline was run on these messages.{known} "
        f"`python -m llm_lightning -m '+experiment=glob(baseline_*)'` with the same data settings "
        f"adds four within seconds."
    )


def _compared(found: TestSet) -> list[str]:
    comparisons = found.comparisons
    if comparisons.reference is None or not comparisons.found:
        return []
    sentences = []
    different = [comparison for comparison in comparisons.found if comparison.differs]
    name = _quoted(comparisons.reference)
    total = _count(len(comparisons.found), "row")
    if different:
        names = _list([f"{_quoted(c.row)} ({_points(c.difference.mean)})" for c in different])
        sentences.append(
            f"Against {name}, {len(different)} of {total} can be told apart after correcting for "
            f"{_count(len(comparisons.found), 'test')} (difference in points): {names}."
        )
    else:
        sentences.append(
            f"None of {total} can be told from {name} after correcting for "
            f"{_count(len(comparisons.found), 'test')}. That is no proof that they are equal."
        )
    if comparisons.resolution is not None:
        sentences.append(
            f"As a rule, differences below about {100 * comparisons.resolution:.1f} points cannot "
            f"be told apart on {found.num_examples} messages; one message is "
            f"{100 / found.num_examples:.2f} points."
        )
    return sentences


def _published(found: TestSet) -> str:
    words = [verdict.word for verdict in found.verdicts.values()]
    said = {
        "within interval": "agree within the interval",
        "differs": "differ beyond it",
        "not comparable": "cannot be compared",
    }
    parts = [f"{words.count(word)} {text}" for word, text in said.items() if word in words]
    return f"Of {_count(len(words), 'row')} with a published value, {_list(parts)}."


def _cautions(found: TestSet) -> list[str]:
    sentences = []
    stand_ins = [row for row in found.rows if row.stand_in]
    if stand_ins:
        sentences.append(
            f"{_count(len(stand_ins), 'row')} used stand-ins for data or weights that could not be "
            f"had, and say nothing about the real thing: {_list([_quoted(r) for r in stand_ins])}."
        )
    single = [row for row in found.rows if len(row.runs) == 1 and not row.is_baseline]
    if single:
        sentences.append(
            f"{_count(len(single), 'network')} ran with one seed only: how much "
            f"{'its number moves' if len(single) == 1 else 'their numbers move'} with the seed is "
            f"not known."
        )
    if found.card.test_in_train:
        sentences.append(
            f"{found.card.test_in_train} of the test split's messages also stand in training word "
            f"for word, which flatters every row."
        )
    if found.mistakes:
        hardest = found.mistakes[0]
        sentences.append(
            f"{_count(len(found.mistakes), 'message')} of {found.num_examples} "
            f"{'is' if len(found.mistakes) == 1 else 'are'} missed by some run, the hardest by "
            f"{hardest.num_wrong} of {found.num_voters}."
        )
    return sentences


def of_instructions(chapter: language.Chapter) -> list[str]:
    """Sentences about answers to one set of test instructions."""
    sentences = []
    real = [row for row in chapter.rows if not row.stand_in]
    scored = [(row, language.answer_score(row, "rouge_l")) for row in real]
    known = [(row, score) for row, score in scored if score is not None]
    if known:
        row, score = max(known, key=lambda pair: pair[1].mean)
        interval = score.interval
        ends = f" ({100 * interval.low:.1f} to {100 * interval.high:.1f})" if interval else ""
        sentences.append(
            f"{_quoted(row)} comes closest to the references: ROUGE-L {100 * score.mean:.1f} %"
            f"{ends}."
        )
    for row, differences in chapter.differences:
        difference = differences.get("rouge_l")
        if difference is not None and chapter.reference is not None:
            shown = "cannot be told from" if difference.interval.holds(0) else "differs from"
            sentences.append(
                f"{_quoted(row)} {shown} {_quoted(chapter.reference)} by ROUGE-L: "
                f"{_points(difference.mean)} points ({_points(difference.interval.low)} to "
                f"{_points(difference.interval.high)})."
            )
    if any(row.stand_in for row in chapter.rows):
        sentences.append("Rows marked as stand-ins say nothing about the real data or weights.")
    return sentences[: 1 + 2 * MAX_NAMED]


def _quoted(row: Row) -> str:
    return f"`{row.label}`"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _of(part: int, whole: int, word: str) -> str:
    return f"{part} of {_count(whole, word)}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "\N{MINUS SIGN}")


def _list(names: Sequence[str]) -> str:
    shown = list(names[:MAX_NAMED])
    if len(names) > MAX_NAMED:
        shown.append(f"{len(names) - MAX_NAMED} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
