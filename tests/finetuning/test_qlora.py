"""Adapters over a base in four bits."""

import runpy
import sys
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.weights import ModelConfig, Weights
from llm_lightning.finetuning import qlora
from llm_lightning.finetuning.coverage import parameter_groups
from llm_lightning.finetuning.lora import adapters
from llm_lightning.finetuning.qlora import NF4Linear, NF4LoRALinear, QLoRA, quantized_bytes
from llm_lightning.tasks.classifier import Classifier

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes, of the extra qlora, is missing"
)

WIDTH = 64
TINY = {"n_layer": 2, "n_head": 2, "n_embd": WIDTH, "n_positions": 32, "init": "gpt2"}


def layer(**options: object) -> NF4LoRALinear:
    found = NF4LoRALinear(
        nn.Linear(WIDTH, 2 * WIDTH), rows=((0, 2 * WIDTH),), rank=4, scale=0.5, **options
    )
    nn.init.normal_(found.lora_B)
    return found


def classifier(**finetune: object) -> Classifier:
    target = {"_target_": "llm_lightning.finetuning.qlora.QLoRA"}
    model = Classifier(
        task={}, model=TINY, finetune=target | finetune, optim={"lr": 1e-2},
        class_names=["ham", "spam"], class_weights=None, text={"max_length": 32}, seed=1,
    )  # fmt: skip
    random = Weights("random", None)
    model.load_base(ModelConfig(weights="random", **TINY), random)
    return model


@needs_bitsandbytes
def test_the_base_is_what_bitsandbytes_dequantizes() -> None:
    import bitsandbytes as bnb

    found = layer()
    weight = found.weight.detach().clone()
    quantized, state = bnb.functional.quantize_4bit(
        weight, quant_type="nf4", compress_statistics=True
    )
    found.quantize(double_quantization=True)
    assert torch.equal(found.weight.data, quantized)
    assert torch.equal(found.base_weight(), bnb.functional.dequantize_4bit(quantized, state))
    assert (
        found.base_weight() - weight
    ).abs().max() < 0.2 * weight.abs().max()  # half the widest gap


def test_before_the_weights_are_loaded_it_is_a_plain_layer() -> None:
    base = nn.Linear(WIDTH, WIDTH)
    x = torch.randn(3, WIDTH)
    before = base(x)
    assert torch.equal(NF4Linear(base)(x), before)


@needs_bitsandbytes
@pytest.mark.parametrize("dora", [False, True])
def test_the_output_is_that_of_the_dequantized_weight_and_the_adapter(dora: bool) -> None:
    found = layer(dora=dora)
    found.quantize(double_quantization=True)
    found.measure_base()
    x = torch.randn(5, 7, WIDTH)
    expected = F.linear(x, found.merged_weight(), found.bias)
    out = found(x)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, expected, atol=0.1, rtol=0.02)  # bf16 has 8 bits


