"""Which rows are compared with each other although data or weights were replaced."""

from pathlib import Path
from typing import Any

import pytest
from reporting import run_folders
from reporting.run_folders import DATA_FALLBACK, NANO, WEIGHTS_FALLBACK
from reporting.test_page import render

from llm_lightning.reporting.analyse.classifiers import ClassifierChapter
from llm_lightning.reporting.analyse.findings import classifier_findings
from llm_lightning.reporting.analyse.study import read_study
from llm_lightning.reporting.render.markdown_tables import as_markdown

OFFLINE = [DATA_FALLBACK, WEIGHTS_FALLBACK]


def only_chapter(root: Path, reference: str | None = None) -> ClassifierChapter:
    (chapter,) = read_study([root], reference=reference).classifiers
    return chapter


def compared(root: Path, reference: str | None = None) -> tuple[str, list[str], dict[str, str]]:
    """The reference, the rows compared with it, and why others are not."""
    found = only_chapter(root, reference).comparisons
    assert found.reference is not None
    return (
        found.reference.experiment,
        [comparison.row.experiment for comparison in found.found],
        {row.experiment: reason for row, reason in found.left_out},
    )


@pytest.fixture
def offline(tmp_path: Path) -> Path:
    """What a first session without a network leaves."""
    root = tmp_path / "runs"
    for seed in (1, 2):
        published = {"row": 1, "test": 95.0}
        run_folders.write_classifier(
            root, "last_block", seed=seed, fallbacks=OFFLINE, published=published
        )
        run_folders.write_classifier(
            root, "lora", seed=seed, missed=range(1, 9), fallbacks=OFFLINE, published=published
        )
    run_folders.write_classifier(root, "baseline_length", missed=[1], fallbacks=[DATA_FALLBACK])
    return root


def test_rows_with_the_same_fallbacks_are_compared_with_each_other(offline: Path) -> None:
    assert compared(offline) == ("last_block", ["lora", "baseline_length"], {})
    chapter = only_chapter(offline)
    found = classifier_findings(chapter)
    assert [row.experiment for row in found.networks] == ["last_block", "lora"]
    assert [comparison.row.experiment for comparison in found.by_word["worse"]] == ["lora"]
    assert {mistake.num_wrong for mistake in chapter.mistakes} == {2}  # both seeds of lora


def test_published_values_are_withheld_from_rows_with_fallbacks(offline: Path) -> None:
    verdicts = only_chapter(offline).verdicts.values()
    assert [verdict.word for verdict in verdicts] == ["not comparable"] * 2
    assert all(
        (verdict.obstacle or "").startswith("fallback: The embedded") for verdict in verdicts
    )


def test_each_fallback_is_one_sentence_with_its_rows(offline: Path) -> None:
    _, reader = render(offline)
    data, weights = (text.splitlines()[0].rstrip(":") for text in OFFLINE)
    for text in (reader.text, as_markdown(read_study([offline]))):
        assert (text.count(data), text.count(weights)) == (1, 1)
    assert f"{data}: all rows." in reader.text
    assert f"{weights}: last_block and lora." in reader.text
    assert (
        "All rows used fallbacks for data or weights that were unavailable: differences hold "
        "between these rows, and say nothing about the real data or weights." in reader.text
    )


def test_replaced_weights_are_not_compared_with_real_ones(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "last_block", fallbacks=OFFLINE)
    run_folders.write_classifier(tmp_path, "lora", fallbacks=[DATA_FALLBACK])
    run_folders.write_classifier(tmp_path, "baseline_length")
    reason = "a fallback replaced its weights, but not those of the reference"
    assert compared(tmp_path) == ("lora", ["baseline_length"], {"last_block": reason})
    reason = "a fallback replaced the weights of the reference, but not its own"
    assert compared(tmp_path, "last_block") == ("last_block", ["baseline_length"], {"lora": reason})
    reference, found, left_out = compared(tmp_path, "baseline_length")
    assert (reference, sorted(found), left_out) == ("baseline_length", ["last_block", "lora"], {})


def test_weights_that_replaced_others_are_not_compared_as_if_they_were_these(
    tmp_path: Path,
) -> None:
    """Both are nano, but the rows are named after two models."""
    medium = WEIGHTS_FALLBACK.replace("weights gpt2", "weights gpt2-medium")
    run_folders.write_classifier(tmp_path, "row_01", fallbacks=OFFLINE)
    run_folders.write_classifier(tmp_path, "row_07", fallbacks=[DATA_FALLBACK, medium])
    reason = "fallbacks replaced other weights than those of the reference"
    assert compared(tmp_path) == ("row_01", [], {"row_07": reason})


@pytest.mark.parametrize(
    ("weights", "is_compared"),
    [(NANO, True), ({"model": "nano", "source": "nano: random"}, False)],
)
def test_a_model_chosen_by_name_is_compared_with_rows_that_it_replaced(
    tmp_path: Path, weights: dict[str, Any], is_compared: bool
) -> None:
    run_folders.write_classifier(tmp_path, "last_block", fallbacks=OFFLINE)
    run_folders.write_classifier(tmp_path, "lora", fallbacks=[DATA_FALLBACK], weights=weights)
    reference, found, _ = compared(tmp_path, "last_block")
    assert (reference, found) == ("last_block", ["lora"] if is_compared else [])
    assert compared(tmp_path)[0] == ("last_block" if is_compared else "lora")


def test_seeds_with_and_without_replaced_weights_are_not_averaged(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "last_block")
    run_folders.write_classifier(tmp_path, "lora", seed=1)
    run_folders.write_classifier(tmp_path, "lora", seed=2, fallbacks=OFFLINE)
    reason = "fallbacks replaced the weights of some seeds only"
    assert compared(tmp_path) == ("last_block", [], {"lora": reason})


def test_responses_with_the_same_fallbacks_are_compared(tmp_path: Path) -> None:
    run_folders.write_responses(tmp_path, "instruct", fallbacks=OFFLINE)
    run_folders.write_responses(tmp_path, "instruct_masked", rouge_l=[1.0] * 4, fallbacks=OFFLINE)
    run_folders.write_responses(tmp_path, "instruct_lora", rouge_l=[1.0] * 4)
    chapter = read_study([tmp_path], reference="instruct").instructions[0]
    assert [row.experiment for row, _ in chapter.differences] == ["instruct_masked"]


def test_methods_are_explained_only_where_they_are_used(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path / "a", "last_block")
    _, reader = render(tmp_path / "a")
    for words in ("Holm", "Published values", "Newcombe", "A fallback is", "thick over seeds"):
        assert words not in reader.text
    run_folders.write_classifier(
        tmp_path / "a", "lora", seed=1, fallbacks=OFFLINE, published={"row": 1, "test": 95.0}
    )
    run_folders.write_classifier(tmp_path / "a", "all")
    run_folders.write_classifier(tmp_path / "a", "all", seed=2)
    _, reader = render(tmp_path / "a")
    for words in ("Holm", "Published values", "A fallback is", "thick over seeds"):
        assert words in reader.text
    assert "Newcombe" not in reader.text  # no row is comparable with its published value
