"""Runs of two processes, which must be the runs of one with batches twice as large."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from program import SMOKE, command
from safetensors.torch import load_file

from llm_lightning.distributed.nodes import MeetingPlace, meeting_place, node_rank
from llm_lightning.distributed.processes import Processes
from llm_lightning.runs import together
from llm_lightning.runs.handle import load
from llm_lightning.tasks.task import Task

pytestmark = pytest.mark.usefixtures("own_folder")

WHOLE = (
    *SMOKE, "trainer.limit_train_batches=null", "trainer.limit_val_batches=null",
    "trainer.limit_test_batches=null", "optim.lr=1e-4",
)  # fmt: skip
LAST_BLOCK = ("+experiment=last_block", *WHOLE, "data.num_train=19")
LORA = ("+experiment=lora", *WHOLE, "data.num_train=37", "trainer.max_epochs=2")
INSTRUCT = (
    "+experiment=instruct_lora", *SMOKE, "optim.lr=1e-4", "data.mask=prompt",
    "trainer.limit_train_batches=9", "trainer.accumulate_grad_batches=2",
    "task.generation.max_new_tokens=2",
)  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Path:
    assert command(monkeypatch, *arguments) == 0
    runs_dir = next(a.removeprefix("runs_dir=") for a in arguments if a.startswith("runs_dir="))
    (folder,) = Path(runs_dir).glob("*/seed_123")
    return folder


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def curves(folder: Path) -> pd.DataFrame:
    """What was logged, times aside; a perplexity as the loss that it is the exponential of."""
    table = pd.read_csv(folder / "metrics.csv")
    for column in table:
        if column.endswith("perplexity"):
            table[column] = np.log(table[column])
    return table[[column for column in table if not column.startswith("time/")]]


def assert_same(one: Path, other: Path) -> None:
    """Every loss and metric of training, validation and evaluation."""
    first, second = curves(one), curves(other)
    assert list(first) == list(second)
    assert len(first) == len(second) > 3
    np.testing.assert_allclose(first.to_numpy(), second.to_numpy(), rtol=0, atol=1e-5)
    for split, values in summary(one)["metrics"].items():
        for name, value in values.items():
            found = summary(other)["metrics"][split][name]
            if name == "perplexity":
                found, value = math.log(found), math.log(value)
            assert found == pytest.approx(value, rel=0, abs=1e-5)
    for key in ("optimizer_steps", "evaluated_examples", "examples_per_epoch", "steps_per_epoch"):
        assert summary(one)[key] == summary(other)[key]


@pytest.mark.parametrize(
    ("settings", "of_one", "of_two"),
    [
        pytest.param(
            LAST_BLOCK,
            ("data.batch_size=8",),
            ("data.batch_size=4",),
            id="last_block",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            LORA,
            ("data.batch_size=8", "finetune.dropout=0"),
            ("data.batch_size=4", "finetune.dropout=0"),
            id="lora",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            INSTRUCT,
            ("data.batch_size=4", "data.eval_batch_size=8", "finetune.dropout=0"),
            ("data.batch_size=2", "data.eval_batch_size=4", "finetune.dropout=0"),
            id="instruct",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (*LAST_BLOCK, "trainer.accumulate_grad_batches=2"),
            ("data.batch_size=8",),
            ("data.batch_size=4", "trainer.strategy=fsdp2"),
            id="last_block_fsdp2",
            marks=pytest.mark.slow,
        ),
        *(
            pytest.param(
                settings,
                ("data.batch_size=8",),
                ("data.batch_size=4", "trainer.strategy=fsdp2"),
                id=name,
                marks=pytest.mark.slow,
            )
            for name, settings in (
                ("all_fsdp2", ("+experiment=all", *WHOLE, "data.num_train=19")),
                ("lora_fsdp2", (*LORA, "finetune.dropout=0")),
            )
        ),
        pytest.param(
            INSTRUCT,
            ("data.batch_size=4", "data.eval_batch_size=8", "finetune.dropout=0"),
            (
                "data.batch_size=2",
                "data.eval_batch_size=4",
                "finetune.dropout=0",
                "trainer.strategy=fsdp2",
            ),
            id="instruct_fsdp2",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_processes_compute_what_one_does(
    monkeypatch: pytest.MonkeyPatch,
    settings: tuple[str, ...],
    of_one: tuple[str, ...],
    of_two: tuple[str, ...],
) -> None:
    one = run(monkeypatch, *settings, *of_one, "runs_dir=one")
    two = run(monkeypatch, *settings, *of_two, "runs_dir=two", "trainer.devices=2")
    assert_same(one, two)
    assert summary(two)["device"].startswith("2 x ")

    def names(folder: Path) -> set[str]:
        return {path.name.split(".vm.")[0].split(".1")[0] for path in folder.rglob("*")}

    assert names(one) == names(two), "one folder, written by one process"
    assert {p.name for p in Path().iterdir()} <= {"one", "two", "cache"}
    states = [torch.load(run / "checkpoints/last.ckpt")["state_dict"] for run in (one, two)]
    assert {k: v.shape for k, v in states[0].items()} == {k: v.shape for k, v in states[1].items()}
    for file in two.glob("predictions_*.csv"):
        theirs, ours = pd.read_csv(one / file.name), pd.read_csv(file)
        assert list(theirs["text"]) == list(ours["text"])
        columns = [name for name in ours if name.startswith("probability")]
        np.testing.assert_allclose(theirs[columns], ours[columns], atol=1e-5)


@pytest.mark.slow
def test_a_run_of_fsdp2_is_used_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (
        "+experiment=all", *SMOKE, "model.n_layer=2", "model.n_embd=32", "model.n_head=2",
        "task.pooling=last_real",
    )  # fmt: skip
    two = ("trainer.devices=2", "trainer.strategy=fsdp2", "data.batch_size=4")
    folder = run(monkeypatch, *settings, *two, "runs_dir=runs")
    texts = ["WINNER!! Claim your prize now", "see you at six"]
    predicted = load(folder).predict(texts)
    trained = torch.load(folder / "checkpoints/last.ckpt")["state_dict"]
    assert command(monkeypatch, "export", str(folder), "--format", "hf", "--out", "hf") == 0
    exported = load_file("hf/model.safetensors")
    torch.testing.assert_close(exported["score.weight"], trained["head.weight"])
    name = "h.1.mlp.c_fc.weight"
    torch.testing.assert_close(exported[f"transformer.{name}"].T, trained[f"backbone.{name}"])
    (file,) = folder.glob("predictions_test.csv")
    of_run = pd.read_csv(file)
    again = load(folder).predict(list(of_run["text"]))
    columns = [name for name in of_run if name.startswith("probability")]
    np.testing.assert_allclose(again[columns], of_run[columns], atol=1e-5)
    assert len(predicted) == 2


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_run_whose_second_process_dies_ends_with_one_message_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], strategy: str
) -> None:
    settings = (
        *LORA, "finetune.dropout=0.1", "data.batch_size=4", "trainer.devices=2",
        f"trainer.strategy={strategy}", "checkpoint_every=2", "runs_dir=runs",
    )  # fmt: skip
    whole = run(monkeypatch, *settings[:-1], "runs_dir=whole")
    started: list[int] = []
    popen = together.subprocess.Popen

    def remembered(*args: Any, **options: Any) -> Any:
        process = popen(*args, **options)
        started.append(process.pid)
        return process

    def kill(self: Task, batch: Any, index: int) -> None:
        if (self.current_epoch, index) == (1, 3):
            os.kill(started[0], signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(together.subprocess, "Popen", remembered)
        patch.setattr(Task, "on_train_batch_start", kill)
        capsys.readouterr()
        assert command(monkeypatch, *settings) == 2
    told = capsys.readouterr().err
    assert "process 2 of 2 ended by SIGKILL" in told
    assert "The same command continues" in told
    assert "Traceback" not in told
    (folder,) = Path("runs").glob("*/seed_123")
    assert json.loads((folder / "status.json").read_text())["state"] == "failed"
    run(monkeypatch, *settings)
    assert_same(whole, folder)  # dropout goes on as it would have, in both


@pytest.mark.slow
def test_a_sweep_of_two_processes_each(monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = ("-m", "+experiment=last_block", *SMOKE, "seed=1,2", "trainer.devices=2")
    assert command(monkeypatch, *sweep) == 0
    folders = sorted(Path("runs").glob("*/*"))
    assert [folder.name for folder in folders] == ["seed_1", "seed_2"]
    assert all(summary(folder)["device"].startswith("2 x ") for folder in folders)
    assert summary(folders[0])["metrics"] != summary(folders[1])["metrics"]


@pytest.mark.slow
def test_activations_in_a_file_are_computed_by_both(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (*LAST_BLOCK, "data.batch_size=4", "trainer.devices=2")
    in_memory = run(monkeypatch, *settings, "runs_dir=memory")
    on_disk = (*settings, "callbacks.frozen_activations.memory_mib=0")
    in_file = run(monkeypatch, *on_disk, "runs_dir=file")
    assert summary(in_file)["frozen_activations"]["kept_in"] == "file"
    assert_same(in_memory, in_file)
    again = run(monkeypatch, *on_disk, "runs_dir=again")
    assert_same(in_memory, again)


def test_numbers_of_devices_are_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for setting in ("devices=0", "devices=auto", "strategy=fsdp", "num_nodes=0"):
        assert command(monkeypatch, "+experiment=last_block", *SMOKE, f"trainer.{setting}") == 2
        assert f"trainer.{setting.split('=')[0]} must be" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_machines_compute_what_one_does(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command on both, one process each, meeting on the loopback interface."""
    one = run(monkeypatch, *LAST_BLOCK, "data.batch_size=8", "runs_dir=one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = (
        *LAST_BLOCK, "data.batch_size=4", "trainer.num_nodes=2", "runs_dir=two",
        f"trainer.strategy={strategy}",
    )  # fmt: skip
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    other = subprocess.Popen(
        [sys.executable, "-m", "llm_lightning", *settings],
        env={**os.environ, "NODE_RANK": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        monkeypatch.setenv("NODE_RANK", "0")
        two = run(monkeypatch, *settings)
        said, _ = other.communicate(timeout=60)
    finally:
        other.kill()
        other.wait()
    assert other.returncode == 0, said
    assert [line[:7] for line in said.splitlines()] == ["loading"], "the first one tells the rest"
    assert_same(one, two)
    assert summary(two)["device"].startswith("2 x ")


def test_what_several_machines_need_in_the_environment() -> None:
    where = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "NODE_RANK": "1"}
    assert node_rank(where, 2) == 1
    assert node_rank({}, 1) == 0
    assert meeting_place(where) == MeetingPlace("10.0.0.1", 29500)
    for rank in ("", "2", "-1", "x"):
        with pytest.raises(ValueError, match=r"trainer\.num_nodes=2 needs NODE_RANK"):
            node_rank({"NODE_RANK": rank}, 2)
    for changed in ({"MASTER_ADDR": ""}, {"MASTER_PORT": "0"}, {"MASTER_PORT": "70000"}):
        with pytest.raises(ValueError, match="MASTER_ADDR and MASTER_PORT"):
            meeting_place(where | changed)
    assert [one.rank for one in Processes(6, 3, num_nodes=2).beside()] == [4, 5]
    assert (Processes(6, 4, 2).node_rank, Processes(6, 4, 2).local_rank) == (1, 1)
