"""Finding: one line of the report."""

from typing import NamedTuple

__all__ = ["Finding", "one_line"]


class Finding(NamedTuple):
    """What was found of one thing, and what to do about it."""

    subject: str
    text: str
    is_well: bool | None = True
    """None: it is not there, and need not be."""

    advice: str = ""


def one_line(error):
    """What an error says, in one line."""
    first = str(error).strip().partition("\n")[0]
    return first or type(error).__name__
