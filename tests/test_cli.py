"""The command as a user types it, run in this process with a run of seconds."""

import json
import math
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from llm_lightning import cli
from llm_lightning import summary as run_summary
from llm_lightning.evaluation.metrics import METRICS
from llm_lightning.predict import predict
from llm_lightning.run_folder import load_classifier

# Random weights: what is tested here should not depend on which ones are packaged.
SMOKE = ("trainer=smoke", "model=nano", "model.weights=random")


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["llm_lightning", *arguments])
    cli.main()


def test_experiment_end_to_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(
        monkeypatch, "+experiment=last_block", *SMOKE, "seed=5", "trainer.limit_test_batches=null"
    )
    name = (
        "last_block-model.weights=random-model=nano-trainer.limit_test_batches=null-trainer=smoke"
    )
    folder = Path("runs") / name / "seed_5"

    assert {path.name for path in folder.iterdir() if "tfevents" not in path.name} == {
        "checkpoints",
        "config.yaml",
        "metrics.csv",
        "plots",
        "predictions_test.csv",
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
    assert len(summary["notices"]) == 1  # the messages; the model was asked for by name
    assert summary["notices"][0].startswith(
        "The embedded messages replaced the SMS Spam Collection"
    )
    assert summary["optimizer_steps"] == 4
    assert summary["steps_per_epoch"] == 4
    assert summary["examples_per_epoch"] == 32
    assert summary["evaluated_examples"] == {"train": 1050, "val": 150, "test": 300}
    assert summary["peak_memory_mib"] > 100
    assert summary["versions"]["torch"] == torch.__version__
    assert summary["data"]["splits"]["test"]["examples"] == 300
    assert len(summary["data"]["splits"]["train"]["sha256"]) == 64

    predictions = pd.read_csv(folder / "predictions_test.csv")
    assert list(predictions) == [
        "text",
        "label",
        "predicted",
        "probability_ham",
        "probability_spam",
    ]
    assert len(predictions) == 300
    accuracy = (predictions["label"] == predictions["predicted"]).mean()
    assert accuracy == pytest.approx(summary["metrics"]["test"]["accuracy"], abs=1e-6)

    cfg = OmegaConf.load(folder / "config.yaml")
    assert (cfg.seed, cfg.data.seed, cfg.finetune.num_blocks) == (5, 5, 1)
    assert cfg.callbacks.checkpoint.dirpath == "./checkpoints"

    printed = capsys.readouterr().out
    assert "backbone.h.0-4" in printed
    assert "precision, recall, F1 and AUROC are of 'spam'" in printed
    assert "tensorboard --logdir runs" in printed
    assert "198,786" in printed
    assert printed.count("stand-in: these numbers say nothing about the real thing") == 2
    assert "0 of 300 test texts also stand in training" in printed
    assert "llm_lightning.predict" in printed


def test_tensorboard_has_curves_hyperparameters_and_final_metrics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command(monkeypatch, "+experiment=last_layer", *SMOKE, "optim.lr=1e-3")
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
    assert shown["task.position"].string_value == "last_real"
    summary = json.loads((folder / "summary.json").read_text())
    final = events.Scalars("final/test_accuracy")[-1].value
    assert final == pytest.approx(summary["metrics"]["test"]["accuracy"])


def test_the_configuration_can_be_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for asked in (("--cfg", "job"), ("--cfg=job",), ("-c", "job", "-p", "trainer")):
        command(monkeypatch, "+experiment=last_block", *asked)
        assert "max_epochs: 5" in capsys.readouterr().out
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", cli.list_experiments())
def test_every_experiment_runs(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    overrides = []
    if name.startswith("row_"):
        # Wide padding is kept wide, but not to the full context, for the sake of time.
        overrides = ["model.n_positions=128"]
    elif name.startswith("instruct"):
        overrides = ["task.generation.max_new_tokens=4"]
    elif name.startswith("pretrain"):
        Path("book.txt").write_text("It was the best of times, it was the worst of times. " * 200)
        overrides = ["data.path=book.txt", "trainer.log_every_n_steps=1"]
    command(monkeypatch, f"+experiment={name}", *SMOKE, *overrides)
    folder = next(Path("runs").glob(f"{name}-*/seed_123"))
    summary = json.loads((folder / "summary.json").read_text())
    assert math.isfinite(summary["metrics"]["test"]["loss"])
    assert summary["published"] is None, "a stand-in is never set beside published numbers"
    has_network = not name.startswith("baseline")
    assert (folder / "checkpoints" / "last.ckpt").is_file() == has_network


def test_same_seed_gives_the_same_losses_and_another_seed_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def losses(runs_dir: str, seed: int) -> list[float]:
        torch.manual_seed(hash(runs_dir) % 1000)  # what went on before must not matter
        command(
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
    """Twenty steps on the embedded messages: a change that moves these must say why."""
    recorded = json.loads((Path(__file__).parent / "fixtures" / "golden_losses.json").read_text())
    for name, expected in recorded.items():
        command(
            monkeypatch, f"+experiment={name}", *SMOKE, "trainer.limit_train_batches=20",
            "optim.lr=1e-3", "runs_dir=golden", "model.n_layer=4", "model.n_positions=1024",
        )  # fmt: skip
        table = pd.read_csv(next(Path("golden").glob(f"{name}-*/seed_123/metrics.csv")))
        assert table["train/loss"].dropna().tolist() == pytest.approx(expected, abs=2e-4), name


def test_sweep_makes_one_folder_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    command(monkeypatch, "-m", "+experiment=last_layer,last_block", "seed=1,2", *SMOKE)
    folders = {str(path.parent) for path in Path("runs").glob("**/summary.json")}
    assert folders == {
        f"runs/{name}-model.weights=random-model=nano-trainer=smoke/seed_{seed}"
        for name in ("last_layer", "last_block")
        for seed in (1, 2)
    }


def test_a_finished_run_is_not_repeated_unless_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, "+experiment=last_layer", *SMOKE)
    summary = next(Path("runs").glob("*/seed_123/summary.json"))
    first = summary.read_bytes()
    capsys.readouterr()
    command(monkeypatch, "+experiment=last_layer", *SMOKE)
    assert "finished before with the same settings" in capsys.readouterr().out
    assert summary.read_bytes() == first
    command(monkeypatch, "+experiment=last_layer", *SMOKE, "rerun=true")
    assert summary.read_bytes() != first
    table = pd.read_csv(summary.with_name("metrics.csv"))
    assert len(table["train/loss"].dropna()) == 4


def test_best_checkpoint_can_be_the_one_that_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    command(
        monkeypatch, "+experiment=all", *SMOKE, "evaluate=best", "trainer.max_epochs=3",
        "optim.lr=0.05", "trainer.limit_val_batches=null", "trainer.limit_test_batches=null",
    )  # fmt: skip
    folder = next(Path("runs").glob("*/seed_123"))
    summary = json.loads((folder / "summary.json").read_text())
    curve = pd.read_csv(folder / "metrics.csv")["val/loss"].dropna()
    assert summary["metrics"]["val"]["loss"] == pytest.approx(curve.min(), rel=1e-4)
    assert summary["checkpoint"] == "checkpoints/best.ckpt"


def test_any_number_of_blocks_can_train(monkeypatch: pytest.MonkeyPatch) -> None:
    command(
        monkeypatch, "+experiment=all", "finetune=last_n_blocks", "finetune.num_blocks=3", *SMOKE
    )
    summary = json.loads(next(Path("runs").glob("*/seed_123/summary.json")).read_text())
    assert summary["parameters"]["trainable"] == 3 * 198_272 + 256 + 258


def test_class_weights_reach_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    command(monkeypatch, "+experiment=last_layer", *SMOKE, "data.balance=class_weights")
    folder = next(Path("runs").glob("*/seed_123"))
    counts = json.loads((folder / "summary.json").read_text())["data"]["splits"]["train"]
    ham, spam = counts["class_counts"]["ham"], counts["class_counts"]["spam"]
    assert ham != spam
    fields = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["hyper_parameters"]
    assert fields["class_weights"] == pytest.approx([1050 / (2 * ham), 1050 / (2 * spam)])


# --- stand-ins and errors -------------------------------------------------------------------------


def test_unreachable_weights_are_replaced_and_other_model_settings_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(
        monkeypatch,
        "+experiment=row_17",
        "trainer=smoke",
        "model=gpt2_medium",
        "model.embd_pdrop=0.1",
    )
    folder = next(Path("runs").glob("*/seed_123"))
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["weights"]["model"] == "nano"
    assert len(summary["notices"]) == 2
    assert "openai-community/gpt2-medium@6dcaa7a, which could not be had" in summary["notices"][1]
    assert "HF_HUB_OFFLINE" in summary["notices"][1]
    assert "To get the real thing:" in summary["notices"][1]
    fields = torch.load(folder / summary["checkpoint"], weights_only=True)["hyper_parameters"]
    assert (fields["model"]["causal"], fields["model"]["embd_pdrop"]) == (False, 0.1)
    assert capsys.readouterr().out.count("gpt2-medium@6dcaa7a") == 2


@pytest.mark.parametrize(
    ("name", "overrides"), [("row_13", ()), ("instruct", ("task.generation.max_new_tokens=4",))]
)
def test_the_stand_ins_context_is_the_limit(
    monkeypatch: pytest.MonkeyPatch, name: str, overrides: tuple[str, ...]
) -> None:
    command(
        monkeypatch, f"+experiment={name}", "trainer=smoke", "trainer.limit_train_batches=1",
        "trainer.max_epochs=1", *overrides,
    )  # fmt: skip
    summary = json.loads(next(Path("runs").glob("*/seed_123/summary.json")).read_text())
    assert summary["data"]["max_length"] == 512


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[object, str]:
    with pytest.raises(SystemExit) as caught:
        command(monkeypatch, *arguments)
    return caught.value.code, " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_without_fallback_the_same_is_an_error_with_the_same_advice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = refused(monkeypatch, capsys, "+experiment=last_block", "offline_fallback=false")
    assert status == 1
    assert "the SMS Spam Collection could not be downloaded" in told
    assert "data.path=<zip, file or folder>" in told
    status, told = refused(
        monkeypatch, capsys, "+experiment=last_block", "offline_fallback=false", "data=table",
        "data.path=table.csv",
    )  # fmt: skip
    assert "table.csv does not exist" in told


def test_explicit_paths_never_fall_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = refused(monkeypatch, capsys, "+experiment=last_block", "data.path=gone.zip")
    assert (status, "must be an existing file or folder, got gone.zip" in told) == (1, True)
    status, told = refused(monkeypatch, capsys, "+experiment=last_block", "model.weights=./gone")
    assert (status, "an existing file or folder, or a Hub id" in told) == (1, True)
    assert not list(Path("runs").glob("**/summary.json"))


@pytest.mark.parametrize(
    ("override", "told_part"),
    [
        (
            "finetune.num_blocks=9",
            "finetune.num_blocks must be at most the model's 6 blocks, got 9",
        ),
        ("optim.lr=-1", "optim.lr must be above 0, got -1.0"),
        ("data.padding=none", "data.padding=none needs data.batch_size=1, got 8"),
        ("task.position=middle", "task.position must be one of"),
        ("finetune=last_n_blocks", "finetune.num_blocks has no default: give it a value"),
        ("model.n_head=3", "model.n_embd must be a multiple of model.n_head"),
        ("model.init=empty", "model.init must be gpt2 or torch, got 'empty'"),
        ("model.vocab_size=100", "model.vocab_size must be at least the tokenizer's 50257"),
        ("seed=-1", "seed must be between 0 and 2**32 - 1, got -1"),
        ("trainer.max_epochs=abc", "trainer.max_epochs must be a whole number >= 0, got 'abc'"),
        ("trainer.accumulate_grad_batches=0", "must be a whole number >= 1, got 0"),
        ("trainer.devices=2", "trainer.devices must be 1: gradients are averaged on one device"),
        ("trainer.limit_test_batches=0", "trainer.limit_test_batches must be above 0"),
        ("trainer.precision=17", "17"),
        ("~loggers", "loggers"),
    ],
)
def test_a_wrong_setting_is_one_framed_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    override: str,
    told_part: str,
) -> None:
    status, told = refused(monkeypatch, capsys, "+experiment=last_block", *SMOKE, override)
    assert status == 1
    assert told_part in told
    assert "Traceback" not in told
    assert not list(Path("runs").glob("*/*")), "a refused run leaves no folder"


@pytest.mark.parametrize(
    "arguments",
    [("evaluate=best", "~callbacks.checkpoint"), ("evaluate=best", "trainer.limit_val_batches=0")],
)
def test_best_checkpoint_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple
) -> None:
    status, told = refused(monkeypatch, capsys, "+experiment=last_layer", *SMOKE, *arguments)
    assert status == 1
    assert "evaluate=best needs" in told


