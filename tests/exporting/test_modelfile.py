"""Ollama gets the prompts of training and the sampling of the run."""

import pytest
from small_tokenizers import CHATML, CHATML_WITH_DEFAULT, GEMMA, byte_level

from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.backbone.tokenizer import GPT2Tokenizer, encode
from llm_lightning.data.prompt_styles import CHAT, PROMPT_STYLES
from llm_lightning.data.prompts import Prompts, Record
from llm_lightning.exporting.modelfile import modelfile


def prompt_ids(record: Record, style: str) -> list[int]:
    return Prompts(style, GPT2Tokenizer()).prompt_ids(record, 1024)


def filled(text: str, prompt: str, system: str = "") -> str:
    """The prompt that Ollama makes with a Modelfile's template."""
    template = text.split('"""')[1]
    before, _, rest = template.partition("{{ if .System }}")
    if rest:
        inner, _, rest = rest.partition("{{ end }}")
        with_system, _, without = inner.partition("{{ else }}")
        before += with_system.replace("{{ .System }}", system) if system else without
    whole = (before + rest).replace("{{ .Prompt }}", prompt)
    return whole.partition("{{ .Response }}")[0]


@pytest.mark.parametrize("system", ["", "Answer in French."])
@pytest.mark.parametrize("style", ["alpaca", "phi3"])
def test_the_prompt_is_token_for_token_the_one_of_training(style: str, system: str) -> None:
    text = modelfile("m.gguf", PROMPT_STYLES[style], GenerationOptions(), 64, "<|endoftext|>")
    learnt = prompt_ids(Record("Name a colour.", system=system), style)
    assert encode(filled(text, "Name a colour.", system)) == learnt


@pytest.mark.parametrize("system", ["", "Answer in French."])
@pytest.mark.parametrize(
    ("template", "with_bos"), [(CHATML, True), (CHATML_WITH_DEFAULT, False), (GEMMA, True)]
)
def test_a_chat_template_is_followed_token_for_token(
    template: str, with_bos: bool, system: str
) -> None:
    tokenizer = byte_level(template, with_bos=with_bos)
    prompts = Prompts(CHAT, tokenizer)
    start = "<s>" if with_bos else ""
    text = modelfile("m.gguf", prompts.style, GenerationOptions(), 64, "<|im_end|>", start)
    given = filled(text, "Name a colour.", system)
    if template == GEMMA:  # it has the start of a text itself, which Ollama's would double
        assert not given.startswith(start)
        given = start + given
    learnt = prompts.prompt_ids(Record("Name a colour.", system=system), 1024)
    assert tokenizer.encode_with_offsets(given, special=True)[0] == learnt


def test_the_plain_style_differs_by_the_newlines_at_the_end_alone() -> None:
    """As on the card: encoding the prompt by itself gives one token for both."""
    text = modelfile("m.gguf", PROMPT_STYLES["plain"], GenerationOptions(), 64, "<|endoftext|>")
    learnt = prompt_ids(Record("Name a colour."), "plain")
    given = encode(filled(text, "Name a colour."))
    assert (learnt[-2:], given[-1:]) == (encode("\n") * 2, encode("\n\n"))
    assert learnt[:-2] == given[:-1]


def test_a_model_of_plain_texts_is_given_the_text_alone() -> None:
    text = modelfile("m.gguf", None, GenerationOptions(), 64, "<|endoftext|>")
    assert 'TEMPLATE """{{ .Prompt }}"""' in text
    assert [line for line in text.splitlines() if "stop" in line] == [
        'PARAMETER stop "<|endoftext|>"'
    ]


@pytest.mark.parametrize("style", PROMPT_STYLES)
def test_responses_end_where_a_text_or_a_next_question_would_begin(style: str) -> None:
    lines = modelfile(
        "m.gguf", PROMPT_STYLES[style], GenerationOptions(), 64, "<|endoftext|>"
    ).splitlines()
    stops = [line for line in lines if line.startswith("PARAMETER stop")]
    opening = {"alpaca": ["### Instruction:"], "phi3": ["<|user|>"], "plain": []}[style]
    assert stops == [f'PARAMETER stop "{stop}"' for stop in ["<|endoftext|>", *opening]]


def parameters(options: GenerationOptions) -> dict[str, str]:
    lines = modelfile("m.gguf", PROMPT_STYLES["alpaca"], options, 512, "<|endoftext|>").splitlines()
    assert lines[0] == "FROM ./m.gguf"
    pairs = [line.split()[1:] for line in lines if line.startswith("PARAMETER")]
    return {pair[0]: pair[1] for pair in pairs if pair[0] != "stop"}


def test_it_writes_as_the_run_does() -> None:
    assert parameters(GenerationOptions(max_new_tokens=40)) == {
        "num_ctx": "512",
        "num_predict": "40",
        "temperature": "0.0",
        "repeat_penalty": "1.0",
        "repeat_last_n": "-1",
    }
    drawn = GenerationOptions(temperature=0.7, top_p=0.9, seed=2**32 - 1)
    assert parameters(drawn) | {"num_predict": ""} == {
        "num_ctx": "512",
        "num_predict": "",
        "temperature": "0.7",
        "repeat_penalty": "1.0",
        "repeat_last_n": "-1",
        "top_k": "0",
        "top_p": "0.9",
        "min_p": "0",
        "seed": "4294967295",
    }
