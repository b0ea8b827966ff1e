"""Text of others as a terminal or a spreadsheet should show it, and not obey it.

Class names, texts, a server's words and another run's files may hold escape sequences that retitle
a window, move the cursor over a number or write to the clipboard, and cells that a spreadsheet
takes for a formula.
"""

import json
import re
from typing import Any

_KEPT = "\t\n"
_REPLACED = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in _KEPT}
_REPLACED[0x7F] = "\N{SYMBOL FOR DELETE}"
# C1, of which U+009B alone starts a sequence; overrides of the direction of writing, which show
# characters in another order; and halves of characters, which cannot be printed at all.
for _first, _last in ((0x80, 0x9F), (0x202A, 0x202E), (0x2066, 0x2069), (0xD800, 0xDFFF)):
    _REPLACED |= dict.fromkeys(range(_first, _last + 1), "\N{REPLACEMENT CHARACTER}")

_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def harmless(text: str) -> str:
    """Returns a text whose control characters are visible symbols; tabs and line ends stay."""
    return text.translate(_REPLACED)


def json_line(value: Any) -> str:
    """Returns a value as JSON in one line that a terminal may show; nothing of it is lost."""
    text = json.dumps(value, ensure_ascii=False)
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def no_formula(cell: Any) -> Any:
    """Returns a cell that no spreadsheet takes for a formula: such a text gets an apostrophe."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
