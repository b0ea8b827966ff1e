"""What a list of runs says where there is none, and how a wrong value is shown."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from reporting import run_folders

from llm_lightning.presentation.extras import is_installed

if not is_installed("gradio"):
    pytest.skip("Gradio is not installed", allow_module_level=True)
import gradio as gr

from llm_lightning.ui.context import Context, RunChooser, reported

pytestmark = [
    pytest.mark.slow,  # to import Gradio takes seconds
    pytest.mark.filterwarnings("ignore"),
]


def context(root: Path) -> Context:
    return Context([root], root / "arena.sqlite", {}, lambda _: None)


def test_an_empty_list_says_what_is_missing(tmp_path: Path) -> None:
    found = context(tmp_path)
    chooser = RunChooser(found, "Run", nothing="no run yet")
    assert (chooser.field.value, chooser.field.info) == (None, "no run yet")
    run = run_folders.write_classifier(tmp_path)
    later = chooser.update(None)
    assert (later.value, later.info) == (str(run), None)


def test_two_runs_are_compared_from_the_start(tmp_path: Path) -> None:
    runs = {str(run_folders.write_classifier(tmp_path, seed=seed)) for seed in (1, 2)}
    found = context(tmp_path)
    chosen = [RunChooser(found, "run", place=place).field.value for place in (0, 1)]
    assert set(chosen) == runs
    assert RunChooser(found, "run", place=7).field.value in runs


def test_a_wrong_value_is_told_and_nothing_else_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(gr, "Warning", told.append)

    @reported
    def call() -> str:
        raise ValueError("no <b>text</b>")

    @reported
    def stream() -> Iterator[str]:
        yield "a"
        raise OSError("gone")

    assert call() == gr.skip()
    assert list(stream()) == ["a", gr.skip()]
    assert told == ["no &lt;b&gt;text&lt;/b&gt;", "gone"]
