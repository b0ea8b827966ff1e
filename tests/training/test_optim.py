import pytest
import torch
from torch import nn

from llm_lightning.training.optim import AdamW


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def test_book_decays_everything_and_the_option_spares_vectors() -> None:
    model = network()
    everything = AdamW().optimizer(model.parameters()).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in everything] == [(6, 0.1)]
    spared = AdamW(decay_norms_and_biases=False).optimizer(model.parameters()).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in spared] == [(2, 0.1), (4, 0)]
    assert all(parameter.ndim == 2 for parameter in spared[0]["params"])


def test_defaults_are_the_books() -> None:
    group = AdamW().optimizer(network().parameters()).param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (5e-5, 0.1)
    assert (group["betas"], group["eps"]) == ((0.9, 0.999), 1e-8)


def test_frozen_parameters_are_left_out_and_an_empty_set_is_an_error() -> None:
    model = network()
    model[0].requires_grad_(False)
    groups = AdamW().optimizer(model.parameters()).param_groups
    assert sum(len(group["params"]) for group in groups) == 4
    with pytest.raises(ValueError, match="nothing trains"):
        AdamW().optimizer(network().requires_grad_(False).parameters())


def test_constant_schedule_is_constant() -> None:
    assert [AdamW().lr_factor(step, 10) for step in range(10)] == [1.0] * 10


def test_warm_up_rises_to_one_and_the_cosine_falls_to_zero() -> None:
    optim = AdamW(warmup_fraction=0.2, schedule="cosine")
    factors = [optim.lr_factor(step, 10) for step in range(11)]
    assert factors[:3] == [0.5, 1.0, 1.0]
    assert factors[6] == pytest.approx(0.5)
    assert factors[10] == pytest.approx(0.0, abs=1e-12)
    assert factors[1:] == sorted(factors[1:], reverse=True)


def test_scheduler_steps_the_optimizer() -> None:
    optim = AdamW(lr=1.0, warmup_fraction=0.5)
    optimizer = optim.optimizer(network().parameters())
    scheduler = optim.scheduler(optimizer, total_steps=4)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == [0.5, 1.0, 1.0, 1.0]


@pytest.mark.slow
def test_moments_in_eight_bits_take_a_quarter_and_step_alike() -> None:
    pytest.importorskip("bitsandbytes")
    texts = torch.randn(64, 128)
    moved, sizes = {}, {}
    for bits in (32, 8):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(128, 256), nn.GELU(), nn.Linear(256, 128))
        before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
        optimizer = AdamW(lr=1e-3, state_bits=bits).optimizer(model.parameters())
        for _ in range(5):
            optimizer.zero_grad()
            (model(texts) - texts).square().mean().backward()
            optimizer.step()
        moved[bits] = torch.cat([p.detach().flatten() for p in model.parameters()]) - before
        state = [t for one in optimizer.state.values() for t in one.values()]
        sizes[bits] = sum(t.nbytes for t in state if isinstance(t, torch.Tensor))
    # Nearly every weight moves by the learning rate in each step, whatever its gradient.
    difference = (moved[8] - moved[32]).abs()
    assert difference.mean() < 0.02 * moved[32].abs().mean()
    assert (difference > 1e-3).float().mean() < 1e-3, "seldom as much as one step"
    assert sizes[8] < 0.3 * sizes[32]


def test_moments_in_eight_bits_need_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    AdamW().check_libraries()
    monkeypatch.setattr("llm_lightning.presentation.extras.is_installed", lambda module: False)
    with pytest.raises(ValueError, match=r"optim.state_bits=8 needs bitsandbytes: pip install"):
        AdamW(state_bits=8).check_libraries()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lr": 0.0}, "optim.lr must be above 0, got 0.0"),
        ({"eps": -1.0}, "optim.eps must be above 0, got -1.0"),
        ({"weight_decay": -0.1}, "optim.weight_decay must be at least 0, got -0.1"),
        ({"betas": [0.9]}, r"optim.betas must be two numbers in \[0, 1\), got \[0.9\]"),
        ({"warmup_fraction": 1.0}, r"optim.warmup_fraction must lie in \[0, 1\), got 1.0"),
        ({"state_bits": 4}, "optim.state_bits must be 8 or 32, got 4"),
        ({"schedule": "linear"}, "optim.schedule must be one of constant, cosine, got 'linear'"),
    ],
)
def test_bad_fields_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdamW(**fields)
