"""How far a command is that takes longer than two seconds: a bar on the terminal; nothing where there is none."""

from __future__ import annotations

import time
from types import TracebackType

PATIENCE_S = 2.0


class Progress:
    """Calling it with the share that is done, 0 to 1, draws the bar from `PATIENCE_S` on. It goes away at the end."""

    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bars

        self._began = time.monotonic()
        self._bars = Bars(console=Console(stderr=True), transient=True)
        self._task = self._bars.add_task(what, total=1.0)
        self._is_drawn = False

    def __call__(self, share: float) -> None:
        if not self._is_drawn and self._bars.console.is_terminal and time.monotonic() - self._began >= PATIENCE_S:
            self._bars.start()
            self._is_drawn = True
        self._bars.update(self._task, completed=share)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_drawn:
            self._bars.stop()
