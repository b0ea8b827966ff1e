"""A number with its noun."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Returns ``1 row`` or ``2,000 rows``.

    Args:
        number: of things.
        noun: for one of them.
        plural: for several, if it is not ``noun`` with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
