"""The one clock: monotonic host nanoseconds. Read here and in `realtime.io`; the core is handed times."""

from time import monotonic_ns as now_ns

__all__ = ["now_ns"]
