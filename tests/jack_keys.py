"""A keyboard with a sound of its own at a JACK server, as a process of its own.

    python jack_keys.py NAME

Reads lines: the hexadecimal digits of messages that are played at once; "heard", which is answered, when all is played, with a
JSON list of what came in. Leaves the server at the end of its input.
"""

from __future__ import annotations

import collections
import json
import sys
import time

import jack

PATIENCE_S = 5.0


def await_wires(*ports: jack.OwnPort) -> None:
    """Wait until the ports are connected, so that what is played is heard; not for ever, as some are not to be."""
    deadline = time.monotonic() + PATIENCE_S
    while not all(port.connections for port in ports) and time.monotonic() < deadline:
        time.sleep(0.01)


def await_played(to_play: collections.deque[bytes]) -> None:
    """Wait until the server has taken all of them; not for ever, as it may be gone."""
    deadline = time.monotonic() + PATIENCE_S
    while to_play and time.monotonic() < deadline:
        time.sleep(0.01)


def main() -> None:
    client = jack.Client(sys.argv[1], use_exact_name=True, no_start_server=True)
    out, back = client.midi_outports.register("out"), client.midi_inports.register("in")
    to_play: collections.deque[bytes] = collections.deque()
    heard: list[str] = []

    @client.set_process_callback
    def process(_: int) -> None:
        out.clear_buffer()
        try:
            while to_play:
                out.write_midi_event(0, to_play[0])
                to_play.popleft()
        except jack.JackError:
            pass  # no more fits into this period
        heard.extend(bytes(data).hex() for _, data in back.incoming_midi_events())

    with client:
        print("ready", flush=True)
        for line in sys.stdin:
            if line.strip() == "heard":
                await_played(to_play)
                print(json.dumps(heard), flush=True)
            else:
                await_wires(out, back)
                to_play.extend(map(bytes.fromhex, line.split()))


if __name__ == "__main__":
    main()
