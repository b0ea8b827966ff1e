"""What ``judge RUN`` prints: scores, what got none, and the difference of two runs."""

from collections import Counter
from pathlib import Path

from rich.markup import escape

from llm_lightning.evaluation.judging.difference import JudgedDifference
from llm_lightning.evaluation.judging.judgement import Judgement
from llm_lightning.presentation.harmless import json_line
from llm_lightning.presentation.plurals import counted
from llm_lightning.presentation.terminal import console, errors, facts_grid, results_table

_MOST_FAILED = 5
"""Most items without a reply that the terminal names."""


def json_of(file: Path, judgement: Judgement) -> str:
    """Returns a judgement without its items, as one line of JSON."""
    report = judgement.report()
    del report["items"]  # they are in the file
    return json_line({"file": str(file), **report})


def print_judgement(judgement: Judgement, file: Path) -> None:
    """Prints the scores, what got none, and how they were made."""
    report = judgement.report()
    counts = report["counts"]
    rubric, identity = judgement.settings.rubric, judgement.identity
    table = results_table(
        f"{rubric.name}\n{rubric.lowest} to {rubric.highest}",
        # Two lines where one would make the table wider than 80 columns.
        *("mean", "95 % interval", "standard\nerror", "scored", "empty", "unparsed"),
    )
    table.columns[0].overflow = "fold"
    table.add_row(
        escape(identity.model),
        _number(report["mean"]),
        f"{_number(report['low'])} to {_number(report['high'])}",
        _number(report["standard_error"]),
        f"{counts['scored']}/{counts['items']}",
        str(counts["empty"]),
        str(counts["unparsed"]),
    )
    console.print(table)
    without_score = counts["unparsed"] + counts["failed"]
    if without_score:
        bounds = report["bounds"]
        console.print(
            f"{without_score} of {counts['items'] - counts['empty']} responses have no score: the "
            f"mean over all items is between {_number(bounds['low'])} and "
            f"{_number(bounds['high'])}"
        )
        reasons = Counter(
            one.reason for one in judgement.item_scores if one.reason and not one.failed
        )
        for reason, count in reasons.most_common():
            console.print(f"  {counted(count, 'reply', 'replies')}: {reason}")
    print_failed(judgement)
    if judgement.left_out:
        refused = ", ".join(judgement.left_out)
        errors.print(
            f"the server refused {refused}: left out, so that its own default counts",
            style="yellow",
        )
    facts = facts_grid()
    version = ", ".join(report["server_versions"]) or "of unknown version"
    facts.add_row("judge", escape(f"{identity.model} ({identity.digest or 'no digest'})"))
    facts.add_row("server", escape(f"{identity.api} {version} at {identity.url}"))
    facts.add_row("cached", f"{counts['cached']} of the replies are from earlier calls")
    facts.add_row("file", escape(str(file)))
    console.print(facts)
    console.print()


def print_failed(judgement: Judgement) -> None:
    """Names the items that got no reply."""
    failed = [(n, one.reason) for n, one in enumerate(judgement.item_scores) if one.failed]
    for index, reason in failed[:_MOST_FAILED]:
        errors.print(f"[yellow]no reply[/yellow] to entry {index}: {escape(str(reason))}")
    if len(failed) > _MOST_FAILED:
        errors.print(f"and {len(failed) - _MOST_FAILED} more, in the file")
    if failed:
        errors.print("The same command asks for these again.")


def print_difference(judged: JudgedDifference, a: Path, b: Path) -> None:
    """Prints how far two runs are apart."""
    difference, interval = judged.difference, judged.difference.interval
    table = results_table(
        f"{difference.n} items scored on both sides",
        *("mean", "95 % interval", "standard error", "p"),
    )
    table.add_row("A", _number(judged.mean_a))
    table.add_row("B", _number(judged.mean_b))
    table.add_row(
        "B - A",
        f"{difference.mean:+.2f}",
        f"{interval.low:+.2f} to {interval.high:+.2f}",
        _number(difference.standard_error),
        f"{difference.p_value():.3f}",
    )
    console.print(table)
    runs = facts_grid()
    runs.add_row("A", escape(str(a)))
    runs.add_row("B", escape(str(b)))
    console.print(runs)
    left_out = {
        "only in A": judged.only_a,
        "only in B": judged.only_b,
        "without a score on both sides": judged.unscored,
    }
    if parts := [f"{count} {why}" for why, count in left_out.items() if count]:
        console.print(f"{judged.shared} items are shared; left out: {', '.join(parts)}")
    if interval.holds(0):
        console.print("The interval contains 0: these items do not tell the two apart.")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"
