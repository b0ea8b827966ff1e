"""``judge RUN_A --against RUN_B``: which run's responses does the judge prefer?"""

import json
import re
from pathlib import Path

from rich.markup import escape

from llm_lightning.evaluation.judging.head_to_head import HeadToHead, head_to_head
from llm_lightning.evaluation.judging.items import read_items
from llm_lightning.evaluation.judging.judgement import Settings
from llm_lightning.evaluation.judging.reply_cache import write_json
from llm_lightning.presentation.plurals import counted
from llm_lightning.presentation.terminal import console, facts_grid, results_table
from llm_lightning.run_format.file_digest import file_sha256
from llm_lightning.run_format.responses import responses_file
from llm_lightning.runs.held_folder import held


def duel(a: Path, b: Path, settings: Settings, limit: int | None) -> tuple[HeadToHead, Path, Path]:
    """Compares two runs and writes the verdicts beside the first run's responses.

    Args:
        a: run folder, or a file of its responses.
        b: the other.
        settings: of the judge.
        limit: only the first run's first responses; ``None``: all.

    Returns:
        The comparison, the file it was written to, and the second run's responses.

    Raises:
        ValueError: as from :func:`~.head_to_head.head_to_head`, and its other errors.
        FolderHeld: if another process works on the first run.
    """
    of_a, of_b = responses_file(a), responses_file(b)
    if of_a.resolve() == of_b.resolve():
        raise ValueError(f"--against {b} is the same run: an answer has no other to stand against")
    items_a, items_b = read_items(of_a)[:limit], read_items(of_b)
    model = re.sub(r"[^A-Za-z0-9._-]+", "_", settings.model)
    file = of_a.with_name(f"pairs-{model}-against-{file_sha256(of_b)[:8]}.json")
    with held(of_a.parent, by_others="compare these responses after it has ended"):
        found = head_to_head(items_a, items_b, settings)
        write_json(file, {"a": of_a.name, "b": str(of_b), **found.report()})
    return found, file, of_b


def print_duel(found: HeadToHead, file: Path, of_b: Path, as_json: bool) -> None:
    """Prints a comparison.

    Args:
        found: what the judge said.
        file: of the verdicts, beside the first run's responses.
        of_b: the second run's responses.
        as_json: whether as one JSON object.
    """
    report = found.report()
    counts = report["counts"]
    if as_json:
        del report["verdicts"]  # they are in the file
        print(json.dumps({"file": str(file), **report}))
        return
    table = results_table("A wins", "95 % interval", "A", "B", "tie", "changed\nwith order")
    share = found.share_of_a
    table.add_row(
        "undefined" if share is None else f"{share.mean:.1%}",
        "" if share is None else f"{share.interval.low:.1%} to {share.interval.high:.1%}",
        *(str(counts[key]) for key in ("a", "b", "tie", "changed_with_order")),
    )
    console.print(table)
    if counts["changed_with_order"]:
        console.print(
            f"{counted(counts['changed_with_order'], 'verdict')} changed with the order of the "
            f"responses: counted as a tie"
        )
    if line := found.position.sentence("the response that stood first won", "replies"):
        console.print(line)
    if counts["unparsed"]:
        console.print(f"{counted(counts['unparsed'], 'task')} without a clear reply in both orders")
    if counts["identical"]:
        console.print(f"{counted(counts['identical'], 'pair')} of equal responses: ties, not asked")
    if found.only_a or found.only_b:
        console.print(f"left out: {found.only_a} only in A, {found.only_b} only in B")
    facts = facts_grid()
    facts.add_row("A", escape(str(file.parent)))
    facts.add_row("B", escape(str(of_b.parent)))
    facts.add_row("file", escape(str(file)))
    console.print(facts)
