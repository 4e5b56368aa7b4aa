"""The echo guard: Antiphon must not answer its own notes when they come back in, nor mistake the player's notes for them.

Times are host nanoseconds; messages are canonical or whatever a driver hands over (both sides are normalised). One
thread at a time.
"""

from collections import deque

from realtime.midi import channel, is_note_off, is_note_on, normalise

_SECOND_NS = 1_000_000_000


class EchoGuard:
    """Remembers recent sends. Each of them makes at most one equal message an echo, if it comes in within `window_ns`.

    Equal means the same bytes, velocity included. All note-offs of a key look the same, so one counts as an echo only after
    the note-on did: otherwise the player's own release could be ignored, and their key would count as down for ever.
    """

    def __init__(self, window_ns: int = 250_000_000, echoes_per_s: int = 64) -> None:
        self._window_ns = window_ns
        self._sends: deque[tuple[int, bytes]] = deque()
        self._echoing: set[tuple[int, int]] = set()  # (channel, pitch) whose echoed note-off is still to come
        self._echo_stamps_ns: deque[int] = deque(maxlen=echoes_per_s + 1)

    def sent(self, message: bytes, now_ns: int) -> None:
        """Remember a send. `now_ns` has to be read before sending, so that no echo can be older."""
        # Kept for twice the window, because a message may be handled long after its stamp.
        while self._sends and self._sends[0][0] < now_ns - 2 * self._window_ns:
            self._sends.popleft()
        if (canonical := normalise(message)) is not None:
            self._sends.append((now_ns, canonical))

    def is_echo(self, message: bytes, stamp_ns: int) -> bool:
        """Whether this incoming message is one of our own sends. If so, that send explains no second echo."""
        canonical = normalise(message)
        if canonical is None:
            return False
        if is_note_off(canonical) and _key(canonical) not in self._echoing:
            return False
        for index, (sent_ns, sent) in enumerate(self._sends):
            if sent == canonical and 0 <= stamp_ns - sent_ns <= self._window_ns:
                del self._sends[index]
                break
        else:
            return False
        if is_note_on(canonical):
            self._echoing.add(_key(canonical))
        elif is_note_off(canonical):
            self._echoing.remove(_key(canonical))
        self._echo_stamps_ns.append(stamp_ns)
        return True

    def tripped(self, now_ns: int) -> bool:
        """Whether more than `echoes_per_s` echoes came in during the last second: a feedback loop."""
        stamps_ns = self._echo_stamps_ns
        return len(stamps_ns) == stamps_ns.maxlen and now_ns - stamps_ns[0] <= _SECOND_NS


def _key(note: bytes) -> tuple[int, int]:
    return channel(note), note[1]
