from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from llm_lightning.callbacks.throughput import Throughput
from llm_lightning.data.batching import Batch, Example, Padder
from llm_lightning.training import clock


class Linear(L.LightningModule):
    """One product of (B, 4) and (4, 3), and its gradient by the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        return self.layer(torch.ones(len(batch.labels), 4)).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(*callbacks: L.Callback) -> L.Trainer:
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=2,
    )
    rows = [Example([1] * length, 0) for length in (3, 5, 2, 2)]
    loader: Any = DataLoader(rows, batch_size=2, collate_fn=Padder(max_length=8).collate)  # type: ignore[arg-type]
    trainer.fit(Linear(), loader)
    return trainer


def test_operations_are_those_of_forward_and_backward_per_real_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr(clock.time, "perf_counter", lambda: float(next(ticks)))
    found = fit(Throughput()).callback_metrics
    # One tick passes between the start of the epoch and the log after the second batch. A product
    # of (B, 4) and (4, 3) is 2 * 12 * B operations, as much again for the gradient; the first
    # batch of 2 has 8 real tokens, both have 12.
    assert found["time/tokens_per_second"] == 12
    assert found["time/tflops_per_second"] * 1e12 == pytest.approx(2 * 2 * 12 * 2 / 8 * 12)
    assert "time/mfu" not in found, "the peak of a CPU is not known"


class FakeGpu:
    """A device on which launching takes no time, and work is done when it is waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds, self.pending = 0.0, 0.0
        monkeypatch.setattr(clock.time, "perf_counter", lambda: self.seconds)
        monkeypatch.setattr(torch.cuda, "synchronize", self.synchronize)

    def synchronize(self, device: torch.device) -> None:
        self.seconds, self.pending = self.seconds + self.pending, 0.0


class FakeModule:
    def __init__(self) -> None:
        self.logged: dict[str, float] = {}

    def log(self, name: str, value: float) -> None:
        self.logged[name] = value


def test_asynchronous_work_of_steps_counts_and_that_of_validation_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu, module, callback = FakeGpu(monkeypatch), FakeModule(), Throughput()
    trainer: Any = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cuda:0")),
        log_every_n_steps=2,
        global_step=0,
    )
    batch = Padder(max_length=8).collate([Example([1] * 5, 0)])

    def step(trainer: Any) -> None:
        callback.on_train_batch_start()
        gpu.pending += 2.0  # forward, backward and optimizer
        trainer.global_step += 1
        callback.on_train_batch_end(trainer, module, None, batch, 0)  # type: ignore[arg-type]

    def validate() -> None:
        callback.on_validation_start(trainer, module)  # type: ignore[arg-type]
        gpu.pending += 50.0
        callback.on_validation_end(trainer, module)  # type: ignore[arg-type]

    for _ in range(2):  # epochs are measured separately
        callback.on_train_epoch_start(trainer, module)  # type: ignore[arg-type]
        step(trainer)
        assert gpu.pending == 2.0, "steps without a log do not wait for the device"
        validate()
        step(trainer)
        assert module.logged["time/tokens_per_second"] == 2 * 5 / (2 * 2.0)


def test_utilization_is_the_share_of_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    callback = Throughput()

    class OnGpu(L.Callback):
        def on_train_start(self, *args: Any) -> None:
            callback._peak = 1_000_000

    found = fit(callback, OnGpu()).callback_metrics
    assert found["time/mfu"] == pytest.approx(found["time/tflops_per_second"] * 1e12 / 1e6)


def test_what_is_compiled_stays_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def backend(graph: Any, inputs: Any) -> Any:
        calls.append(graph)
        return graph.forward

    plain = nn.Linear.forward
    torch._dynamo.reset()
    monkeypatch.setattr(
        Linear, "training_step", torch.compile(Linear.training_step, backend=backend)
    )
    fit(Throughput())
    assert nn.Linear.forward is plain
    assert calls
