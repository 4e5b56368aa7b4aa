"""The live program. Imports no torch, and nothing of `models` or `export`."""
