"""What is put to the vote: responses of several runs to the same tasks, in pairs."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from llm_lightning.evaluation.arena.votes import Vote, add_votes, digest, now, read_votes
from llm_lightning.evaluation.judging.items import Item, read_items
from llm_lightning.run_format.responses import responses_file


@dataclass(frozen=True)
class Pair:
    """Two responses to one task. Who wrote them is for the record and not for the voter."""

    item: str
    """Digest of the task and its reference."""
    task: str
    reference: str
    left: str
    right: str
    left_run: str = field(repr=False)
    right_run: str = field(repr=False)


@dataclass(frozen=True)
class Arena:
    """Runs whose responses to shared tasks are compared."""

    database: Path
    """SQLite file of the votes."""
    responses: dict[str, dict[str, Item]]
    """By run, and then by the digest of the task: only tasks that all runs share."""
    left_out: int
    """Tasks that some run has no response to."""
    identical: int
    """Pairs of equal responses, which are put to nobody."""

    @property
    def runs(self) -> list[str]:
        """Names of the runs, in the order in which they were given."""
        return list(self.responses)

    def votes(self) -> tuple[list[Vote], int]:
        """Returns the votes about these responses, and how many others there are.

        The others are about runs that are not in the arena, or responses that changed since.
        """
        every = read_votes(self.database)
        current = [vote for vote in every if self._is_current(vote)]
        return current, len(every) - len(current)

    def _is_current(self, vote: Vote) -> bool:
        sides = ((vote.left_run, vote.left_digest), (vote.right_run, vote.right_digest))
        items = [(self.responses.get(run, {}).get(vote.item), found) for run, found in sides]
        return all(item is not None and digest(item.response) == of for item, of in items)


def open_arena(runs: Sequence[Path], database: Path) -> Arena:
    """Reads the responses of runs.

    Args:
        runs: two or more run folders, or files of responses.
        database: SQLite file of the votes, which need not exist.

    Raises:
        ValueError: if there are fewer than two runs, or no responses, or no shared task.
    """
    if len(runs) < 2:
        raise ValueError(f"an arena needs at least two runs, got {len(runs)}")
    found = {}
    for path, name in zip(runs, _names(runs), strict=True):
        found[name] = by_task(read_items(responses_file(path)))
    every = list(dict.fromkeys(key for items in found.values() for key in items))
    shared = [key for key in every if all(key in items for items in found.values())]
    if not shared:
        raise ValueError(
            "these runs share no task (same instruction, input and output): give runs with "
            "responses to the same test split"
        )
    responses = {name: {key: items[key] for key in shared} for name, items in found.items()}
    identical = sum(
        responses[a][key].response == responses[b][key].response
        for key in shared
        for a, b in combinations(responses, 2)
    )
    return Arena(database, responses, len(every) - len(shared), identical)


def by_task(items: Iterable[Item]) -> dict[str, Item]:
    """Returns items by a digest of task and reference; repeated ones are numbered."""
    seen: Counter[tuple[str, str]] = Counter()
    found = {}
    for item in items:
        task = (item.task, item.reference)
        found[digest(*task, str(seen[task]))] = item
        seen[task] += 1
    return found


def next_pair(arena: Arena, voter: str = "", seed: int = 123) -> Pair | None:
    """Returns the next pair for a voter: of those that had the fewest votes, one at random.

    The same votes give the same pair, so that whoever comes back is asked the same again.

    Args:
        arena: what is compared.
        voter: who is asked; nobody is asked about a pair twice.
        seed: of the choice among equals, and of left and right.

    Returns:
        The pair, its sides shuffled; ``None`` if the voter has seen them all.
    """
    votes, _ = arena.votes()
    counts = Counter((vote.item, frozenset((vote.left_run, vote.right_run))) for vote in votes)
    own = {
        (vote.item, frozenset((vote.left_run, vote.right_run)))
        for vote in votes
        if vote.voter == voter
    }
    open_pairs = [
        (item, runs)
        for item in arena.responses[arena.runs[0]]
        for runs in combinations(arena.runs, 2)
        if (item, frozenset(runs)) not in own
        and arena.responses[runs[0]][item].response != arena.responses[runs[1]][item].response
    ]
    if not open_pairs:
        return None
    fewest = min(counts[item, frozenset(runs)] for item, runs in open_pairs)
    least = [pair for pair in open_pairs if counts[pair[0], frozenset(pair[1])] == fewest]
    chance = random.Random(f"{seed} {voter} {len(votes)}")
    item, runs = chance.choice(least)
    left, right = chance.sample(runs, 2)
    of_left, of_right = arena.responses[left][item], arena.responses[right][item]
    return Pair(
        item=item,
        task=of_left.task,
        reference=of_left.reference,
        left=of_left.response,
        right=of_right.response,
        left_run=left,
        right_run=right,
    )


def record_vote(arena: Arena, pair: Pair, choice: str, voter: str = "") -> Vote:
    """Stores a vote.

    Args:
        arena: what is compared.
        pair: from :func:`next_pair`.
        choice: one of ``CHOICES``.
        voter: who chose.

    Raises:
        ValueError: if the choice is none, or the database cannot be used.
    """
    vote = Vote(
        item=pair.item,
        left_run=pair.left_run,
        right_run=pair.right_run,
        left_digest=digest(pair.left),
        right_digest=digest(pair.right),
        choice=choice,
        voter=voter,
        voted_at=now(),
    )
    add_votes(arena.database, [vote])
    return vote


def _names(runs: Sequence[Path]) -> list[str]:
    """A name for each run: as few of the last parts of its path as tell all of them apart."""
    parts = [path.absolute().parts for path in runs]
    if len(set(parts)) < len(parts):
        raise ValueError("a run was named twice: an arena compares different runs")
    for length in range(2, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path.absolute()) for path in runs]
