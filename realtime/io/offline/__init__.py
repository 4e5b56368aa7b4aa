"""The commands that work on files: compose, infill, edit."""