@needs_bitsandbytes
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mixed", [False, True])
def test_its_output_has_the_precision_of_a_plain_layer(dtype: torch.dtype, mixed: bool) -> None:
    quantized, plain = NF4Linear(nn.Linear(WIDTH, WIDTH)), nn.Linear(WIDTH, WIDTH).to(dtype)
    quantized.quantize(double_quantization=True)
    x = torch.randn(3, WIDTH, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        assert quantized(x).dtype == plain(x).dtype


@needs_bitsandbytes
def test_dora_starts_at_the_quantized_lengths_and_trains_them_in_small_steps() -> None:
    """In bf16 a length of 1 is 1/128 from the next one: steps of 1e-4 would leave it in place."""
    start, with_dora = classifier(), classifier(dora=True)
    ids, lengths = torch.randint(50257, (3, 9)), torch.tensor([9, 5, 1])
    assert torch.equal(with_dora(ids, lengths), start(ids, lengths))
    magnitudes = [p for name, p in with_dora.named_parameters() if "magnitude" in name]
    before = [p.detach().clone() for p in magnitudes]
    optimizer = torch.optim.AdamW(magnitudes, lr=1e-4, weight_decay=0.0)
    for adapted in adapters(with_dora).values():
        nn.init.normal_(adapted.lora_B, std=0.02)
    with_dora(ids, lengths).square().sum().backward()
    optimizer.step()
    for old, new in zip(before, magnitudes, strict=True):
        assert (new != old).float().mean() > 0.9


@needs_bitsandbytes
def test_moving_a_model_moves_the_scales_with_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    from bitsandbytes.functional import QuantState

    moved: list[torch.device] = []
    move = QuantState.to
    monkeypatch.setattr(QuantState, "to", lambda state, to: (moved.append(to), move(state, to)))
    model = classifier()
    ids, lengths = torch.randint(50257, (3, 9)), torch.tensor([9, 5, 1])
    before = model(ids, lengths)
    model.to("cpu")
    assert moved == [torch.device("cpu")] * 8  # two blocks of four matrices
    assert torch.equal(model(ids, lengths), before)


@needs_bitsandbytes
def test_gradients_reach_the_adapter_in_bf16_and_nothing_else() -> None:
    model = classifier()
    ids = torch.randint(50257, (2, 9))
    model(ids, torch.tensor([9, 5])).sum().backward()
    with_gradient = {n for n, p in model.named_parameters() if p.grad is not None}
    trains = {n for n, p in model.named_parameters() if p.requires_grad}
    assert with_gradient == trains
    for adapted in adapters(model).values():
        assert adapted.lora_A.dtype == torch.bfloat16
        assert adapted.weight.dtype == torch.uint8


@needs_bitsandbytes
def test_every_matrix_of_the_blocks_is_quantized_adapter_or_not() -> None:
    model = classifier(targets=["q"], blocks=1)
    kinds = {
        name: type(module)
        for name, module in model.backbone.h.named_modules()
        if isinstance(module, nn.Linear)
    }
    assert kinds.pop("1.attn.c_attn") is NF4LoRALinear
    assert set(kinds.values()) == {NF4Linear}
    assert len(kinds) == 7
    dense = {n for n, p in model.named_parameters() if p.dtype == torch.float32}
    assert "backbone.wte.weight" in dense
    assert "backbone.h.0.ln_1.weight" in dense
    assert "backbone.h.0.attn.c_attn.weight" not in dense


@needs_bitsandbytes
def test_counts_are_of_weights_not_of_bytes() -> None:
    groups = {group.name: group for group in parameter_groups(classifier(targets=["q"], blocks=1))}
    block = 12 * WIDTH * WIDTH + 13 * WIDTH
    assert groups["backbone.h.0"].total == block
    assert groups["backbone.h.1"].total == block + 16 * 2 * WIDTH


@needs_bitsandbytes
def test_it_learns() -> None:
    model = classifier()
    trains = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trains, lr=1e-2)
    ids, labels = torch.randint(50257, (8, 12)), torch.arange(8) % 2
    losses = []
    for _ in range(10):
        loss = F.cross_entropy(model(ids, torch.full((8,), 12)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


@needs_bitsandbytes
def test_a_checkpoint_of_what_trained_comes_back_over_the_quantized_base() -> None:
    model = classifier(head="lora", dora=True)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    checkpoint = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    saved = set(checkpoint["state_dict"])
    assert all("lora" in name or name.startswith("head.") for name in saved)

    again = classifier(head="lora", dora=True)
    again.load_trained(checkpoint)
    ids, lengths = torch.randint(50257, (3, 20)), torch.tensor([20, 7, 1])
    assert torch.equal(again(ids, lengths), model(ids, lengths))


@needs_bitsandbytes
def test_merging_is_in_full_precision_and_can_be_undone() -> None:
    found = layer()
    found.quantize(double_quantization=True)
    quantized, x = found.weight, torch.randn(5, WIDTH)
    before, merged = found(x), found.merged_weight()
    found.merge()
    assert found.weight.dtype == torch.float32
    assert torch.equal(found.weight, merged)
    assert torch.equal(found(x), F.linear(x, merged, found.bias))
    with pytest.raises(ValueError, match="a merged weight cannot be quantized"):
        found.quantize(double_quantization=True)
    found.unmerge()
    assert found.weight is quantized
    assert torch.equal(found(x), before)
    with pytest.raises(ValueError, match="already quantized"):
        found.quantize(double_quantization=True)


@needs_bitsandbytes
def test_the_matrices_of_355m_take_less_than_30_percent_of_bf16() -> None:
    """Blocks are alike, so one of the 24 has the share of all."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = GPT2(GPTConfig(n_layer=1, n_head=16, n_embd=1024, vocab_size=1))
            self.head = nn.Linear(1024, 2)

    shares = []
    for double_quantization in (True, False):
        model, strategy = Model(), QLoRA(double_quantization=double_quantization)
        strategy.apply(model)
        strategy.base_loaded(model)
        facts = strategy.describe(model)
        assert facts["as_bf16_mib"] == 2 * 12 * 1024**2 / 2**20
        layers = [m for m in model.modules() if isinstance(m, (NF4Linear, NF4LoRALinear))]
        assert facts["quantized_mib"] == pytest.approx(sum(map(quantized_bytes, layers)) / 2**20)
        shares.append(facts["share_of_bf16"])
    # 4 bits a weight, and for 64 weights 8 bits (doubly quantised) or 32.
    assert shares == pytest.approx([(4 + 8 / 64) / 16, (4 + 32 / 64) / 16], rel=0.01)
    assert shares[0] <= 0.30


def test_without_the_extra_the_error_names_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # what makes an import fail
    with pytest.raises(ValueError, match=r"finetune=qlora needs bitsandbytes: pip install .*qlora"):
        QLoRA()


def test_the_module_itself_does_not_need_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    names = runpy.run_path(qlora.__file__, run_name=QLoRA.__module__)
    assert names["QLoRA"].__name__ == "QLoRA"