def test_divergence_is_told_and_leaves_no_summary(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = refused(monkeypatch, capsys, "+experiment=all", *SMOKE, "optim.lr=1e30")
    assert status == 1
    assert "training diverged in epoch 1" in told
    assert not list(Path("runs").glob("**/summary.json"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), ""),
        (("model=nano",), ""),
        (("+experiment=last_blok",), "+experiment=last_blok: there is no experiment of this name"),
        (("-m", "+experiment=all,nil"), "+experiment: there is no experiment nil"),
        (("-m", "+experiment=glob(nil*)"), "+experiment=glob(nil*): no experiment matches"),
        (("experiment=all",), "write +experiment=all, with a plus sign"),
        (("last_block",), "last_block: write +experiment=last_block"),
        (("+experiment=all", "fast"), "fast: write setting=value"),
    ],
)
def test_without_a_known_experiment_the_answer_is_a_list(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    problem: str,
) -> None:
    status, told = refused(monkeypatch, capsys, *arguments)
    assert status == 2
    assert told.startswith(f"{problem} Experiments: all everything trains".strip())
    assert "Example: python -m llm_lightning +experiment=last_block" in told
    assert not Path("runs").exists()


def test_help_lists_experiments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        command(monkeypatch, "--help")
    assert caught.value.code == 0
    assert "row_01" in capsys.readouterr().out


