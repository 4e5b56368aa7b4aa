"""What is said to the user, on a thread of its own: a screen that stands still, or is gone, never stops the music."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

MOST_WAITING = 256
"""Lines; what comes beyond is left out until the screen moves again."""


class Speaker:
    """Calling it hands over a line: it neither waits nor raises. `say` writes it, on the speaker's thread, and may do both."""

    def __init__(self, say: Callable[[str], None], most: int = MOST_WAITING) -> None:
        """most: lines that wait; what comes beyond is left out."""
        self._say = say
        self._lines: queue.Queue[str | None] = queue.Queue(most)
        self._failed = False
        self._thread = threading.Thread(target=self._speak, name="speaker", daemon=True)
        self._thread.start()

    def __call__(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._failed = True

    def close(self, seconds: float = 1.0) -> bool:
        """Wait so long for what is left to be written. Whether everything was: else the screen stands still or is gone, and is
        not to be touched again."""
        try:
            self._lines.put(None, timeout=seconds)
        except queue.Full:
            return False
        self._thread.join(seconds)
        return not (self._failed or self._thread.is_alive())

    def _speak(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._say(line)
            except Exception:  # a pipe that nobody reads, a full disk behind a log, a terminal that is gone
                self._failed = True
