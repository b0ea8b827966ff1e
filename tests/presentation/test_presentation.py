"""Durations, plurals, Markdown tables and missing extras, as people read them."""

import pytest
from rich.console import Console

from llm_lightning.presentation.durations import duration
from llm_lightning.presentation.extras import is_installed, missing_extra, require
from llm_lightning.presentation.markdown import literal, table
from llm_lightning.presentation.plurals import counted
from llm_lightning.presentation.progress import progress_bar


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (10, "10 s"), (89, "89 s"), (90, "1.5 min"), (5400, "1.5 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_nouns_agree_with_their_numbers() -> None:
    assert [counted(n, "row") for n in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]
    assert [counted(n, "reply", "replies") for n in (1, 2)] == ["1 reply", "2 replies"]


def test_a_markdown_table_survives_its_cells() -> None:
    expected = "| name | n |\n| --- | ---: |\n| a\\|b<br>c | 1 |"
    assert table(["name", "n"], [["a|b\nc", "1"]]) == expected
    assert literal("<b>*x*</b>\n") == "&lt;b&gt;\\*x\\*&lt;/b&gt;"


def test_a_module_is_looked_for_without_its_parent() -> None:
    assert is_installed("json.decoder")
    assert not is_installed("no_such_parent.child")


def test_a_missing_extra_is_named_with_the_line_that_installs_it() -> None:
    assert missing_extra("--format hf", {"json": "json"}, "export") is None
    require("--format hf", {"json": "json"}, "export")
    with pytest.raises(ValueError, match=r"--format hf needs nothere: .*llm-lightning\[export\]"):
        require("--format hf", {"json": "json", "nothere_": "nothere"}, "export")


def test_a_bar_shows_on_terminals_only() -> None:
    with progress_bar(console=Console(force_terminal=False), detail="loss") as bar:
        bar.add_task("training", total=2, loss="")
        assert bar.disable
    assert not progress_bar(console=Console(force_terminal=True)).disable
