"""The ledger of sounding notes: which notes sound, and until when. So every note-on gets exactly one note-off.

Keys are (channel 0..15, pitch 0..127) of one output port; times are pulses. Before a note-on is sent, `strike` enters it
here, and the messages that `strike` returns are sent first. Every note-off that a method returns has to be sent. One
thread at a time.
"""

from realtime.midi import note_off


class Ledger:
    """The sounding notes by (channel, pitch), each with its release pulse."""

    def __init__(self) -> None:
        # Release pulse by key. The dictionary keeps the order of striking, which decides between equal pulses.
        self._release_pulse: dict[tuple[int, int], int] = {}

    def strike(self, channel: int, pitch: int, release_pulse: int) -> list[bytes]:
        """Enter a note that is about to be sent. Returns what must be sent before its note-on: the note-off of the note that
        already sounds on this key, or nothing.
        """
        first = self.release(channel, pitch)
        self._release_pulse[channel, pitch] = release_pulse
        return first

    def due(self, now_pulse: int) -> list[tuple[int, bytes]]:
        """Take out every note whose release pulse has come: (release pulse, note-off), earliest first."""
        ended = [(pulse, key) for key, pulse in self._release_pulse.items() if pulse <= now_pulse]
        ended.sort(key=_pulse)
        for _, key in ended:
            del self._release_pulse[key]
        return [(pulse, note_off(*key)) for pulse, key in ended]

    def next_pulse(self) -> int | None:
        """The earliest release pulse, or None in silence."""
        return min(self._release_pulse.values(), default=None)

    def release(self, channel: int, pitch: int) -> list[bytes]:
        """End one note now: its note-off, or nothing where that key is silent."""
        return [note_off(channel, pitch)] if self._release_pulse.pop((channel, pitch), None) is not None else []

    def release_all(self) -> list[bytes]:
        """End every note now: their note-offs, in the order they were struck."""
        messages = [note_off(*key) for key in self._release_pulse]
        self._release_pulse.clear()
        return messages

    def end_key(self, channel: int, pitch: int, pulse: int) -> None:
        """A sounding note does not sound beyond `pulse`; a silent key stays silent."""
        if (release := self._release_pulse.get((channel, pitch))) is not None:
            self._release_pulse[channel, pitch] = min(release, pulse)

    def end_by(self, pulse: int, channel: int | None = None) -> None:
        """No note sounds beyond `pulse`, on a channel or, with None, on all."""
        self._release_pulse = {
            key: min(release, pulse) if channel in (None, key[0]) else release
            for key, release in self._release_pulse.items()
        }

    def sounding(self) -> frozenset[tuple[int, int]]:
        """The (channel, pitch) of every sounding note."""
        return frozenset(self._release_pulse)

    def __len__(self) -> int:
        return len(self._release_pulse)


def _pulse(ended: tuple[int, tuple[int, int]]) -> int:
    return ended[0]
