"""What is said to the user: in order, and whatever the screen does, nobody waits for it."""

from __future__ import annotations

import threading

from realtime.io.live.speaker import MOST_WAITING, Speaker


def test_lines_come_in_order() -> None:
    lines: list[str] = []
    speaker = Speaker(lines.append)
    for number in range(100):
        speaker(str(number))
    assert speaker.close(60.0)
    assert lines == [str(number) for number in range(100)]


def test_a_screen_that_stands_still_holds_nobody_up() -> None:
    still, begun = threading.Event(), threading.Event()

    def say(line: str) -> None:
        begun.set()
        still.wait()

    speaker = Speaker(say)
    speaker("one")
    begun.wait()
    for number in range(10 * MOST_WAITING):  # more than it keeps
        speaker(str(number))
    assert not speaker.close(0.01)
    still.set()


def test_a_screen_that_is_gone_raises_nothing() -> None:
    said = []

    def say(line: str) -> None:
        said.append(line)
        raise BrokenPipeError

    speaker = Speaker(say)
    speaker("one")
    speaker("two")
    assert not speaker.close(60.0), "it has to be known that it is gone"
    assert said == ["one", "two"]
