"""Keys of the computer's keyboard, one by one and unechoed: from a Unix terminal, or from a console of Windows."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

SPECIAL = ("\x00", "\xe0")
"""What a console of Windows gives before the code of a key without a character, such as an arrow."""


class Keyboard:
    """The terminal's settings, which the shell gets back whenever the program stops: `free` gives them back, `take` is for
    going on."""

    def take(self) -> None:
        """Have keys come one by one, unechoed."""

    def free(self) -> None:
        """Leave the terminal as it was."""


class _Terminal(Keyboard):
    def __init__(self) -> None:
        import termios
        import tty

        self._set, self._break = termios.tcsetattr, tty.setcbreak
        self.file = os.open("/dev/tty", os.O_RDONLY)
        self._before = termios.tcgetattr(self.file)
        self._now = termios.TCSANOW

    def take(self) -> None:
        self._break(self.file)

    def free(self) -> None:
        self._set(self.file, self._now, self._before)

    def read(self) -> str:
        """The next key; "" at the end."""
        return os.read(self.file, 1).decode("latin-1")


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
        signal.signal(
            signal.SIGCONT, lambda *_: keys.take()
        )  # whoever stopped the process may have changed the settings
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
