"""MIDI files -> packs -> training windows."""
