"""What a model card shows of a run, beside the code that the other tests run."""

from pathlib import Path

from exporting.tasks_to_export import classifier, summary

from llm_lightning.exporting.card import write_card
from llm_lightning.exporting.dense import dense
from llm_lightning.exporting.verification import LogitDifference


def test_the_card_shows_the_run_its_fallbacks_metrics_and_differences(tmp_path: Path) -> None:
    task, facts = classifier(), summary()
    facts.experiment = "last_block"
    facts.fallbacks = ["The weights are random:\nno network"]
    facts.metrics = {"test": {"loss": 0.5, "auroc": None}, "train": {"loss": 0.25, "auroc": 1.0}}
    found = LogitDifference("transformers", 1.5e-6, 1e-3)
    write_card(tmp_path, "merged", task, facts, dense(task), [found])
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    for expected in (
        "# my run\n",
        "GPT-2 with 3 blocks, 8 wide, fine-tuned from tiny, seed 1.",
        "\n\nThe weights are random.\n\n",
        "Classes: class 0, class 1, class 2.",
        "| split | loss | auroc |\n| --- | ---: | ---: |\n| test | 0.5000 |  |\n"
        "| train | 0.2500 | 1.0000 |",
        "\n- transformers: 1.5e-06\n",
        "+experiment=last_block model=tiny model.weights=<this folder>",
    ):
        assert expected in card
