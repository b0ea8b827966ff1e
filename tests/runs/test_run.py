"""A run from its beginning to its folder, in this process."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from program import SMOKE, start
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from llm_lightning.evaluation.metrics import METRICS
from llm_lightning.runs import record as run_summary
from llm_lightning.runs.load import load_classifier
from llm_lightning.runs.prediction import predict

pytestmark = pytest.mark.usefixtures("own_folder")


def test_experiment_end_to_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start(
        monkeypatch, "+experiment=last_block", *SMOKE, "seed=5", "trainer.limit_test_batches=null"
    )
    name = (
        "last_block-model.weights@random-model@nano-trainer.limit_test_batches@null-trainer@smoke"
    )
    folder = Path("runs") / name / "seed_5"

    assert {path.name for path in folder.iterdir() if "tfevents" not in path.name} == {
        "checkpoints",
        "class_metrics_test.csv",
        "config.yaml",
        "metrics.csv",
        "plots",
        "predictions_test.csv",
        "predictions_val.csv",
        "splits",
        "status.json",
        "summary.json",
    }
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert {path.name for path in (folder / "plots").iterdir()} == {
        "accuracy.png",
        "confusion_matrix.png",
        "loss.png",
        "precision_recall.png",
        "roc.png",
    }

    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["experiment"], summary["seed"]) == ("last_block", 5)
    assert summary["class_names"] == ["ham", "spam"]
    assert summary["parameters"]["trainable"] == 198_786
    assert summary["parameters"]["total"] == 7_688_578
    assert [group["name"] for group in summary["parameters"]["groups"]][-3:] == [
        "backbone.h.5",
        "backbone.ln_f",
        "head",
    ]
    assert set(summary["metrics"]) == {"train", "val", "test"}
    for values in summary["metrics"].values():
        assert set(values) == set(METRICS)
    assert len(summary["fallbacks"]) == 1  # the messages; the model was asked for by name
    assert summary["fallbacks"][0].startswith(
        "The packaged messages replaced the SMS Spam Collection"
    )
    assert summary["optimizer_steps"] == 4
    assert summary["steps_per_epoch"] == 4
    assert summary["examples_per_epoch"] == 32
    assert summary["evaluated_examples"] == {"train": 1680, "val": 240, "test": 480}
    assert summary["averaged_classes"] == {"train": 2, "val": 2, "test": 2}
    assert summary["peak_memory_mib"] > 100
    assert summary["versions"]["torch"] == torch.__version__
    assert summary["data"]["splits"]["test"]["examples"] == 480
    assert len(summary["data"]["splits"]["train"]["sha256"]) == 64

    predictions = pd.read_csv(folder / "predictions_test.csv")
    assert list(predictions) == [
        "text",
        "label",
        "predicted",
        "probability_ham",
        "probability_spam",
    ]
    assert len(predictions) == 480
    accuracy = (predictions["label"] == predictions["predicted"]).mean()
    assert accuracy == pytest.approx(summary["metrics"]["test"]["accuracy"], abs=1e-6)

    cfg = OmegaConf.load(folder / "config.yaml")
    assert (cfg.seed, cfg.data.seed, cfg.finetune.num_blocks) == (5, 5, 1)
    assert cfg.callbacks.checkpoint.dirpath == "./checkpoints"

    printed = capsys.readouterr().out
    assert "backbone.h.0-4" in printed
    assert "precision, recall, F1 and AUROC refer to 'spam'" in printed
    assert "tensorboard --logdir runs" in printed
    assert "198,786" in printed
    assert (
        printed.count("fallback: not comparable with results on the original data and weights") == 2
    )
    assert "0 of 480 test texts also occur in training" in printed
    assert "llm_lightning predict" in printed


def test_tensorboard_has_curves_hyperparameters_and_final_metrics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start(monkeypatch, "+experiment=last_layer", *SMOKE, "optim.lr=1e-3")
    folder = next(Path("runs").glob("*/seed_123"))
    events = EventAccumulator(str(folder)).Reload()
    tags = set(events.Tags()["scalars"])
    assert {"train/loss", "train/epoch_loss", "train/accuracy", "val/loss", "val/f1"} <= tags
    assert {"test/accuracy", "train_eval/auroc", "val_eval/loss", "final/test_accuracy"} <= tags
    assert len(events.Scalars("train/loss")) == 4
    metadata = events.summary_metadata["_hparams_/session_start_info"]
    shown = HParamsPluginData.FromString(metadata.plugin_data.content).session_start_info.hparams
    of_other_tasks = {"task.tie_weights", "data.prompt_style", "data.mask"}
    assert set(run_summary.HPARAMS) - of_other_tasks < set(shown)
    assert shown["optim.lr"].number_value == 1e-3
    assert shown["task.pooling"].string_value == "mean_real"
    summary = json.loads((folder / "summary.json").read_text())
    final = events.Scalars("final/test_accuracy")[-1].value
    assert final == pytest.approx(summary["metrics"]["test"]["accuracy"])


@pytest.mark.slow
def test_same_seed_gives_the_same_losses_and_another_seed_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def losses(runs_dir: str, seed: int) -> list[float]:
        torch.manual_seed(hash(runs_dir) % 1000)  # what went on before must not matter
        start(
            monkeypatch, "+experiment=all", *SMOKE, "model.resid_pdrop=0.1", f"seed={seed}",
            f"runs_dir={runs_dir}",
        )  # fmt: skip
        table = pd.read_csv(next(Path(runs_dir).glob(f"*/seed_{seed}/metrics.csv")))
        return table["train/loss"].dropna().tolist()

    first = losses("one", 1)
    assert len(first) == 4
    assert losses("two", 1) == first
    assert losses("three", 2) != first


def test_losses_are_the_recorded_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty steps on the packaged messages: a change that moves these must say why."""
    recorded = json.loads((Path(__file__).parent / "fixtures" / "golden_losses.json").read_text())
    for name, expected in recorded.items():
        start(
            monkeypatch, f"+experiment={name}", *SMOKE, "trainer.limit_train_batches=20",
            "optim.lr=1e-3", "runs_dir=golden", "model.n_layer=4", "model.n_positions=1024",
            "model_task=none",
        )  # fmt: skip
        table = pd.read_csv(next(Path("golden").glob(f"{name}-*/seed_123/metrics.csv")))
        assert table["train/loss"].dropna().tolist() == pytest.approx(expected, abs=2e-4), name


