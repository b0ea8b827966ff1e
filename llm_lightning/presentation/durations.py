"""Seconds as people read them."""


def duration(seconds: float) -> str:
    """Returns ``8.3 s``, ``75 s``, ``12.4 min`` or ``2.5 h``.

    Args:
        seconds: at least 0.
    """
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
