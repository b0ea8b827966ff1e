"""What a dry run says is what a run does; and it leaves nothing behind."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from program import SMOKE, command
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from llm_lightning.dry_run.plan import Plan
from llm_lightning.training.step_memory import memory_by_part

BITSANDBYTES = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes, of the extra qlora, is missing"
)
TINY = (*SMOKE, "model.n_layer=2", "model.n_embd=32", "model.n_head=2")
STRATEGIES = [
    ("last_block", "trainer.accumulate_grad_batches=3"),
    ("lora", "finetune.dropout=0.1", "model.resid_pdrop=0.1"),
]
MORE_STRATEGIES = [
    ("instruct_nano", "task.tie_weights=false", "finetune=lora"),
    ("last_layer",),
    ("last_block", "trainer.precision=bf16-true", "optim.decay_norms_and_biases=false"),
    ("all", "trainer.precision=bf16-mixed"),
    ("qlora",),
    ("instruct_nano",),
    ("instruct_qlora",),
    ("pretrain_nano", "data.path=book.txt", "trainer.log_every_n_steps=1", "model.n_positions=64"),
]
ALL_STRATEGIES = [
    *STRATEGIES,
    *(
        pytest.param(one, marks=[pytest.mark.slow, *([BITSANDBYTES] if "qlora" in one[0] else [])])
        for one in MORE_STRATEGIES
    ),
]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    Path("book.txt").write_text("It was the best of times, it was the worst of times. " * 200)


def plan(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Plan:
    """The plan of one run."""
    found = []
    with monkeypatch.context() as patch:
        patch.setattr("llm_lightning.dry_run.printing.print_plan", found.append)
        assert command(patch, *arguments, "dry_run=true") == 0
    (made,) = found
    assert isinstance(made, Plan)
    return made


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    """The summary of one run."""
    assert command(monkeypatch, *arguments) == 0
    (file,) = Path("runs").glob("*/seed_*/summary.json")
    summary: dict[str, Any] = json.loads(file.read_text())
    return summary


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(file): (file.stat().st_mtime_ns, file.read_bytes() if file.is_file() else b"")
        for file in folder.rglob("*")
    }


# --- memory ---------------------------------------------------------------------------------------


def num_bytes(tensors: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, Tensor))


@pytest.mark.slow
@pytest.mark.parametrize("settings", ALL_STRATEGIES, ids=lambda given: "-".join(given))
def test_memory_is_what_a_real_step_keeps(
    monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    arguments = (
        f"+experiment={settings[0]}", *TINY, *settings[1:], "trainer.max_epochs=1",
        "+callbacks.sample_responses.max_new_tokens=2" if "instruct" in settings[0] else "seed=123",
        "task.generation.max_new_tokens=2" if "instruct" in settings[0] else "seed=123",
    )  # fmt: skip
    planned = plan(monkeypatch, *arguments)
    real: dict[str, int] = {}

    def before_step(self: Any, trainer: L.Trainer, module: nn.Module, optimizer: Any) -> None:
        real["gradients"] = num_bytes(p.grad for p in module.parameters())
        real["trainable"] = sum(p.numel() for p in module.parameters() if p.requires_grad)
        real["weights"] = num_bytes((*module.parameters(), *module.buffers()))
        real["tensors"] = sum(p.requires_grad for p in module.parameters())

    def on_end(self: Any, trainer: L.Trainer, *_: Any) -> None:
        states = trainer.optimizers[0].state.values()
        real["optimizer"] = sum(num_bytes(state.values()) for state in states)

    with monkeypatch.context() as patch:
        patch.setattr(L.Callback, "on_before_optimizer_step", before_step)
        patch.setattr(L.Callback, "on_train_end", on_end)
        summary = run(patch, *arguments)
    assert planned.trainable == summary["parameters"]["trainable"]
    assert planned.total == summary["parameters"]["total"]
    assert planned.steps == summary["optimizer_steps"] > 0
    assert planned.memory["gradients"] == real["gradients"]
    assert planned.memory["optimizer"] == real["optimizer"]
    assert real["optimizer"] == 2 * real["gradients"] + 4 * real["tensors"]  # and a step count
    if "qlora" not in settings[0]:
        assert planned.trainable == real["trainable"]
        assert planned.memory["weights"] == real["weights"]
    else:
        packed = summary["finetune"]
        saved = 2**20 * (packed["as_fp32_mib"] - packed["quantized_mib"])
        dense = real["weights"] + 3.5 * 2**20 * packed["as_bf16_mib"] / 2  # packed: half a byte
        assert planned.memory["weights"] == pytest.approx(dense - saved, rel=1e-3)


class Made(TorchDispatchMode):
    """Storages that operators made."""

    def __init__(self) -> None:
        super().__init__()
        self._sizes: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._sizes[StorageWeakRef(storage)] = storage.nbytes()
        return out

    def alive(self, apart_from: nn.Module) -> int:
        own = {StorageWeakRef(t.untyped_storage()) for t in apart_from.state_dict().values()}
        return sum(
            size for ref, size in self._sizes.items() if not ref.expired() and ref not in own
        )


@pytest.mark.parametrize(
    "settings",
    [
        ("lora", "finetune.dropout=0.1"),
        ("last_block", "data.batch_size=32"),
        ("instruct_nano", "data.batch_size=4"),
        pytest.param(("all",), marks=pytest.mark.slow),
        pytest.param(("all", "trainer.precision=bf16-mixed"), marks=pytest.mark.slow),
        pytest.param(MORE_STRATEGIES[-1], marks=pytest.mark.slow),
    ],
    ids=lambda given: "-".join(given),
)
def test_activations_are_what_is_alive_between_the_passes(
    monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    alive = []

    def measured_twice(module: Any, batch: Any) -> dict[str, int]:
        context = module.trainer.precision_plugin.train_step_context
        with context(), Made() as made:
            loss = module.training_step(batch, 0)
            alive.append(made.alive(apart_from=module))
        del loss
        return memory_by_part(module, batch)

    monkeypatch.setattr("llm_lightning.dry_run.measure.memory_by_part", measured_twice)
    planned = plan(monkeypatch, f"+experiment={settings[0]}", *TINY, *settings[1:])
    (expected,) = alive
    assert planned.memory["activations"] > 5e4
    assert planned.memory["activations"] == pytest.approx(expected, rel=0.05)


@pytest.mark.slow
def test_the_widest_batch_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("+experiment=all", *TINY, "trainer.limit_train_batches=1.0")
    narrow = plan(monkeypatch, *arguments, "data.max_length=10")
    wide = plan(monkeypatch, *arguments, "data.max_length=20")
    assert (narrow.widest_batch, wide.widest_batch) == ([8, 10], [8, 20])
    ratio = wide.memory["activations"] / narrow.memory["activations"]
    assert ratio == pytest.approx(2, rel=0.05)


def test_a_step_that_does_not_fit_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("llm_lightning.dry_run.measure.memory_by_part", full)
    assert command(monkeypatch, "+experiment=all", *SMOKE, "dry_run=true") == 2
    told = capsys.readouterr().err
    assert "does not fit in the memory of cpu" in told
    assert "the weights take 29 MiB" in told
    assert "data.batch_size" in told


# --- steps and folders ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(
            ("trainer.limit_train_batches=7", "trainer.accumulate_grad_batches=3"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("trainer.limit_train_batches=0.1", "data.batch_size=3", "data.drop_last=true"),
            marks=pytest.mark.slow,
        ),
        pytest.param(("trainer.max_steps=5",), marks=pytest.mark.slow),
        ("trainer.max_epochs=0",),
    ],
    ids=lambda given: given[0],
)
def test_steps_are_exact(monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]) -> None:
    arguments = ("+experiment=last_layer", *TINY, "trainer.max_epochs=3", *settings)
    planned = plan(monkeypatch, *arguments)
    assert planned.steps == run(monkeypatch, *arguments)["optimizer_steps"]
    assert planned.seconds["evaluation"] > 0
    assert bool(planned.steps) == ("activations" in planned.memory)


def test_nothing_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = everything(Path.cwd())
    assert command(monkeypatch, "+experiment=lora", *SMOKE, "dry_run=true") == 0
    told = capsys.readouterr().out
    for said in ("221,442 of", "4 optimizer steps", "activations", "time ", "not touched"):
        assert said in told
    assert everything(Path.cwd()) == before
    assert not list(scratch.iterdir())


@pytest.mark.slow
def test_a_finished_run_costs_nothing_and_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("+experiment=last_layer", *TINY)
    summary = run(monkeypatch, *arguments)
    before = everything(Path.cwd())
    planned = plan(monkeypatch, *arguments)
    assert (planned.prior, planned.steps, planned.total_seconds) == ("finished", 0, 0)
    assert planned.trainable == summary["parameters"]["trainable"]
    assert plan(monkeypatch, *arguments, "rerun=true").steps == 4
    assert plan(monkeypatch, *arguments, "optim.lr=1e-3").steps == 4
    assert everything(Path.cwd()) == before


@pytest.mark.slow
def test_of_an_interrupted_run_only_the_rest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("+experiment=last_layer", *TINY, "trainer.max_epochs=3", "checkpoint_every=4")

    def kill(self: Any, trainer: L.Trainer, module: Any, batch: Any, index: int) -> None:
        if (trainer.current_epoch, index) == (2, 1):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(L.Callback, "on_train_batch_start", kill)
        with pytest.raises(KeyboardInterrupt, match="in epoch 3 of 3"):
            command(patch, *arguments)
    before = everything(Path.cwd())
    planned = plan(monkeypatch, *arguments)
    assert (planned.prior, planned.steps_done, planned.steps) == ("interrupted", 8, 4)
    assert everything(Path.cwd()) == before
    whole = plan(monkeypatch, *arguments, "rerun=true")
    assert (whole.steps_done, whole.steps) == (0, 12)


@pytest.mark.slow
def test_responses_to_the_test_split_count(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = (
        "+experiment=instruct_nano", *TINY, "trainer.max_epochs=1",
        "task.generation.max_new_tokens=8", "task.generation.batch_size=64",
        "+callbacks.sample_responses.max_new_tokens=2",
    )  # fmt: skip
    planned = plan(monkeypatch, *arguments)
    assert planned.longest_responses_s is not None
    assert 0 < planned.seconds["responses"] <= planned.longest_responses_s
    run(monkeypatch, *arguments)
    (file,) = Path("runs").glob("*/*/summary.json")
    summary = json.loads(file.read_text())
    file.write_text(json.dumps(summary | {"responses": None}))
    left = plan(monkeypatch, *arguments)
    assert (left.prior, left.steps, set(left.seconds)) == (
        "no responses", 0, {"responses"},
    )  # fmt: skip


def test_a_baseline_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("+experiment=baseline_naive_bayes",)
    planned = plan(monkeypatch, *arguments)
    assert not Path("runs").exists()
    summary = run(monkeypatch, *arguments)
    assert planned.trainable == summary["parameters"]["trainable"] > 100
    assert (planned.steps, planned.memory) == (0, {})
    assert 0 < planned.total_seconds < 10


# --- sweeps ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_sweep_gets_a_line_a_run_and_a_total(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "+experiment=last_layer", *TINY) == 0
    before = everything(Path.cwd())
    capsys.readouterr()
    sweep = ("-m", "+experiment=last_layer,baseline_length", *TINY, "seed=123,7")
    assert command(monkeypatch, *sweep, "dry_run=true") == 0
    told = capsys.readouterr().out.splitlines()
    lines = [line for line in told if "trainable" in line]
    assert len(lines) == 4
    assert sum("finished before" in line for line in lines) == 1
    total = next(line for line in told if "one after another" in line)
    assert "4 runs, 1 finished before: 4 steps, about" in total
    found = told[told.index(total) + 1 :]
    assert found[0].startswith("test accuracy: 2 seeds on ")
    assert "assuming 8.0 %" in found[1]
    assert found[-1].startswith("  needed for 1 point: ")
    refused = (*sweep, "dry_run=true", "objective=accurracy")
    assert command(monkeypatch, *refused) == 1
    output = capsys.readouterr()
    assert "4 refused" in output.out
    assert "objective must be one of loss, accuracy" in output.err
    assert everything(Path.cwd()) == before


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.benchmark
@pytest.mark.timeout(1000)
@pytest.mark.parametrize(
    "settings",
    [
        ("lora", "trainer.max_epochs=1"),
        ("last_block", "trainer.max_epochs=3", "trainer.accumulate_grad_batches=4"),
        ("instruct_nano", "trainer.limit_train_batches=60", "trainer.max_epochs=2"),
    ],
    ids=lambda given: given[0],
)
def test_the_time_is_about_right(
    monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...], tmp_path: Path
) -> None:
    arguments = (f"+experiment={settings[0]}", "model=nano", *settings[1:])
    ratios = []
    for _ in range(3):  # other work on the machine can disturb either of the two
        planned = plan(monkeypatch, *arguments)
        seconds = run(monkeypatch, *arguments)
        real = seconds["seconds"]["total"]
        answers = seconds["responses"]["seconds"] if seconds["responses"] else 0.0
        print(f"{settings[0]}: {planned.seconds} of {real:.1f} + {answers:.1f} s")
        ratios.append((planned.total_seconds - planned.seconds.get("responses", 0)) / real)
        if 0.5 < ratios[-1] < 2:
            break
        shutil.rmtree("runs")
    assert 0.5 < ratios[-1] < 2, ratios
