"""Edits of existing notes: denser, higher, brighter. Pure."""
