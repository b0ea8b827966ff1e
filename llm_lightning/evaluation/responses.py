"""A model's responses to a list of records, as a JSON file that survives an interruption.

The finished file has the book's fields. Until then responses are appended, a batch at a time, to a
file beside it, from which the next call continues.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from llm_lightning.backbone.generation import generate
from llm_lightning.backbone.protocol import Backbone
from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.data.prompts import Prompts, Record
from llm_lightning.presentation.progress import progress_bar
from llm_lightning.run_format.atomic_files import write_text
from llm_lightning.run_format.files import RESPONSE


def prompt_tokens(
    record: Record, prompts: Prompts, context_length: int, options: GenerationOptions
) -> list[int]:
    """Encodes a record's prompt so that the context has room for a response.

    A prompt that is too long is cut as in training, the input before the instruction, to leave
    ``max_new_tokens`` or half the context, whichever is less.

    Args:
        record: its output is ignored.
        prompts: those that the model was trained with.
        context_length: the model's context, in tokens.
        options: how tokens are chosen.
    """
    return prompts.prompt_ids(record, _longest_prompt(context_length, options))


def what_is_cut(
    record: Record, prompts: Prompts, context_length: int, options: GenerationOptions
) -> str | None:
    """Says what :func:`prompt_tokens` leaves out of a prompt; ``None`` if it is whole."""
    longest = _longest_prompt(context_length, options)
    cut = prompts.cut_fields(record, longest)
    if not cut:
        return None
    whole = len(prompts.prompt_ids(record, sys.maxsize))
    return (
        f"the prompt has {whole:,} tokens, and the model's context of {context_length:,} leaves "
        f"{longest:,} for it beside a response: cut in {', '.join(cut)}"
    )


def _longest_prompt(context_length: int, options: GenerationOptions) -> int:
    return context_length - min(options.max_new_tokens, context_length // 2)


def generate_responses(
    backbone: Backbone,
    head: nn.Module,
    records: Sequence[Record],
    prompts: Prompts,
    options: GenerationOptions,
    file: Path,
) -> tuple[list[str], int]:
    """Generates a response to each record and writes ``file``; continues an interrupted call.

    Args:
        backbone: a causal model.
        head: hidden states to logits.
        records: the tasks; their outputs are references and do not affect the responses.
        prompts: those that the model was trained with.
        options: how tokens are chosen.
        file: JSON list of ``instruction``, ``input``, ``output`` and ``model_response``.

    Returns:
        The responses in the records' order, and the number of tokens that this call generated,
        ends of text excluded.
    """
    context_length = backbone.context_length
    given = [prompt_tokens(record, prompts, context_length, options) for record in records]
    part = file.with_name(file.name + ".part")
    made_with = {"options": asdict(options), "prompts": given}
    responses = _read_part(part, made_with)
    if not responses:
        write_text(part, json.dumps(made_with) + "\n")

    # Fixed batches: an interrupted call leaves whole ones, and a seed means the same afterwards.
    order = sorted(range(len(given)), key=lambda index: len(given[index]))
    batches = [
        order[at : at + options.batch_size] for at in range(0, len(order), options.batch_size)
    ]
    num_tokens = 0
    with progress_bar() as progress, part.open("a", encoding="utf-8") as out:
        bar = progress.add_task("responses", total=len(records), completed=len(responses))
        for number, batch in enumerate(batches):
            if all(index in responses for index in batch):
                continue
            seeded = replace(options, seed=(options.seed + number) % 2**32)
            own = [given[index] for index in batch]
            rows = generate(backbone, head, own, seeded, stop_id=prompts.stop_id)
            num_tokens += sum(map(len, rows))
            for index, tokens in zip(batch, rows, strict=True):
                responses[index] = prompts.tokenizer.decode(tokens).strip()
                out.write(json.dumps({"index": index, RESPONSE: responses[index]}) + "\n")
            out.flush()
            progress.update(bar, completed=len(responses))
    in_order = [responses[index] for index in range(len(records))]
    _write(file, records, in_order)
    part.unlink()
    return in_order, num_tokens


def _read_part(part: Path, made_with: dict[str, Any]) -> dict[int, str]:
    """Responses of an interrupted call with the same prompts and options; else none."""
    if not part.is_file():
        return {}
    lines = part.read_text(encoding="utf-8").split("\n")
    try:
        if json.loads(lines[0]) != made_with:
            return {}
        found = [json.loads(line) for line in lines[1:-1]]
    except json.JSONDecodeError:
        return {}
    if lines[-1]:  # a line that a kill cut off, to which the next must not be appended
        write_text(part, "\n".join(lines[:-1]) + "\n")
    return {int(entry["index"]): str(entry[RESPONSE]) for entry in found}


def _write(file: Path, records: Sequence[Record], responses: Sequence[str]) -> None:
    entries = []
    for record, response in zip(records, responses, strict=True):
        fields = asdict(record)
        optional = {key: fields.pop(key) for key in ("system", "history", "not_learnt")}
        chat = {key: value for key, value in optional.items() if value}
        entries.append({**fields, **chat, RESPONSE: response})
    write_text(file, json.dumps(entries, indent=4, ensure_ascii=False) + "\n")
