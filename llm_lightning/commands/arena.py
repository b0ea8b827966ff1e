"""``python -m llm_lightning arena RUN_A RUN_B``: people compare responses, blind.

The votes are in an SQLite file; the same command goes on where it stopped.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape

from llm_lightning.commands.failures import refused
from llm_lightning.evaluation.arena.arena import Arena, next_pair, open_arena, record_vote
from llm_lightning.evaluation.arena.judged import judged_agreements
from llm_lightning.evaluation.arena.ratings import Agreement, Ratings, ratings
from llm_lightning.evaluation.arena.votes import add_votes, read_csv, write_csv
from llm_lightning.presentation.plurals import counted
from llm_lightning.presentation.terminal import console, facts_grid, results_table

_KEYS = {"a": "left", "b": "right", "t": "tie", "x": "both_bad"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        arena = open_arena(options.runs, options.database)
        if options.add is not None:
            added = add_votes(options.database, read_csv(options.add))
            console.print(f"{counted(added, 'vote')} added from {escape(str(options.add))}")
        if options.vote:
            _vote(arena, options.voter)
        votes, others = arena.votes()
        if options.export is not None:
            write_csv(options.export, votes)
        rated = ratings(votes, arena.runs)
        judged = judged_agreements(options.runs, arena, votes)
    except (ValueError, OSError) as error:
        return refused(error)
    if options.json:
        report = rated.report() | {"left_out": others}
        print(json.dumps(report | {"judges": {k: asdict(v) for k, v in judged.items()}}))
        return 0
    _print(rated, judged)
    if arena.identical:
        console.print(f"{counted(arena.identical, 'pair')} of equal responses not put to the vote")
    if arena.left_out:
        console.print(f"{counted(arena.left_out, 'task')} left out: not every run has a response")
    if others:
        console.print(
            f"{counted(others, 'vote')} left out: about other runs, or responses that changed since"
        )
    facts = facts_grid()
    facts.add_row("votes", escape(str(options.database)))
    if options.export is not None:
        facts.add_row("exported", escape(str(options.export)))
    console.print(facts)
    return 0


def _vote(arena: Arena, voter: str) -> None:
    """Asks until the voter stops or has seen every pair."""
    print("Which response is better? a / b, t: a tie, x: both bad, q: stop")
    while (pair := next_pair(arena, voter)) is not None:
        print(f"\n{pair.task}\n\n--- A ---\n{pair.left}\n\n--- B ---\n{pair.right}\n")
        choice = ""
        while choice not in _KEYS:
            print("a / b / t / x / q> ", end="", flush=True)
            choice = sys.stdin.readline()
            if not choice or choice.strip().lower() == "q":
                print()
                return
            choice = choice.strip().lower()
        record_vote(arena, pair, _KEYS[choice], voter)
    print("There is no further pair for you.")


def _print(rated: Ratings, judged: dict[str, Agreement]) -> None:
    table = results_table(
        "run", "rating", "95 % interval", "votes", "won", "lost", "tied", "both\nbad"
    )
    table.columns[0].overflow = "fold"
    for one in rated.runs:
        interval = f"{one.interval.low:.0f} to {one.interval.high:.0f}"
        counts = (one.votes, one.wins, one.losses, one.ties, one.both_bad)
        table.add_row(escape(one.run), f"{one.rating:.0f}", interval, *map(str, counts))
    console.print(table)
    console.print(
        f"Bradley-Terry on Elo's scale, from {counted(rated.num_votes, 'vote')} about "
        f"{counted(rated.num_tasks, 'task')}"
    )
    if line := rated.position.sentence("the left response was preferred in", "votes"):
        console.print(line)
    for name, found in judged.items():
        kappa = "undefined" if found.kappa is None else f"{found.kappa:.2f}"
        console.print(
            escape(
                f"agreement with {name}: {found.same} of {counted(found.votes, 'vote')}, "
                f"Cohen's kappa {kappa}"
            )
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning arena",
        description="Rates runs by people's blind votes on their responses to the same tasks.",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="two or more run folders")
    parser.add_argument(
        "--database",
        type=Path,
        default=Path("arena.sqlite"),
        help="file of the votes (default: %(default)s)",
    )
    parser.add_argument("--vote", action="store_true", help="vote here, in the terminal")
    parser.add_argument("--voter", default="", help="who votes; nobody sees a pair twice")
    parser.add_argument("--export", type=Path, metavar="CSV", help="write the votes to a file")
    parser.add_argument("--add", type=Path, metavar="CSV", help="add votes that were exported")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser
