"""New instructions, followed as a run was trained to."""

from collections.abc import Iterable, Iterator

from llm_lightning.backbone.generation import stream_tokens
from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.backbone.tokenizer import Tokenizer
from llm_lightning.data.prompts import Prompts, Record
from llm_lightning.evaluation.responses import prompt_tokens, what_is_cut
from llm_lightning.tasks.language_model import LanguageModel

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


def what_is_lost(model: LanguageModel, record: Record, options: GenerationOptions) -> str | None:
    """Says what of a prompt the model will not see; ``None`` if it sees all of it."""
    look = Prompts(model.hparams["text"]["prompt_style"], model.tokenizer)
    return what_is_cut(record, look, model.backbone.context_length, options)


def stream_text(model: LanguageModel, record: Record, options: GenerationOptions) -> Iterator[str]:
    """Yields a response in pieces of whole characters, as they are generated.

    Args:
        model: in evaluation mode.
        record: instruction and input; its output is ignored.
        options: how tokens are chosen.
    """
    backbone = model.backbone
    look = Prompts(model.hparams["text"]["prompt_style"], model.tokenizer)
    prompt = prompt_tokens(record, look, backbone.context_length, options)
    tokens = stream_tokens(backbone, model.head, [prompt], options, stop_id=look.stop_id)
    return decode_stream((token for _, token in tokens), model.tokenizer)


def decode_stream(tokens: Iterable[int], tokenizer: Tokenizer) -> Iterator[str]:
    """Yields the text of tokens as they come, in pieces of whole characters.

    Args:
        tokens: ids of one text.
        tokenizer: the model's.
    """
    # A token's text may depend on the tokens before it, so those of the last piece are decoded with
    # it: with one more piece, the text of the new tokens is what it adds.
    last: list[int] = []
    new: list[int] = []
    for token in tokens:
        new.append(token)
        text = tokenizer.decode(last + new)
        if text.endswith(_INCOMPLETE):
            continue  # a character may be spread over several tokens
        yield text[len(tokenizer.decode(last)) :]
        last, new = new, []
    if new:
        yield tokenizer.decode(last + new)[len(tokenizer.decode(last)) :]
