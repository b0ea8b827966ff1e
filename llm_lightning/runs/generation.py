"""New instructions, followed as a run was trained to."""

from collections.abc import Iterator

from llm_lightning.backbone.generation import stream_tokens
from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.backbone.tokenizer import gpt2_encoding
from llm_lightning.data.prompts import Record
from llm_lightning.evaluation.responses import prompt_tokens
from llm_lightning.tasks.language_model import LanguageModel


def stream_text(model: LanguageModel, record: Record, options: GenerationOptions) -> Iterator[str]:
    """Yields a response in pieces of whole characters, as they are generated.

    Args:
        model: in evaluation mode.
        record: instruction and input; its output is ignored.
        options: how tokens are chosen.
    """
    n_positions = model.backbone.config.n_positions
    prompt = prompt_tokens(record, model.hparams["text"]["prompt_style"], n_positions, options)
    pending = b""
    for _, token in stream_tokens(model.backbone, model.head, [prompt], options):
        pending += gpt2_encoding().decode_single_token_bytes(token)
        try:
            text = pending.decode("utf-8")
        except UnicodeDecodeError:
            continue  # a character may be spread over several tokens
        pending = b""
        yield text
    if pending:
        yield pending.decode("utf-8", errors="replace")
