"""Files: Standard MIDI files read, written and rewritten, and pictures."""
