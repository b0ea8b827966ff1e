"""The scores that a judge gave the responses in an arena."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llm_lightning.evaluation.arena.arena import Arena, by_task
from llm_lightning.evaluation.arena.ratings import Agreement, agreement
from llm_lightning.evaluation.arena.votes import Vote
from llm_lightning.evaluation.judging.items import read_items
from llm_lightning.run_format.files import JUDGEMENTS
from llm_lightning.run_format.responses import responses_file


def judged_agreements(
    runs: Sequence[Path], arena: Arena, votes: Sequence[Vote]
) -> dict[str, Agreement]:
    """Compares votes with every judge that scored at least two of the runs.

    Args:
        runs: as the arena was opened with.
        arena: of these runs.
        votes: about them.

    Returns:
        By the name of the judge's files.

    Raises:
        ValueError: naming a file that is damaged.
    """
    scores: dict[str, dict[str, dict[str, float | None]]] = {}
    for path, run in zip(runs, arena.runs, strict=True):
        responses = responses_file(path)
        keys = list(by_task(read_items(responses)))
        for file in sorted(responses.parent.glob(JUDGEMENTS)):
            found = _read(file)
            if found.get("responses") == responses.name:
                scores.setdefault(file.name, {})[run] = _by_key(found, keys, file)
    return {name: agreement(votes, by_run) for name, by_run in scores.items() if len(by_run) > 1}


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    return found if isinstance(found, dict) else {}


def _by_key(found: dict[str, Any], keys: list[str], file: Path) -> dict[str, float | None]:
    try:
        return {keys[int(item["index"])]: item["score"] for item in found["items"]}
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"{file} does not belong to these responses ({error!r})") from error
