"""What the C libraries of MIDI drivers do to this process: what they write on its screen, and the sockets they open."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

UNIX_SOCKETS, OPEN_FILES = Path("/proc/net/unix"), Path("/proc/self/fd")


def jack_sockets() -> frozenset[str]:
    """The sockets on which this process's JACK clients hear their server, by path; empty where there is no /proc (or no JACK)."""
    ours = set()
    try:
        lines = UNIX_SOCKETS.read_text(errors="replace").splitlines()
        for descriptor in OPEN_FILES.iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                ours.add(str(descriptor.readlink()))
    except OSError:
        return frozenset()
    rows = [line.split(maxsplit=7) for line in lines if "/jack_" in line]
    return frozenset(row[7] for row in rows if f"socket:[{row[6]}]" in ours)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what the C libraries write to standard error (ALSA and JACK are chatty) off the user's screen."""
    try:
        kept = os.dup(2)
    except OSError:  # a program without a standard error (pythonw) has no screen to keep clean
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
