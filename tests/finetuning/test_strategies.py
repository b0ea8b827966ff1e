import pytest
import torch
from hydra.utils import get_class
from omegaconf import OmegaConf
from torch import nn

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.config.experiments import conf_dir
from llm_lightning.finetuning.coverage import parameter_groups
from llm_lightning.finetuning.strategies import AllLayers, ChosenBlocks, TopBlocks, from_dict

BLOCK = [
    f"{layer}.{kind}"
    for layer in ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
    for kind in ("weight", "bias")
]
HEAD = {"head.weight", "head.bias"}
FINAL_NORM = {"backbone.ln_f.weight", "backbone.ln_f.bias"}
HEAD_COUNT, FINAL_NORM_COUNT, BLOCK_COUNT = 1_538, 1_536, 7_087_872


def block(index: int) -> set[str]:
    return {f"backbone.h.{index}.{name}" for name in BLOCK}


class TwoParts(nn.Module):
    """The shape of 124M GPT-2 with a two-class head, without its memory."""

    def __init__(self) -> None:
        super().__init__()
        with torch.device("meta"):
            self.backbone = GPT2(GPTConfig(n_layer=12, n_head=12, n_embd=768))
            self.head = nn.Linear(768, 2)

    def trainable(self) -> set[str]:
        return {name for name, parameter in self.named_parameters() if parameter.requires_grad}

    def count(self) -> int:
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


@pytest.fixture
def model() -> TwoParts:
    return TwoParts()


@pytest.mark.parametrize(
    ("strategy", "names", "count"),
    [
        (TopBlocks(num_blocks=0, train_final_norm=False), HEAD, HEAD_COUNT),
        (
            TopBlocks(num_blocks=1),
            block(11) | FINAL_NORM | HEAD,
            BLOCK_COUNT + FINAL_NORM_COUNT + HEAD_COUNT,
        ),
        (
            TopBlocks(num_blocks=2),
            block(10) | block(11) | FINAL_NORM | HEAD,
            2 * BLOCK_COUNT + FINAL_NORM_COUNT + HEAD_COUNT,
        ),
        (
            TopBlocks(num_blocks=1, train_final_norm=False),
            block(11) | HEAD,
            BLOCK_COUNT + HEAD_COUNT,
        ),
    ],
)
def test_top_blocks_train_exactly_these(
    model: TwoParts, strategy: TopBlocks, names: set[str], count: int
) -> None:
    strategy.apply(model)
    assert model.trainable() == names
    assert model.count() == count


def test_chosen_blocks_train_exactly_these(model: TwoParts) -> None:
    ChosenBlocks(blocks=[0, 7]).apply(model)
    assert model.trainable() == block(0) | block(7) | FINAL_NORM | HEAD
    ChosenBlocks(blocks=[3], train_final_norm=False).apply(model)
    assert model.trainable() == block(3) | HEAD
    with pytest.raises(ValueError, match=r"finetune.blocks must lie between 0 and 11.*, got 12"):
        ChosenBlocks(blocks=[1, 12]).apply(model)
    with pytest.raises(ValueError, match=r"finetune.blocks must name at least one"):
        ChosenBlocks(blocks=[])


def test_all_layers_train_everything(model: TwoParts) -> None:
    TopBlocks(num_blocks=0).apply(model)
    AllLayers().apply(model)
    assert model.trainable() == {name for name, _ in model.named_parameters()}
    assert model.count() == 124_439_808 + HEAD_COUNT


@pytest.mark.parametrize(
    ("file", "count"),
    [
        ("last_layer", HEAD_COUNT),
        ("last_block", BLOCK_COUNT + FINAL_NORM_COUNT + HEAD_COUNT),
        ("last_two_blocks", 2 * BLOCK_COUNT + FINAL_NORM_COUNT + HEAD_COUNT),
        ("all", 124_439_808 + HEAD_COUNT),
    ],
)
def test_each_yaml_file_trains_what_its_name_means(model: TwoParts, file: str, count: int) -> None:
    values = OmegaConf.load(conf_dir() / "finetune" / f"{file}.yaml")
    schema = values.pop("defaults")[0].split("/")[-1].split("@")[0]
    kind = {"top_blocks": TopBlocks, "all_layers": AllLayers}[schema]
    kind(**values).apply(model)
    assert model.count() == count


def test_more_blocks_than_there_are_is_refused(model: TwoParts) -> None:
    with pytest.raises(
        ValueError, match="num_blocks must be at most the model's 12 blocks, got 13"
    ):
        TopBlocks(num_blocks=13).apply(model)
    with pytest.raises(ValueError, match="num_blocks must be at least 0, got -1"):
        TopBlocks(num_blocks=-1)


def test_a_strategy_survives_as_a_plain_dict() -> None:
    fields = {"_target_": "llm_lightning.finetuning.strategies.TopBlocks", "num_blocks": 3}
    assert from_dict(fields) == TopBlocks(num_blocks=3)
    assert get_class(fields["_target_"]) is TopBlocks
    with pytest.raises(ValueError, match=r"must name a strategy of .*, got 'os\.system'"):
        from_dict({"_target_": "os.system"})


def test_parameter_groups_merge_blocks_that_are_alike(model: TwoParts) -> None:
    TopBlocks(num_blocks=2).apply(model)
    groups = [(g.name, g.trainable, g.total) for g in parameter_groups(model)]
    assert groups == [
        ("backbone.wte", 0, 38_597_376),
        ("backbone.wpe", 0, 786_432),
        ("backbone.h.0-9", 0, 10 * BLOCK_COUNT),
        ("backbone.h.10-11", 2 * BLOCK_COUNT, 2 * BLOCK_COUNT),
        ("backbone.ln_f", FINAL_NORM_COUNT, FINAL_NORM_COUNT),
        ("head", HEAD_COUNT, HEAD_COUNT),
    ]
