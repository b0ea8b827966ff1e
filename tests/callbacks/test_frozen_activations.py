"""Frozen blocks that are run once give the losses of frozen blocks that are run every time."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from llm_lightning.callbacks import frozen_activations as prefix
from llm_lightning.commands import main as cli

MODEL = (
    "model=nano", "model.weights=random", "model.n_layer=3", "model.n_embd=32", "model.n_head=2",
    "model.n_positions=64",
)  # fmt: skip
RUN = (
    *MODEL,
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "optim.lr=1e-3",
    "trainer.precision=32-true",
)
MESSAGES = (
    "data=table", "data.path=messages.csv", "data.text_column=t", "data.label_column=l",
    "data.batch_size=4",
)  # fmt: skip
BITSANDBYTES = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes, of the extra qlora, is missing"
)


@pytest.fixture(autouse=True)
def _messages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prefix, "_memory", {})
    words = [f"w{i}" for i in range(15)]
    rows = [f'"{" ".join(words[i % 7 : 8 + i * 5 % 11])} {i}",{"ab"[i % 2]}' for i in range(40)]
    Path("messages.csv").write_text("t,l\n" + "\n".join(rows) + "\n")
    records = [
        {"instruction": " ".join(words[i % 5 :]), "input": "", "output": words[i % 7] + " yes"}
        for i in range(40)
    ]
    Path("records.json").write_text(json.dumps(records))


def run(monkeypatch: pytest.MonkeyPatch, runs_dir: str, *arguments: str) -> dict[str, Any]:
    """Runs the command; returns its losses and what its summary says of the prefix."""
    monkeypatch.setattr(sys, "argv", ["llm_lightning", *arguments, f"runs_dir={runs_dir}"])
    cli.main()
    folder = next(Path(runs_dir).glob("*/seed_123"))
    curves = pd.read_csv(folder / "metrics.csv")
    summary = json.loads((folder / "summary.json").read_text())
    return {
        "train": curves["train/loss"].dropna().to_numpy(),
        "val": curves["val/loss"].dropna().to_numpy(),
        "final": [summary["metrics"][split]["loss"] for split in ("train", "val", "test")],
        "prefix": summary["frozen_prefix"],
    }


def assert_same(cached: dict[str, Any], plain: dict[str, Any]) -> None:
    assert plain["prefix"] is None
    for key in ("train", "val", "final"):
        assert cached[key] == pytest.approx(plain[key], abs=1e-5)
    assert len(cached["train"]) > 5


CLASSIFIERS = {
    "last_layer": (("finetune=last_layer",), 3),
    "last_block": (("finetune=last_block",), 2),
    "last_two_blocks": (("finetune=last_two_blocks",), 1),
    "lora on the last block": (("finetune=lora", "finetune.blocks=1", "finetune.dropout=0.1"), 2),
    "qlora on the last block": (("finetune=qlora", "finetune.blocks=1"), 2),
    "last position, padded": (
        ("task.position=last", "task.mask_padding=false", "data.padding=max_length"), 2,
    ),
    "last position, padded, last_layer": (
        ("finetune=last_layer", "task.position=last", "data.padding=max_length"), 3,
    ),
    "mean of all, padded": (("task.position=mean", "data.padding=max_length"), 2),
    "mean of real tokens, last_layer": (("finetune=last_layer", "task.position=mean_real"), 3),
    "first": (("task.position=first",), 2),
    "no padding": (("data.padding=none", "data.batch_size=1"), 2),
    "not causal": (("model.causal=false",), 2),
    "not causal, not masked, padded": (
        ("model.causal=false", "task.mask_padding=false", "data.padding=max_length"), 2,
    ),
    "dropout before the head": (("task.head_dropout=0.2",), 2),
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=BITSANDBYTES if "qlora" in name else ()) for name in CLASSIFIERS],
)
def test_classifiers_have_the_same_losses(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    settings, depth = CLASSIFIERS[name]
    arguments = ("+experiment=last_block", *MESSAGES, *RUN, *settings)
    cached = run(monkeypatch, "cached", *arguments)
    assert cached["prefix"]["blocks"] == depth
    assert cached["prefix"]["examples"] == 40
    assert_same(cached, run(monkeypatch, "plain", *arguments, "finetune.cache_prefix=false"))


LANGUAGE = {
    "last_block": (("task.tie_weights=false", "finetune=last_block"), 2),
    "last_layer": (("task.tie_weights=false", "finetune=last_layer"), 3),
    "tied, last_block": (("finetune=last_block",), 2),
    "lora on the last block": (("finetune=lora", "finetune.blocks=1"), 2),
}


@pytest.mark.parametrize("mask", ["none", "prompt"])
@pytest.mark.parametrize("name", LANGUAGE)
def test_language_models_have_the_same_losses(
    monkeypatch: pytest.MonkeyPatch, name: str, mask: str
) -> None:
    settings, depth = LANGUAGE[name]
    arguments = (
        "+experiment=instruct_nano", "data.path=records.json", f"data.mask={mask}", *RUN,
        "model.n_positions=128", "data.batch_size=4", "task.generation.max_new_tokens=1", *settings,
    )  # fmt: skip
    cached = run(monkeypatch, "cached", *arguments)
    assert cached["prefix"]["blocks"] == depth
    assert_same(cached, run(monkeypatch, "plain", *arguments, "finetune.cache_prefix=false"))


def test_last_layer_keeps_one_vector_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("+experiment=last_block", *MESSAGES, *RUN)
    facts = run(monkeypatch, "runs", *arguments, "finetune=last_layer")["prefix"]
    assert facts["mib"] * 2**20 == 40 * 32 * 4


@pytest.mark.parametrize(
    "settings",
    [
        ("finetune=all",),
        ("finetune=lora",),
        ("model.resid_pdrop=0.1",),
        ("task.position=last",),  # padded to the longest of the batch: it differs by batch
        ("~callbacks.prefix",),
        (
            "trainer.limit_train_batches=1",
            "trainer.limit_val_batches=1",
            "trainer.limit_test_batches=1",
        ),
    ],
)
def test_what_changes_with_the_batch_or_epoch_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    arguments = ("+experiment=last_block", *MESSAGES, *RUN, *settings)
    assert run(monkeypatch, "runs", *arguments)["prefix"] is None


def test_the_start_table_says_what_is_saved(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("+experiment=last_block", *MESSAGES, *RUN)
    run(monkeypatch, "runs", *arguments)
    # Passes: train and val 2 epochs and the final evaluation, test once; 2 of 3 blocks are saved
    # in all but the first of them.
    counts = {"train": 28, "val": 4, "test": 8}
    saved = 2 * (28 + 4) * 2 / (3 * ((28 + 4) * 3 + 8))
    out = capsys.readouterr().out
    assert all(f"{split}: {count}" in out for split, count in counts.items())
    assert f"blocks 0 to 1 run once for every example; {saved:.0%} of all forward passes" in out


def test_seeds_share_what_does_not_depend_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    monkeypatch.setattr(prefix, "_compute", _counting(prefix._compute, computed))
    arguments = (
        "+experiment=last_block", *MESSAGES, "model=nano", "trainer.max_epochs=1",
        "trainer.log_every_n_steps=1",
    )  # fmt: skip
    for settings in (
        ("seed=1",),
        ("seed=2",),
        ("seed=2", "optim.lr=1e-3"),
        ("seed=1", "data.max_length=9"),
    ):
        run_one = (*arguments, *settings)
        monkeypatch.setattr(sys, "argv", ["llm_lightning", *run_one])
        cli.main()
    assert computed == [40, 40]  # another length gives other states


@pytest.mark.parametrize("damage", ["none", "cut", "changed", "unsealed"])
def test_states_too_large_for_memory_are_in_a_file_that_runs_share(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: str
) -> None:
    computed: list[int] = []
    monkeypatch.setattr(prefix, "_compute", _counting(prefix._compute, computed))
    arguments = ("+experiment=last_block", *MESSAGES, *RUN)
    plain = run(monkeypatch, "plain", *arguments, "finetune.cache_prefix=false")
    in_file = (*arguments, "callbacks.prefix.memory_mib=0")
    first = run(monkeypatch, "first", *in_file)
    assert first["prefix"]["kept_in"] == "file"
    assert_same(first, plain)

    folder = tmp_path / "cache" / "prefixes"
    file = next(folder.glob("*.states"))
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "changed":
        file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    elif damage == "unsealed":
        file.with_suffix(".sha256").unlink()
    assert_same(run(monkeypatch, "second", *in_file), plain)
    assert len(computed) == (1 if damage == "none" else 2)
    assert {path.suffix for path in folder.iterdir()} == {".states", ".sha256", ".lock"}


def test_no_room_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("+experiment=last_block", *MESSAGES, *RUN, "callbacks.prefix.memory_mib=0")
    monkeypatch.setattr(sys, "argv", ["llm_lightning", *arguments, "callbacks.prefix.disk_mib=0"])
    with pytest.raises(SystemExit):
        cli.main()
    out = " ".join(capsys.readouterr().err.split())
    assert "callbacks.prefix.disk_mib must be at least" in out
    assert "finetune.cache_prefix=false" in out


def _counting(compute: Any, computed: list[int]) -> Any:
    def counted(trainer: Any, task: Any, data: Any, cache: Any, splits: Any) -> None:
        computed.append(cache.num_examples)
        compute(trainer, task, data, cache, splits)

    return counted
