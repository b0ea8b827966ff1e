"""Runs the harness's tasks with a model and returns the harness's results."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from unittest.mock import patch

from llm_lightning.evaluation.harness.model import HarnessModel
from llm_lightning.network import Unavailable, innermost, offline


def run_tasks(
    model: HarnessModel,
    tasks: Sequence[str],
    manager: Any,
    *,
    shots: int | None = None,
    limit: int | None = None,
    chat: bool = False,
    bootstraps: int = 100_000,
) -> dict[str, Any]:
    """Evaluates a model on tasks of lm-evaluation-harness.

    Args:
        model: the model.
        tasks: names of tasks, groups or tags.
        manager: that knows them, from :func:`find_tasks`.
        shots: solved examples ahead of each question; ``None``: as each task has it.
        limit: only the first examples of each task; ``None``: all.
        chat: whether questions are put in the model's prompt style.
        bootstraps: resamplings for the standard error of metrics that are no means.

    Returns:
        The harness's results, without samples.

    Raises:
        ValueError: if a task's files or settings are wrong.
        Unavailable: if a task's data cannot be downloaded.
    """
    from lm_eval import simple_evaluate

    try:
        with bars_on_terminals_only():
            results: dict[str, Any] | None = simple_evaluate(
                model=model,
                tasks=list(tasks),
                task_manager=manager,
                num_fewshot=shots,
                limit=limit,
                apply_chat_template=chat,
                bootstrap_iters=bootstraps,
                log_samples=False,
            )
    except FileNotFoundError as error:
        raise ValueError(f"--tasks {','.join(tasks)}: {error}") from error
    except OSError as error:  # ConnectionError among them
        raise Unavailable(
            f"the data of {', '.join(tasks)}",
            innermost(error),
            "connect to the Hub once, which caches them, or bring tasks of your own with --include",
        ) from error
    if results is None:
        raise ValueError("the harness gave no results: it ran in a process that is not the first")
    return results


@contextmanager
def bars_on_terminals_only() -> Iterator[None]:
    """Keeps the harness's progress bars out of files.

    They are tqdm's, which draws into anything unless ``disable`` is ``None``; the harness and the
    library that reads its data say ``False``.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]

    original = tqdm.__init__

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        options["disable"] = options.get("disable") or None
        original(self, *arguments, **options)

    with patch.object(tqdm, "__init__", init):
        yield


def find_tasks(tasks: Sequence[str], include: Path | None) -> Any:
    """Returns the harness's TaskManager, which knows some tasks.

    Args:
        tasks: names of tasks, groups or tags.
        include: folder with task files (YAML) of the user's own; ``None``: the harness's alone.

    Raises:
        ValueError: if there is no such task; with the nearest names.
    """
    if offline():
        os.environ.setdefault("HF_DATASETS_OFFLINE", "1")  # read when datasets is imported
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    if include is not None:
        # To read the names of the harness's own fourteen thousand tasks takes seconds.
        manager: Any = TaskManager(include_path=str(include), include_defaults=False)
        if set(tasks) <= set(manager.all_tasks):
            return manager
    manager = TaskManager(include_path=str(include) if include else None)
    check_tasks(tasks, manager.all_tasks)
    return manager


def check_tasks(wanted: Sequence[str], known: Sequence[str]) -> None:
    """Refuses tasks that do not exist.

    Raises:
        ValueError: with the nearest names that do.
    """
    for task in wanted:
        if task not in known:
            close = get_close_matches(task, known, n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise ValueError(f"--tasks: there is no task {task!r} among {len(known)}{hint}")
