"""What keeps a thread punctual while it plays, and what keeps it from waiting for a driver that never comes back."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator


def within(seconds: float, *calls: Callable[[], None]) -> bool:
    """Make the calls, one after the other whatever each comes to, and wait no longer than that for them. Whether all came to an
    end."""

    def make() -> None:
        for call in calls:
            with contextlib.suppress(Exception):
                call()

    thread = threading.Thread(target=make, name="driver", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


@contextlib.contextmanager
def punctual() -> Iterator[None]:
    """No garbage collection while playing, short turns at the interpreter lock, and real-time priority where allowed."""
    gc.collect()
    gc.freeze()
    gc.disable()
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    if real_time := hasattr(os, "sched_setscheduler"):
        with contextlib.suppress(OSError):  # an ordinary user may not; the loop is punctual enough without
            # Reset on fork: a worker that is started while playing must not compete with this thread.
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(20))
    try:
        yield
    finally:
        if real_time:
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        sys.setswitchinterval(interval_s)
        gc.unfreeze()
        gc.enable()
