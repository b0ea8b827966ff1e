"""How much one request, and all that wait, may ask for."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    Raises:
        ValueError: if one is below 1.
    """

    body_kib: int = 1024
    """Largest body of a request, in KiB."""
    texts: int = 256
    """Most texts, or prompts, of one request."""
    tokens: int | None = None
    """Longest answer of a language model, in tokens; ``None``: what its context has room for."""
    waiting: int = 1024
    """Most requests that wait; the next one is turned away."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value < 1:
                raise ValueError(f"the limit on {field.name} must be at least 1, got {value}")
