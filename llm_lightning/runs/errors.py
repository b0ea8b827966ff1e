"""Errors that the user of a run can put right."""

import contextlib
from collections.abc import Iterator


class UserError(ValueError):
    """A run that cannot start or go on for a reason that its user can put right."""


class FolderHeld(UserError):
    """Another process works on the run's folder."""


@contextlib.contextmanager
def expect(*kinds: type[Exception]) -> Iterator[None]:
    """Turns errors of kinds that a user can put right into :class:`UserError`."""
    try:
        yield
    except UserError:
        raise
    except kinds as error:
        raise UserError(str(error)) from error
