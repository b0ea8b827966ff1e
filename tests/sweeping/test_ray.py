"""What a sweep says of tasks that a Ray cluster has lost."""

import pytest

from llm_lightning.sweeping.ray_cluster import why

exceptions = pytest.importorskip("ray.exceptions")


def test_a_failed_task_is_named_by_what_it_raised() -> None:
    cause = ValueError("no such column: text\nmore of it")
    trace = "ray::_run() (pid=7)\n  File ...\nValueError: no such column: text"
    raised = exceptions.RayTaskError("_run", trace, cause)
    assert why(raised.as_instanceof_cause()) == "ValueError: no such column: text"
    assert why(exceptions.WorkerCrashedError()).startswith("WorkerCrashedError: The worker died")
