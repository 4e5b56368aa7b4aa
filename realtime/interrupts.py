"""Ctrl-C in the `antiphon` command, from its first import on: no traceback, nothing half-written; a second one always ends it.

Nothing happens where the command line is only imported, as by tests.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

STATUS = 130
"""The exit status of what Ctrl-C has ended, as shells have it."""
_PROGRAM = sys.argv[0].replace("\\", "/")


def _interrupt(_: int, frame: FrameType | None) -> None:
    """What is half done is cleared away, and the command ends. While modules are loaded it ends at once: a module may swallow an
    exception, and nothing is there yet that has to be cleared away."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            os._exit(STATUS)
        frame = frame.f_back
    raise KeyboardInterrupt


if "antiphon" in _PROGRAM.rpartition("/")[2] or _PROGRAM.endswith("realtime/cli.py"):
    signal.signal(signal.SIGINT, _interrupt)
