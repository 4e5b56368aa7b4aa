"""A user's file, read whole and up to a bound: any path may lead to gigabytes, or to a device that never ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

from realtime.errors import UserError

PASSED = re.compile(r"/dev/(stdin|fd/\d+)|/proc/(self|\d+)/fd/\d+")
"""Pipes that a shell passes, and whose other end is there: `antiphon chords <(...)`, `... | antiphon chords /dev/stdin`."""


def check_no_pipe(path: Path, wanted: str) -> None:
    """Raise `UserError` for a named pipe: nobody may ever write to it. wanted: as in `read_whole`."""
    if path.is_fifo() and not PASSED.fullmatch(str(path)):
        raise UserError(f"{path}: cannot be read (a named pipe, which may never end); give {wanted}")


def read_whole(path: Path, most: int, wanted: str, opened: Callable[[], IO[bytes]] | None = None) -> bytes:
    """The bytes of a file. Raises `UserError` where it cannot be read, or has more than `most`.

    wanted: what to give instead, such as "a MIDI file". opened: opens it in another way than by its path, as a member of an
    archive.
    """
    try:
        if opened is None:
            check_no_pipe(path, wanted)
        with path.open("rb") if opened is None else opened() as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{path}: cannot be read ({reason}); give {wanted}") from None
    if len(data) > most:
        size = f"{most >> 20} MB" if most >> 20 else f"{most >> 10} KB"
        raise UserError(f"{path}: larger than {size}, the most that is allowed; give a smaller one")
    return data