@pytest.mark.slow
def test_initial_weights_and_order_have_seeds_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def first_run(*seeds: str) -> tuple[list[float], dict]:
        start(
            monkeypatch, "+experiment=last_layer", *SMOKE, "model.resid_pdrop=0.1", *seeds,
            "runs_dir=" + "_".join(seeds).replace("=", ""),
        )  # fmt: skip
        folder = next(Path("_".join(seeds).replace("=", "")).glob("*/seed_*"))
        losses = pd.read_csv(folder / "metrics.csv")["train/loss"].dropna().tolist()
        return losses, json.loads((folder / "summary.json").read_text())

    together, summary = first_run("seed=1")
    assert summary["seeds"] == {"init": 1, "order": 1, "split": 123}
    apart, summary = first_run("seed=5", "init_seed=1", "order_seed=1")
    assert apart == together
    assert summary["seed"] == 5
    other_head, _ = first_run("seed=1", "init_seed=2")
    other_order, summary = first_run("seed=1", "order_seed=2")
    assert summary["seeds"] == {"init": 1, "order": 2, "split": 123}
    assert len({tuple(losses) for losses in (together, other_head, other_order)}) == 3


@pytest.mark.slow
def test_sweep_makes_one_folder_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    start(monkeypatch, "-m", "+experiment=last_layer,baseline_length", "seed=1,2", *SMOKE)
    folders = {str(path.parent) for path in Path("runs").glob("**/summary.json")}
    assert folders == {
        f"runs/{name}-model.weights@random-model@nano-trainer@smoke/seed_{seed}"
        for name in ("last_layer", "baseline_length")
        for seed in (1, 2)
    }


def test_a_finished_run_is_not_repeated_unless_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start(monkeypatch, "+experiment=last_layer", *SMOKE)
    summary = next(Path("runs").glob("*/seed_123/summary.json"))
    first = summary.read_bytes()
    capsys.readouterr()
    start(monkeypatch, "+experiment=last_layer", *SMOKE)
    assert "finished before with the same settings" in capsys.readouterr().out
    assert summary.read_bytes() == first
    start(monkeypatch, "+experiment=last_layer", *SMOKE, "rerun=true")
    assert summary.read_bytes() != first
    table = pd.read_csv(summary.with_name("metrics.csv"))
    assert len(table["train/loss"].dropna()) == 4


