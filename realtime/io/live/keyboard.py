"""Keys of the computer's keyboard, one by one and unechoed: from a Unix terminal, or from a console of Windows."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

LOOK_S = 0.25
"""How soon it is noticed that the program is in the foreground again."""
SPECIAL = ("\x00", "\xe0")
"""What a console of Windows gives before the code of a key without a character, such as an arrow."""


class Keyboard:
    """The terminal's settings, which the shell gets back whenever the program stops: `free` gives them back, `take` is for
    going on."""

    def take(self) -> None:
        """Have keys come one by one, unechoed."""

    def free(self) -> None:
        """Leave the terminal as it was."""

    def in_front(self) -> bool:
        """Whether what is drawn is wanted: not while a shell runs the program in the background."""
        return True


class _Terminal(Keyboard):
    """Keys are read, and settings changed, only while the program is in the foreground: else the terminal is the shell's, and
    whoever touches it is stopped."""

    def __init__(self) -> None:
        import termios
        import tty

        self._get, self._set, self._now = termios.tcgetattr, termios.tcsetattr, termios.TCSANOW
        self._break = tty.setcbreak
        self.file = os.open("/dev/tty", os.O_RDONLY)
        self._wanted = False
        self._before: list[Any] | None = None
        self._lock = threading.RLock()
        """Of these two: the thread of the keys and the handler of a signal both change them, the latter while its thread may."""
        for name in ("SIGTTIN", "SIGTTOU"):
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    def in_front(self) -> bool:
        try:
            return self._has_terminal()
        except OSError:  # the terminal is gone
            return False

    def _has_terminal(self) -> bool:
        return os.tcgetpgrp(self.file) == os.getpgrp()

    def take(self) -> None:
        with self._lock:
            self._wanted = True
            self._take_wanted()

    def _take_wanted(self) -> None:
        if self._wanted and self.in_front():
            self._before = self._before or self._get(self.file)
            self._break(self.file)

    def free(self) -> None:
        with self._lock:
            self._wanted = False
            before, self._before = self._before, None
            if before is not None:
                self._set(self.file, self._now, before)

    def read(self) -> str:
        """The next key. Raises OSError where the terminal is gone."""
        while True:
            with self._lock:
                if self._before is None:  # a shell's `fg` need not say that it is wanted again
                    self._take_wanted()
            if not select.select([self.file], [], [], LOOK_S)[0]:
                continue
            if self._has_terminal() and self._before is not None:
                return os.read(self.file, 1).decode("latin-1")
            time.sleep(LOOK_S)  # it is for the shell


def _console() -> Callable[[], str]:
    """The next key of a console of Windows."""
    import msvcrt

    getwch: Callable[[], str] = msvcrt.getwch  # type: ignore[attr-defined]  # only Windows has it

    def read() -> str:
        while (key := getwch()) in SPECIAL:
            getwch()
        return key

    return read


@contextlib.contextmanager
def keyboard(press: Callable[[str], None]) -> Iterator[Keyboard]:
    """Call `press` for each key while it lasts, on a thread of its own. Where there is neither terminal nor console to read from,
    there are no keys."""
    keys = Keyboard()
    try:
        keys = terminal = _Terminal()
        read = terminal.read
        # Whoever stopped the process may have changed the settings.
        signal.signal(signal.SIGCONT, lambda *_: keys.take())
    except (ImportError, OSError):
        try:
            read = _console()
        except ImportError:
            yield keys
            return

    def pass_on() -> None:
        with contextlib.suppress(OSError):
            while key := read():
                press(key)

    keys.take()
    threading.Thread(target=pass_on, name="keys", daemon=True).start()
    try:
        yield keys
    finally:
        keys.free()
