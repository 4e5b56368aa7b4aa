"""The one error a user is meant to read, and words of which messages are made."""

import difflib
from collections.abc import Sequence


class UserError(Exception):
    """One line for the user: what was given, what is allowed, what to do.

    The command line prints it on standard error and exits with status 2, without a traceback.
    Raised at the edges (configuration, files, ports, models), never in the pure core.
    """


def one_line(text: object) -> str:
    """The text with what no printer shows as escape sequences of Python's: names of files and ports may hold line ends, and bytes
    that a terminal takes for commands."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in str(text)
    )


def counted(number: int, noun: str) -> str:
    """Such as "1 turn" and "2 turns"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def nearest(word: str, allowed: Sequence[str]) -> str:
    """A clause that names the entry of `allowed` most like `word`; empty where none is like it."""
    close = difflib.get_close_matches(word, allowed, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
