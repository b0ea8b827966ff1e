"""New instructions, followed as a run was trained to."""

from collections.abc import Iterable, Iterator

from llm_lightning.backbone.generation import stream_tokens
from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.backbone.text_pieces import TextPieces
from llm_lightning.backbone.tokenizer import Tokenizer
from llm_lightning.data.prompts import Prompts, Record
from llm_lightning.evaluation.responses import prompt_tokens, what_is_cut
from llm_lightning.tasks.language_model import LanguageModel


def what_is_lost(model: LanguageModel, record: Record, options: GenerationOptions) -> str | None:
    """Says what of a prompt the model will not see; ``None`` if it sees all of it."""
    return what_is_cut(record, prompts_of(model), model.backbone.context_length, options)


def stream_text(model: LanguageModel, record: Record, options: GenerationOptions) -> Iterator[str]:
    """Yields a response in pieces of whole characters, as they are generated.

    Args:
        model: in evaluation mode.
        record: instruction and input; its output is ignored.
        options: how tokens are chosen.
    """
    backbone = model.backbone
    prompts = prompts_of(model)
    prompt = prompt_tokens(record, prompts, backbone.context_length, options)
    tokens = stream_tokens(backbone, model.head, [prompt], options, stop_id=prompts.stop_id)
    return decode_stream((token for _, token in tokens), model.tokenizer)


def prompts_of(model: LanguageModel) -> Prompts:
    """Returns the prompts that a model is trained with, which its responses need, too."""
    return Prompts(model.hparams["text"]["prompt_style"], model.tokenizer)


def decode_stream(tokens: Iterable[int], tokenizer: Tokenizer) -> Iterator[str]:
    """Yields the text of tokens as they come, in pieces of whole characters.

    Args:
        tokens: ids of one text.
        tokenizer: the model's.
    """
    pieces = TextPieces(tokenizer)
    for token in tokens:
        if piece := pieces.add(token):
            yield piece
    if rest := pieces.rest():
        yield rest