@pytest.mark.slow
def test_best_checkpoint_can_be_the_one_that_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    start(
        monkeypatch, "+experiment=all", *SMOKE, "evaluate=best", "trainer.max_epochs=3",
        "optim.lr=0.05", "data.num_train=32", "model.n_layer=2", "trainer.limit_val_batches=null",
        "trainer.limit_test_batches=null",
    )  # fmt: skip
    folder = next(Path("runs").glob("*/seed_123"))
    summary = json.loads((folder / "summary.json").read_text())
    curve = pd.read_csv(folder / "metrics.csv")["val/loss"].dropna()
    assert summary["metrics"]["val"]["loss"] == pytest.approx(curve.min(), rel=1e-4)
    assert summary["checkpoint"] == "checkpoints/best.ckpt"


def test_any_number_of_blocks_can_train(monkeypatch: pytest.MonkeyPatch) -> None:
    start(monkeypatch, "+experiment=all", "finetune=last_n_blocks", "finetune.num_blocks=3", *SMOKE)
    summary = json.loads(next(Path("runs").glob("*/seed_123/summary.json")).read_text())
    assert summary["parameters"]["trainable"] == 3 * 198_272 + 256 + 258


def test_class_weights_reach_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    start(monkeypatch, "+experiment=last_layer", *SMOKE, "data.balance=class_weights")
    folder = next(Path("runs").glob("*/seed_123"))
    counts = json.loads((folder / "summary.json").read_text())["data"]["splits"]["train"]
    ham, spam = counts["class_counts"]["ham"], counts["class_counts"]["spam"]
    assert ham != spam
    fields = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["hyper_parameters"]
    assert fields["class_weights"] == pytest.approx([1680 / (2 * ham), 1680 / (2 * spam)])


# --- fallbacks and errors -------------------------------------------------------------------------


@pytest.mark.slow
def test_the_tables_checkpoint_is_that_of_the_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint callback saves at validations, which need not end the run."""
    start(
        monkeypatch, "+experiment=all", *SMOKE, "+trainer.check_val_every_n_epoch=2",
        "trainer.max_epochs=3", "optim.lr=1e-3",
    )  # fmt: skip
    folder = next(Path("runs").glob("*/seed_123"))
    recorded = pd.read_csv(folder / "predictions_test.csv")
    model, summary = load_classifier(folder)
    assert torch.load(folder / str(summary.checkpoint), weights_only=True)["global_step"] == 12
    predicted = [p.probabilities["spam"] for p in predict(model, recorded["text"].tolist())]
    assert predicted == pytest.approx(recorded["probability_spam"].tolist(), abs=1e-5)


@pytest.mark.slow
def test_without_checkpoints_none_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start(monkeypatch, "+experiment=last_layer", *SMOKE, "~callbacks.checkpoint")
    folder = next(Path("runs").glob("*/seed_123"))
    assert not list(folder.glob("**/*.ckpt"))
    assert json.loads((folder / "summary.json").read_text())["checkpoint"] is None
    assert "llm_lightning predict" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="kept no checkpoint"):
        load_classifier(folder)


def test_no_epochs_evaluate_the_untrained_model(monkeypatch: pytest.MonkeyPatch) -> None:
    start(monkeypatch, "+experiment=last_layer", *SMOKE, "trainer.max_epochs=0")
    folder = next(Path("runs").glob("*/seed_123"))
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["optimizer_steps"] == 0
    assert (folder / summary["checkpoint"]).is_file()
    assert summary["other_checkpoints"] == []


@pytest.mark.slow
def test_only_a_runs_own_files_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    start(monkeypatch, "+experiment=last_layer", *SMOKE)
    folder = next(Path("runs").glob("*/seed_123"))
    (folder / "notes.txt").write_text("mine")
    old = {path.name for path in folder.glob("events.*")}
    start(monkeypatch, "+experiment=last_layer", *SMOKE, "rerun=true")
    assert (folder / "notes.txt").read_text() == "mine"
    assert not old & {path.name for path in folder.glob("events.*")}