def test_the_tables_checkpoint_is_that_of_the_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint callback saves at validations, which need not end the run."""
    command(
        monkeypatch, "+experiment=all", *SMOKE, "+trainer.check_val_every_n_epoch=2",
        "trainer.max_epochs=3", "optim.lr=1e-3",
    )  # fmt: skip
    folder = next(Path("runs").glob("*/seed_123"))
    recorded = pd.read_csv(folder / "predictions_test.csv")
    model, summary = load_classifier(folder)
    assert torch.load(folder / summary["checkpoint"], weights_only=True)["global_step"] == 12
    predicted = [p.probabilities["spam"] for p in predict(model, recorded["text"].tolist())]
    assert predicted == pytest.approx(recorded["probability_spam"].tolist(), abs=1e-5)


def test_without_checkpoints_none_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, "+experiment=last_layer", *SMOKE, "~callbacks.checkpoint")
    folder = next(Path("runs").glob("*/seed_123"))
    assert not list(folder.glob("**/*.ckpt"))
    assert json.loads((folder / "summary.json").read_text())["checkpoint"] is None
    assert "llm_lightning.predict" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="kept no checkpoint"):
        load_classifier(folder)


def test_no_epochs_evaluate_the_untrained_model(monkeypatch: pytest.MonkeyPatch) -> None:
    command(monkeypatch, "+experiment=last_layer", *SMOKE, "trainer.max_epochs=0")
    folder = next(Path("runs").glob("*/seed_123"))
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["optimizer_steps"] == 0
    assert (folder / summary["checkpoint"]).is_file()
    assert summary["other_checkpoints"] == []


def test_a_stand_in_never_replaces_a_real_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, "+experiment=last_layer", *SMOKE)
    folder = next(Path("runs").glob("*/seed_123"))
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"notices": []}))  # a real run
    status, told = refused(monkeypatch, capsys, "+experiment=last_layer", *SMOKE)
    assert status == 1
    assert "holds a run on the real data and weights" in told
    assert (folder / "checkpoints" / "last.ckpt").is_file()


def test_only_a_runs_own_files_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    command(monkeypatch, "+experiment=last_layer", *SMOKE)
    folder = next(Path("runs").glob("*/seed_123"))
    (folder / "notes.txt").write_text("mine")
    old = {path.name for path in folder.glob("events.*")}
    command(monkeypatch, "+experiment=last_layer", *SMOKE, "rerun=true")
    assert (folder / "notes.txt").read_text() == "mine"
    assert not old & {path.name for path in folder.glob("events.*")}


def test_a_project_with_a_config_of_its_own_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("config.yaml").write_text("mine: true\n")
    status, _ = refused(monkeypatch, capsys, "+experiment=last_layer", *SMOKE, "hydra.run.dir=.")
    assert (status, Path("config.yaml").read_text()) == (1, "mine: true\n")


def test_a_folder_that_is_no_run_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "last_layer-model.weights=random-model=nano-trainer=smoke"
    precious = Path("runs") / name / "seed_123" / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("x")
    status, told = refused(monkeypatch, capsys, "+experiment=last_layer", *SMOKE)
    assert (status, precious.read_text()) == (1, "x")
    assert "is not empty and holds no run" in told
