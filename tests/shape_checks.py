"""The runtime type checker of tests: shapes and dtypes of tensors, and plain types."""

from inspect import get_annotations
from typing import Any

from beartype import BeartypeConf, beartype

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a valid float


def check(function: Any) -> Any:
    """Checks calls, unless a parameter is a protocol with attributes.

    Since Python 3.12 isinstance() with such a protocol does not see the submodules of an nn.Module.
    """
    hints = getattr(function, "__annotations__", {}).values()
    return function if any(map(_is_protocol_with_attributes, hints)) else _check(function)


def _is_protocol_with_attributes(hint: Any) -> bool:
    return getattr(hint, "_is_protocol", False) and bool(get_annotations(hint))
