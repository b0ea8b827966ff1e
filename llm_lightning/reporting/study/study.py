"""All runs below some folders, sorted into the parts of one page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_lightning.reporting.study import language
from llm_lightning.reporting.study.classification import TestSet, make_test_sets
from llm_lightning.reporting.study.reading import find_folders, read_run
from llm_lightning.reporting.study.rows import Row, find_row, make_rows
from llm_lightning.reporting.study.runs import Problem, Run
from llm_lightning.reporting.study.summary_rules import KINDS


@dataclass(frozen=True)
class Study:
    """What the page shows."""

    title: str
    lead: str
    """What was read, in a sentence."""
    test_sets: list[TestSet]
    """Classifiers."""
    instructions: list[language.Chapter]
    texts: list[language.Chapter]
    problems: list[Problem]

    @property
    def rows(self) -> list[Row]:
        """All of them, in the order of the page."""
        chapters = [*self.instructions, *self.texts]
        rows = [row for found in self.test_sets for row in found.rows]
        return rows + [row for chapter in chapters for row in chapter.rows]


def read_study(
    roots: Sequence[Path],
    *,
    reference: str | None = None,
    spam_share: float | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Study:
    """Reads run folders and compares what can be compared.

    Args:
        roots: folders with run folders anywhere below them, or run folders.
        reference: label, folder or experiment of the row that others are compared with; None takes
            row_01, last_block or the first network of each test set.
        spam_share: share of the positive class outside the test set, between 0 and 1; None takes
            that of the SMS collection for ham and spam.
        progress: gets a line about what is being done.

    Raises:
        ValueError: naming the folder or row, if a root is missing, no run is there, or no row is
            called ``reference``.
    """
    for root in roots:
        if not root.is_dir():
            raise ValueError(f"RUNS_DIR must be an existing folder, got {root}")
    folders = find_folders(roots)
    runs: list[Run] = []
    problems: list[Problem] = []
    for number, (folder, shown) in enumerate(folders.items(), 1):
        progress(f"reading run {number} of {len(folders)}")
        run, found = read_run(folder, shown)
        problems += found
        if run is not None:
            runs.append(run)
    if not runs:
        where = ", ".join(map(str, roots))
        if not problems:
            raise ValueError(f"RUNS_DIR must hold run folders, got none in {where}")
        first = problems[0]
        raise ValueError(
            f"RUNS_DIR must hold finished runs, got {len(problems)} without results in {where}; "
            f"{first.shown}: {first.state}, {first.reason}"
        )
    kinds = {kind: make_rows([run for run in runs if run.kind == kind]) for kind in KINDS}
    study = Study(
        title="What the runs show",
        lead=_lead(runs, sum(map(len, kinds.values())), problems),
        test_sets=make_test_sets(kinds["classification"], reference, spam_share, progress),
        instructions=language.make_chapters(kinds["instructions"], reference),
        texts=language.make_chapters(kinds["text"], reference),
        problems=problems,
    )
    if reference is not None and find_row(study.rows, reference) is None:
        names = ", ".join(row.label for row in study.rows)
        raise ValueError(f"--baseline-row must be one of {names}, got {reference!r}")
    return study


def _lead(runs: Sequence[Run], num_rows: int, problems: Sequence[Problem]) -> str:
    num_out = len({problem.shown for problem in problems if problem.state != "used"})
    kinds = {
        "classification": "classifiers",
        "instructions": "instructions",
        "text": "perplexities",
    }
    there = [name for kind, name in kinds.items() if any(run.kind == kind for run in runs)]
    runs_word = "run" if len(runs) == 1 else "runs"
    rows_word = "row" if num_rows == 1 else "rows"
    out = f" {num_out} more had nothing to report; they are listed at the end." if num_out else ""
    return f"{len(runs)} {runs_word} in {num_rows} {rows_word}: {', '.join(there)}.{out}"
