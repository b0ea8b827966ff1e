"""A function that hands values over, read as an iterator."""

from collections.abc import Callable

import pytest

from llm_lightning.backbone.huggingface.pushed_values import pushed_values


def test_the_function_runs_only_while_a_value_is_waited_for() -> None:
    events = []

    def count(push: Callable[[int], None]) -> None:
        for number in range(3):
            events.append(f"made {number}")
            push(number)
        events.append("ended")

    values = pushed_values(count)
    assert events == []
    for value in values:
        events.append(f"got {value}")
    assert events == ["made 0", "got 0", "made 1", "got 1", "made 2", "got 2", "ended"]


def test_an_error_of_the_function_is_the_readers() -> None:
    def fail(push: Callable[[int], None]) -> None:
        push(1)
        raise ValueError("no more")

    values = pushed_values(fail)
    assert next(values) == 1
    with pytest.raises(ValueError, match="no more"):
        next(values)


def test_closing_ends_the_function_where_it_is() -> None:
    events = []

    def count(push: Callable[[int], None]) -> None:
        try:
            for number in range(100):
                push(number)
        finally:
            events.append("cleaned up")

    values = pushed_values(count)
    assert next(values) == 0
    values.close()
    assert events == ["cleaned up"]
    assert list(values) == []


def test_closing_before_the_first_value_never_starts_it() -> None:
    events = []
    pushed_values(events.append).close()
    assert events == []
