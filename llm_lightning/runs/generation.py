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
    pieces = TextPieces(tokenizer)
    for token in tokens:
        if piece := pieces.add(token):
            yield piece
    if rest := pieces.rest():
        yield rest
