"""What a run says of its labelled texts when it starts."""

from collections.abc import Mapping
from typing import Any

from llm_lightning.presentation.plurals import counted

MAX_COUNTED_CLASSES = 12
"""Most classes whose examples a run counts one by one when it starts."""


def describe_splits(facts: Mapping[str, Any], *, truncate: str, num_train: int | None) -> list[str]:
    """Returns one line per split, one on lengths and leakage, and one on dropped texts, if any.

    Args:
        facts: what :meth:`.ClassificationData.facts` returns.
        truncate: which part a long text loses.
        num_train: how many training texts were asked for.
    """
    lines = []
    if facts["folds"] is not None:
        lines.append(f"fold {facts['fold']} of {facts['folds']} is the test split, counted from 0")
    for name, split in facts["splits"].items():
        counts = _counts_of_classes(split["class_counts"])
        cut = f", {split['truncated']:,} truncated" if split["truncated"] else ""
        lines.append(f"{name}: {split['examples']:,} ({counts}){cut}")
    lost = "" if truncate == "end" else f", longer texts lose their {truncate}"
    lines.append(
        f"at most {facts['max_length']} tokens{lost}, padding {facts['padding']}; "
        f"{facts['test_in_train']} of {facts['test_examples']} test texts also occur in "
        f"training"
    )
    return [*lines, *_describe_dropped(facts["rows_dropped"], num_train)]


def _describe_dropped(numbers: Mapping[str, int], num_train: int | None) -> list[str]:
    texts = {
        "contradictions": ("text", "with contradictory labels dropped"),
        "rare": ("text", "of rare classes dropped"),
        "duplicates": ("duplicate text", "dropped"),
        "undersampling": ("text", "dropped to balance the classes"),
        "num_train": ("training text", f"dropped by data.num_train={num_train}"),
    }
    parts = [
        f"{counted(number, texts[cause][0])} {texts[cause][1]}"
        for cause, number in numbers.items()
        if number
    ]
    return ["; ".join(parts)] if parts else []


def _counts_of_classes(counts: Mapping[str, int]) -> str:
    if len(counts) <= MAX_COUNTED_CLASSES:
        return ", ".join(f"{number:,} {class_name}" for class_name, number in counts.items())
    empty = sum(number == 0 for number in counts.values())
    without = f", {empty} of them without examples" if empty else ""
    return f"{len(counts)} classes of up to {max(counts.values()):,}{without}"
