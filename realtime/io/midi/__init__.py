"""MIDI ports: the protocol, in memory and in the operating system."""
