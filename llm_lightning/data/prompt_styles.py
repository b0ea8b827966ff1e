"""The texts that turn the fields of an instruction record into a prompt."""

from dataclasses import asdict, dataclass

CHAT = "chat"
"""The style that follows the chat template of the model."""


@dataclass(frozen=True, kw_only=True)
class PromptStyle:
    """The text around the fields of a record.

    A prompt consists of the system message, the opening, and the turns of the conversation; a turn
    consists of instruction, header and response.
    """

    before_system: str = ""
    after_system: str
    opening: str = ""
    before_instruction: str = ""
    before_input: str
    header: str
    """Between an instruction and its response."""
    after_turn: str
    """Between a response and the next turn."""
    end: str = ""
    """What ends every response: text that ends with the special token after which a model stops. If
    empty, the last response ends with the tokenizer's own token for it."""
    earlier_header: str | None = None
    """The header of earlier turns, if it differs."""
    opening_without_system: str | None = None
    """The opening of a prompt without a system message, if it differs; the text around a system
    message then stays even where the message is cut away."""

    def texts(self) -> list[str]:
        """Returns all of its texts."""
        return [text for text in asdict(self).values() if text]


PROMPT_STYLES = {
    # That of Stanford Alpaca (Taori et al. 2023), which the book uses.
    "alpaca": PromptStyle(
        after_system="\n\n",
        opening="Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n",
        before_instruction="### Instruction:\n",
        before_input="\n\n### Input:\n",
        header="\n\n### Response:\n",
        after_turn="\n\n",
    ),
    # From the book's exercise 7.1. For GPT-2 the tags are ordinary text of about five tokens.
    "phi3": PromptStyle(
        before_system="<|system|>\n",
        after_system="\n",
        before_instruction="<|user|>\n",
        before_input="\n",
        header="\n<|assistant|>:\n",
        after_turn="\n",
    ),
    "plain": PromptStyle(
        after_system="\n\n", before_input="\n\n", header="\n\n", after_turn="\n\n"
    ),
}
