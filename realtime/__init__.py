"""The live program. Imports no torch, and nothing of `models` or `export`."""

__version__ = "0.1.0"
