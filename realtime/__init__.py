"""The live program. Imports no torch, and nothing of `models` or `export`."""

from realtime import process as process  # before all else: Ctrl-C ends the command while the rest is loaded

__version__ = "0.1.0"
