"""What cannot be supported is refused in one line that says so."""

import json
from pathlib import Path
from typing import Any

import pytest
from contract import LAST_BLOCK
from contract_families import SIZES

from llm_lightning.backbone.families import architecture, locate
from llm_lightning.backbone.huggingface.configuration import own_context_length
from llm_lightning.backbone.huggingface.model import TransformersBackbone
from llm_lightning.backbone.huggingface.settings import HubModel
from llm_lightning.tasks.language_model import LanguageModel

_T5 = {"vocab_size": 97, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 4}
_OPT = {"word_embed_proj_dim": 16, "do_layer_norm_before": False}


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("albert", {}, "AlbertModel must have one list of 3 transformer blocks, found none"),
        ("t5", _T5, r"must have one list .*, found encoder.block \(3\), decoder.block \(3\)"),
        (
            "gemma3",
            {},
            "a model of type gemma3 has several parts, such as one for texts and one for images",
        ),
        ("gemma3n_text", {}, "has blocks that use keys and values of other blocks"),
        ("opt", _OPT, "OPTModel returns states of width 16, its blocks have 32"),
        ("ibert", {}, "IBertModel has no plain embedding of tokens"),
        ("stablelm", {"num_key_value_heads": 3}, "StableLmModel cannot run on token ids alone"),
        ("squeezebert", {"embedding_size": 32}, "SqueezeBertModel .* share parameters or do not"),
    ],
)
def test_an_architecture_is_refused(kind: str, fields: dict[str, Any], message: str) -> None:
    sizes = SIZES if kind != "gemma3" else {"text_config": SIZES}
    with pytest.raises(ValueError, match=message) as caught:
        TransformersBackbone({"model_type": kind, **sizes, **fields})
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("model.weights: ")
    assert text.endswith("this architecture is not supported")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "nonsense"}, "transformers knows no model of type 'nonsense'"),
        ({}, "transformers knows no model of type None"),
        (
            {"model_type": "llama", "hidden_size": "wide"},
            r"config\.json is not valid for llama: TypeError: Field 'hidden_size' expected int",
        ),
        (
            {"model_type": "llama", "hidden_size": 33, "num_attention_heads": 4},
            r"config\.json is not valid for llama: .* \(33\) is not a multiple",
        ),
    ],
)
def test_a_wrong_configuration_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        TransformersBackbone(fields)
    assert "\n" not in str(caught.value)


def llama(**options: Any) -> TransformersBackbone:
    return TransformersBackbone({"model_type": "llama", **SIZES}, **options)


def test_a_context_is_at_most_the_models_own() -> None:
    assert llama(context_length=8).context_length == 8
    message = r"context_length must lie between 1 and the model's own 64, got {}$"
    for length in (0, 65):
        with pytest.raises(ValueError, match=message.format(length)):
            llama(context_length=length)
    unlimited = {"model_type": "bloom", **SIZES}
    assert TransformersBackbone(unlimited, context_length=9).context_length == 9
    with pytest.raises(ValueError, match="must be set: the model declares no limit"):
        TransformersBackbone({key: v for key, v in unlimited.items() if key[:3] != "max"})


def test_dropout_is_set_everywhere_or_left_as_it_is() -> None:
    kind = {"model_type": "bert", **SIZES, "attention_probs_dropout_prob": 0.3}
    assert not TransformersBackbone(kind, dropout=0.0).has_dropout
    assert TransformersBackbone(kind, dropout=0.2).config.hidden_dropout_prob == 0.2
    as_it_is = TransformersBackbone(kind)
    assert as_it_is.has_dropout
    assert as_it_is.config.attention_probs_dropout_prob == 0.3
    with pytest.raises(ValueError, match=r"model.dropout must be null or lie in \[0, 1\), got 1"):
        TransformersBackbone(kind, dropout=1)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("bert", "bert is an encoder: it reads whole texts and cannot generate one; use task="),
        ("modernbert", "modernbert is an encoder"),
        ("gemma2", r"the head of gemma2 is not linear \(its configuration has final_logit_soft"),
    ],
)
def test_no_language_model_can_be_made(kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        LanguageModel(
            task={"generation": {}},
            model={"config": {"model_type": kind, **SIZES, "cls_token_id": 1, "sep_token_id": 2}},
            finetune=LAST_BLOCK,
            optim={},
            text={},
            seed=1,
        )
    assert "\n" not in str(caught.value)


def test_a_gpt2_folder_belongs_to_the_built_in_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    (tmp_path / "model.safetensors").touch()
    model = HubModel(weights=str(tmp_path))
    with pytest.raises(ValueError, match="is a GPT-2, which is built in: use model=gpt2_small"):
        architecture(model, locate(model))


def test_a_context_is_known_without_making_the_model() -> None:
    assert own_context_length({"model_type": "llama", **SIZES}) == 64
    roberta = {"model_type": "roberta", **SIZES, "pad_token_id": 1}
    assert own_context_length(roberta) == 62, "its positions start behind the padding token's id"
    no_limit = {key: value for key, value in SIZES.items() if key != "max_position_embeddings"}
    assert own_context_length({"model_type": "bloom", **no_limit}) is None
    with pytest.raises(ValueError, match="a model of type gemma3 has several parts"):
        own_context_length({"model_type": "gemma3", "text_config": SIZES})
