"""What the `antiphon` command sets up before anything else is imported: how Ctrl-C and Ctrl-\\ end it, and a screen of its own.

Nothing happens where the command line is only imported, as by tests.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130
"""The exit status of what Ctrl-C has ended, as shells have it."""
_PROGRAM = sys.argv[0].replace("\\", "/")
_MODULE = sys.argv[0] == "-m" and "realtime.cli" in sys.orig_argv
"""Python says "-m" until it has found the module."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C, or Ctrl-\\: what is half done is cleared away, and the command ends; a second one always ends it. While modules are
    loaded it ends at once: a module may swallow an exception, and nothing is there yet that has to be cleared away."""
    signal.signal(number, signal.SIG_DFL)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


def _own_screen() -> None:
    """What MIDI drivers write to standard error is hidden while ports are opened; what Antiphon says at that moment is not."""
    try:
        screen = os.dup(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):  # there is none
        return
    sys.stderr = os.fdopen(screen, "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors)


if "antiphon" in _PROGRAM.rpartition("/")[2] or _PROGRAM.endswith("realtime/cli.py") or _MODULE:
    for _name in ("SIGINT", "SIGQUIT"):
        if hasattr(signal, _name):  # Windows has no SIGQUIT
            signal.signal(getattr(signal, _name), _interrupt)
    _own_screen()
