"""Prompts, masks, truncation. ``python tests/data/test_prompts.py`` rewrites the golden files."""

from pathlib import Path

import pytest
import torch

from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID, GPT2Tokenizer, gpt2_encoding
from llm_lightning.data.instructions import Instructions
from llm_lightning.data.prompts import (
    MASKS,
    PROMPT_STYLES,
    Encoded,
    Prompts,
    Record,
    Turn,
)
from llm_lightning.data.sequences import NO_LABEL

GOLDEN = Path(__file__).parents[1] / "fixtures" / "prompt_labels"
ENTRY = Record("Correct the spelling.", "freind", 'It is "friend".')
CASES = [(style, mask) for style in PROMPT_STYLES for mask in MASKS]
BOOK = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)


def encode_record(record: Record, style: str, mask: str, max_length: int) -> Encoded:
    return Prompts(style, GPT2Tokenizer()).encode(record, mask, max_length)


def prompt_ids(record: Record, style: str, max_length: int) -> list[int]:
    return Prompts(style, GPT2Tokenizer()).prompt_ids(record, max_length)


def text_of(tokens: list[int]) -> str:
    return gpt2_encoding().decode(tokens)


def shown(record: Record, style: str, mask: str) -> str:
    """One position per line: input token and its text, label and its text, R if in a response."""
    sequence = encode_record(record, style, mask, 1024).sequence
    lines = []
    for position, (token, label, in_response) in enumerate(
        zip(
            sequence.ids.tolist(),
            sequence.labels.tolist(),
            sequence.in_response.tolist(),
            strict=True,
        )
    ):
        target = "-" if label == NO_LABEL else f"{label} {text_of([label])!r}"
        line = f"{position:2d}  {token:5d} {text_of([token])!r:16} -> {target:22}"
        lines.append((line + ("R" if in_response else "")).rstrip())
    return "\n".join(lines) + "\n"


def records() -> list[Record]:
    data = Instructions(name="packaged")
    data.use_packaged()
    data.setup()
    return [record for own in data.records.values() for record in own]


@pytest.mark.parametrize(("style", "mask"), CASES)
def test_tokens_and_labels_of_one_entry(style: str, mask: str) -> None:
    expected = (GOLDEN / f"{style}-{mask}.txt").read_text(encoding="utf-8")
    assert shown(ENTRY, style, mask) == expected


def book_entry(record: Record) -> tuple[str, str]:
    """The book's prompt (its format_input) and its whole training text."""
    prompt = f"{BOOK}\n\n### Instruction:\n{record.instruction}"
    prompt += f"\n\n### Input:\n{record.input}" if record.input else ""
    return prompt, f"{prompt}\n\n### Response:\n{record.output}"


def test_unmasked_tokens_and_labels_are_the_books() -> None:
    for record in records()[:200]:
        tokens = [*gpt2_encoding().encode_ordinary(book_entry(record)[1]), END_OF_TEXT_ID]
        sequence = encode_record(record, "alpaca", "none", 1024).sequence
        assert sequence.ids.tolist() == tokens[:-1]
        assert sequence.labels.tolist() == tokens[1:]


def test_masked_labels_are_those_of_the_books_exercise() -> None:
    for record in records()[:200]:
        prompt, text = book_entry(record)
        targets = [*gpt2_encoding().encode_ordinary(text), END_OF_TEXT_ID][1:]
        length = len(gpt2_encoding().encode_ordinary(prompt))
        targets[: length - 1] = [NO_LABEL] * (length - 1)
        assert encode_record(record, "alpaca", "prompt", 1024).sequence.labels.tolist() == targets


@pytest.mark.parametrize("style", PROMPT_STYLES)
def test_labels_in_responses_are_the_output_and_one_end_of_text(style: str) -> None:
    for record in records():
        sequence = encode_record(record, style, "prompt_and_header", 1024).sequence
        labels = sequence.labels[sequence.labels != NO_LABEL].tolist()
        assert text_of(labels[:-1]) == record.output
        assert labels[-1] == END_OF_TEXT_ID
        assert torch.equal(sequence.in_response, sequence.labels != NO_LABEL)


@pytest.mark.parametrize("style", PROMPT_STYLES)
def test_prompt_is_the_beginning_of_the_training_text(style: str) -> None:
    for record in records():
        prompt = prompt_ids(record, style, 1024)
        sequence = encode_record(record, style, "prompt_and_header", 1024).sequence
        assert sequence.ids[: len(prompt)].tolist() == prompt
        # The first label is the token after the last one of the prompt.
        assert (sequence.labels != NO_LABEL).nonzero()[0].item() == len(prompt) - 1


def test_end_of_text_in_a_users_text_is_ordinary_text() -> None:
    record = Record("Say <|endoftext|>", output="<|endoftext|> it is")
    sequence = encode_record(record, "alpaca", "none", 1024).sequence
    assert END_OF_TEXT_ID not in sequence.ids.tolist()
    assert sequence.labels.tolist().count(END_OF_TEXT_ID) == 1


def test_every_mask_keeps_the_response_in_the_loss() -> None:
    losses = [encode_record(ENTRY, "alpaca", mask, 1024).sequence for mask in MASKS]
    counts = [int((sequence.labels != NO_LABEL).sum()) for sequence in losses]
    assert counts == sorted(counts, reverse=True)
    assert counts[1] - counts[2] == 6  # "\n\n### Response:\n", as GPT-2 reads it
    for sequence in losses:
        assert torch.equal(sequence.in_response, losses[0].in_response)


