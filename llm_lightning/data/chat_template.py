"""The prompt style that a model's own chat template describes.

The template is a program, so it is not read but used: conversations of placeholders are rendered,
and what stands between the placeholders is the text of the style.
"""

from collections.abc import Sequence

from llm_lightning.backbone.tokenizer import Tokenizer
from llm_lightning.data.prompt_styles import CHAT, PROMPT_STYLES, PromptStyle

# Only letters and digits, which templates and tokenizers leave alone.
_SYSTEM = "zqsystemzq"
_NO_TEMPLATE = f"set data.prompt_style to one of {', '.join(PROMPT_STYLES)}"


def chat_style(tokenizer: Tokenizer) -> PromptStyle:
    """Derives a prompt style from a chat template.

    A system message that the template adds by itself stays where a record has none. If the template
    has no place for a system message at the start, it becomes the beginning of the first
    instruction, followed by a blank line.

    A response ends with the special token that the template puts directly after the message of an
    assistant; if it puts none there, with the tokenizer's ``end_id``.

    Args:
        tokenizer: with the template.

    Returns:
        A style whose text contains special tokens, those at the start of a text included.

    Raises:
        ValueError: if there is no template, or none that can be followed by putting the fields of a
            record between fixed texts.
    """
    if not tokenizer.has_chat_template:
        raise ValueError(
            f"data.prompt_style={CHAT} needs a chat template, and the model's tokenizer has none: "
            f"{_NO_TEMPLATE}, or choose a model that was trained on conversations"
        )
    cut = _cut(tokenizer, has_system=False, num_turns=2)
    if isinstance(cut, str):
        raise ValueError(f"data.prompt_style={CHAT}: {cut}; {_NO_TEMPLATE}")
    opening, earlier_header, between, header, _ = cut
    end = _end_of_response(tokenizer, between)
    common = {
        "opening": "",
        "before_instruction": "",
        "before_input": "\n\n",
        "header": header,
        "after_turn": between.removeprefix(end),
        "end": end,
        "earlier_header": earlier_header,
        "opening_without_system": opening,
    }
    style = PromptStyle(before_system=opening, after_system="\n\n", **common)
    if not _agrees(tokenizer, style, has_system=False):
        raise ValueError(
            f"data.prompt_style={CHAT}: the model's chat template puts different text around the "
            f"same message in conversations of different lengths, which is not supported; "
            f"{_NO_TEMPLATE}"
        )
    cut = _cut(tokenizer, has_system=True, num_turns=2)
    if not isinstance(cut, str):
        own = PromptStyle(before_system=cut[0], after_system=cut[1], **common)
        if _agrees(tokenizer, own, has_system=True):
            return own
    return style


def _placeholders(*, has_system: bool, num_turns: int) -> list[tuple[str, str]]:
    """Role and content of each message of a conversation."""
    messages = [("system", _SYSTEM)] if has_system else []
    for turn in range(num_turns):
        messages += [("user", f"zquser{turn}zq"), ("assistant", f"zqassistant{turn}zq")]
    return messages


def _render(tokenizer: Tokenizer, messages: Sequence[tuple[str, str]]) -> str:
    return tokenizer.render_chat([{"role": role, "content": text} for role, text in messages])


def _cut(tokenizer: Tokenizer, *, has_system: bool, num_turns: int) -> list[str] | str:
    """The texts before, between and after the messages; or what keeps them from being found."""
    messages = _placeholders(has_system=has_system, num_turns=num_turns)
    try:
        rest = _render(tokenizer, messages)
    except ValueError as error:
        return str(error)
    texts = []
    for _, placeholder in messages:
        text, found, rest = rest.partition(placeholder)
        if not found or placeholder in rest:
            return "the model's chat template does not contain every message once, in their order"
        texts.append(text)
    return [*texts, rest]


def _end_of_response(tokenizer: Tokenizer, after: str) -> str:
    """The beginning of the text after a message, up to a special token that only space precedes."""
    ids, offsets = tokenizer.encode_with_offsets(after, special=True)
    for token, (start, end) in zip(ids, offsets, strict=True):
        if tokenizer.special_id(after[start:end].strip()) == token:
            return after[:end]
        if after[start:end].strip():
            break
    return ""


def _agrees(tokenizer: Tokenizer, style: PromptStyle, *, has_system: bool) -> bool:
    """Whether conversations of one, two and three turns are rendered as the style has them."""
    for num_turns in (1, 2, 3):
        messages = _placeholders(has_system=has_system, num_turns=num_turns)
        texts = [text for _, text in messages]
        expected = style.opening_without_system or ""
        if has_system:
            expected = style.before_system + texts.pop(0) + style.after_system
        for index in range(0, len(texts), 2):
            if index:
                expected += style.end + style.after_turn
            is_last = index + 2 == len(texts)
            header = style.header if is_last else style.earlier_header
            expected += f"{texts[index]}{header}{texts[index + 1]}"
        # Some templates leave the end of the last message open.
        if not _render(tokenizer, messages).startswith(expected):
            return False
    return True
