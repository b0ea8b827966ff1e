"""What a model card shows of a run, beside the code that the other tests run."""

from pathlib import Path
from typing import Any

import yaml
from exporting.tasks_to_export import classifier, language_model, summary

from llm_lightning.exporting.card import write_card
from llm_lightning.exporting.dense import dense
from llm_lightning.exporting.output_folder import check_free
from llm_lightning.exporting.verification import LogitDifference
from llm_lightning.run_format.run_facts import ResponseFacts, Score, SplitFacts


def test_the_card_shows_the_run_its_fallbacks_metrics_and_differences(tmp_path: Path) -> None:
    task, facts = classifier(), summary()
    facts.experiment = "last_block"
    facts.fallbacks = ["The weights are random:\nno network"]
    facts.metrics = {"test": {"loss": 0.5, "auroc": None}, "train": {"loss": 0.25, "auroc": 1.0}}
    found = LogitDifference("transformers", 1.5e-6, 1e-3)
    write_card(tmp_path, "merged", task, facts, dense(task), [found], {})
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    for expected in (
        "-->\n# my run\n",
        "GPT-2 with 3 blocks, 8 wide, fine-tuned from tiny, seed 1.",
        "\n\nThe weights are random.\n\n",
        "Classes: class 0, class 1, class 2.",
        "| split | loss | auroc |\n| --- | ---: | ---: |\n| test | 0.5000 |  |\n"
        "| train | 0.2500 | 1.0000 |",
        "\n- transformers: 1.5e-06\n",
        "+experiment=last_block model=tiny model.weights=<this folder>",
    ):
        assert expected in card


def card_of(folder: Path, kind: str, task: Any, facts: Any) -> str:
    f1 = Score(mean=0.8, low=0.7, high=0.9, n=300)
    write_card(folder, kind, task, facts, dense(task), [], {"F1": f1})
    return (folder / "README.md").read_text(encoding="utf-8")


def test_the_card_tells_data_intervals_limits_and_licence(tmp_path: Path) -> None:
    facts = summary()
    facts.metrics = {"test": {"loss": 0.5, "accuracy": 0.96}}
    facts.evaluated_examples = {"test": 300}
    facts.weights.model, facts.weights.source = "nano", "nano: packaged weights"
    facts.data.source = "/home/me/my mail/mail.csv, split 'table'"
    facts.data.max_length, facts.data.test_in_train = 120, 2
    facts.data.splits = {
        "train": SplitFacts(examples=1000, sha256="ab", class_counts={"ham": 900, "spam": 100}),
        "test": SplitFacts(
            examples=300, sha256="cd", class_counts={"ham": 290, "spam": 10}, truncated=4
        ),
    }
    card = card_of(tmp_path, "hf", classifier(), facts)
    assert yaml.safe_load(card.split("---")[1]) == {
        "tags": ["llm_lightning"],
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "license": "mit",
    }
    for expected in (
        "\nmail.csv, split 'table'.\n",
        "| train | 1,000 | ham 900, spam 100 |  |",
        "| test | 300 | ham 290, spam 10 | 4 |",
        # Wilson's interval of 288 right answers of 300.
        "| accuracy | 0.9600 | 0.9314 to 0.9770 | 300 |\n| F1 | 0.8000 | 0.7000 to 0.9000 | 300 |",
        "- Inputs longer than 120 tokens lose what is beyond.",
        "- 2 test texts are in the training split too.",
        "- Only 10 test examples of class spam.",
        "The base, nano, is under `mit`",
    ):
        assert expected in card, card
    assert "/home/me" not in card
    check_free(tmp_path)  # an export may replace it


def test_a_licence_is_only_told_where_it_is_known(tmp_path: Path) -> None:
    facts = summary()
    for model, source, licence in (
        ("gpt2_small", "gpt2_small: openai-community/gpt2 at 607a30d", "mit"),
        ("gpt2_small", "gpt2_small: /data/own", None),
        ("gpt2_small", "gpt2_small: random (torch initialisation)", None),
        ("hub", "hub: someone/model", None),
        ("gemma3_270m", "gemma3_270m: google/gemma-3-270m-it", "gemma"),
    ):
        facts.weights.model, facts.weights.source = model, source
        card = card_of(tmp_path, "hf", language_model(), facts)
        assert yaml.safe_load(card.split("---")[1]).get("license") == licence, source
        assert ("is not known here: look it up" in card) is (licence is None)


def test_scores_of_responses_have_their_intervals(tmp_path: Path) -> None:
    facts = summary()
    score = Score(mean=0.5, low=0.25, high=0.75, n=9)
    facts.responses = ResponseFacts(
        file="r.json", examples=9, scores={"exact_match": score}, seconds=1, tokens_per_second=1
    )
    card = card_of(tmp_path, "gguf", language_model(), facts)
    assert "| exact_match | 0.5000 | 0.2500 to 0.7500 | 9 |" in card
    assert "It may write what is false" in card