# --- truncation -----------------------------------------------------------------------------------


def parts_of(record: Record, max_length: int) -> tuple[str, tuple[str, ...]]:
    encoded = encode_record(record, "alpaca", "prompt_and_header", max_length)
    assert len(encoded.sequence) <= max_length
    assert encoded.sequence.labels[-1] == END_OF_TEXT_ID
    return text_of(encoded.sequence.ids.tolist()), encoded.cut


def test_the_input_is_cut_first_and_only_as_far_as_need_be() -> None:
    record = Record("Count the words.", " ".join(["word"] * 60), "Sixty.")
    full = len(encode_record(record, "alpaca", "none", 1024).sequence)
    text, cut = parts_of(record, full - 10)
    assert cut == ("input",)
    assert "Count the words." in text
    assert text.endswith("### Response:\nSixty.")
    assert text.count("word") - 1 == 50  # "words" in the instruction is one


def test_an_input_without_room_is_dropped_with_its_heading() -> None:
    record = Record("Count the words.", " ".join(["word"] * 60), "Sixty.")
    bare = Record("Count the words.", output="Sixty.")
    length = len(encode_record(bare, "alpaca", "none", 1024).sequence)
    text, cut = parts_of(record, length)
    assert cut == ("input",)
    assert text == book_entry(bare)[1]


def words_kept(
    num_instruction: int, num_response: int, room: int
) -> tuple[int, int, tuple[str, ...]]:
    """Tokens left of an instruction and a response in ``room`` tokens, and the truncated fields."""
    record = Record(
        "why" + " why" * (num_instruction - 1), "input", "so" + " so" * (num_response - 1)
    )
    frame = len(encode_record(Record("a", output="b"), "alpaca", "none", 1024).sequence) - 2
    text, cut = parts_of(record, frame + room)
    assert text.startswith(f"{BOOK}\n\n### Instruction:\n")
    instruction, response = text.split("### Instruction:\n")[1].split("\n\n### Response:\n")
    return len(instruction.split()), len(response.split()), cut


@pytest.mark.parametrize(
    ("lengths", "room", "left", "cut"),
    [
        ((5, 60), 20, (5, 15), ("response",)),
        ((60, 5), 20, (15, 5), ("instruction",)),
        ((10, 60), 20, (10, 10), ("response",)),
        ((30, 60), 20, (10, 10), ("response", "instruction")),
        ((60, 30), 21, (11, 10), ("instruction", "response")),
        ((10, 11), 20, (10, 10), ("response",)),
        ((30, 30), 21, (11, 10), ("instruction", "response")),
        ((60, 1), 1, (1, 0), ("instruction", "response")),
    ],
)
def test_the_longer_of_instruction_and_response_is_cut_when_nothing_else_is_left(
    lengths: tuple[int, int], room: int, left: tuple[int, int], cut: tuple[str, ...]
) -> None:
    assert words_kept(*lengths, room) == (*left, ("input", *cut))


def test_a_prompt_is_truncated_without_room_for_a_response() -> None:
    record = Record("why" + " why" * 59, "input", "so " * 500)
    text = text_of(prompt_ids(record, "alpaca", 60))
    assert len(prompt_ids(record, "alpaca", 60)) == 60
    assert text.endswith(" why\n\n### Response:\n")


@pytest.mark.parametrize("max_length", range(31, 60))
def test_no_character_is_cut_in_two(max_length: int) -> None:
    text, cut = parts_of(Record("Write.", output="日本語の文章です" * 10), max_length)
    assert "response" in cut
    assert "\N{REPLACEMENT CHARACTER}" not in text


def test_a_limit_below_the_styles_own_text_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"data\.max_length must be more than \d+, .* got 10"):
        encode_record(ENTRY, "alpaca", "none", 10)


# --- conversations --------------------------------------------------------------------------------

CHAT = Record(
    "And of house?",
    output="Houses.",
    system="You know words.",
    history=(Turn("Plural of mouse?", "Mice."), Turn("Of ox?", "Oxen.")),
)


def test_the_loss_of_a_conversation_has_all_responses_and_one_end_of_text() -> None:
    sequence = encode_record(CHAT, "alpaca", "prompt_and_header", 1024).sequence
    labels = sequence.labels[sequence.labels != NO_LABEL].tolist()
    assert text_of(labels[:-1]) == "Mice.Oxen.Houses."
    assert labels.count(END_OF_TEXT_ID) == 1
    text = text_of(sequence.ids.tolist())
    assert text.startswith("You know words.\n\nBelow is")
    assert text.count("### Instruction:") == 3


def test_the_oldest_turns_are_dropped_first() -> None:
    full = len(encode_record(CHAT, "alpaca", "none", 1024).sequence)
    text, cut = parts_of(CHAT, full - 3)
    assert cut == ("history 0",)
    assert "mouse" not in text
    assert "Oxen." in text


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for style, mask in CASES:
        file = GOLDEN / f"{style}-{mask}.txt"
        file.write_text(shown(ENTRY, style, mask), encoding="utf-8")
