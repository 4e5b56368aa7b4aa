"""A chart's file while it is played: whenever it is saved, it is read again, on a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from realtime.errors import UserError
from realtime.io.files.charts import is_file, read_chart
from realtime.io.files.whole import at_home
from realtime.music.chart import Chart

LOOK_S = 0.5


class ChartWatch:
    """Hands over the new chart whenever the file has changed. What is wrong with it is said once, and the old one goes on."""

    def __init__(self, given: str, german: bool, give: Callable[[Chart], None], say: Callable[[str], None]) -> None:
        self._given, self._german, self._give, self._say = given, german, give, say
        self._path = at_home(Path(given))
        self._seen = self._stamp()
        self._over = threading.Event()

    def start(self) -> None:
        """Begin to look, if a file was given."""
        if is_file(self._given):
            threading.Thread(target=self._run, name="chart-watch", daemon=True).start()

    def close(self) -> None:
        """End the thread."""
        self._over.set()

    def look(self) -> None:
        """Read the file again if it has changed since it was last looked at. One that is gone may be in the middle of being
        saved."""
        stamp = self._stamp()
        if stamp is None or stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._give(read_chart(self._given, self._german))
        except UserError as error:
            self._say(f"{error}; the chart goes on as it was")

    def _run(self) -> None:
        while not self._over.wait(LOOK_S):
            self.look()

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size
