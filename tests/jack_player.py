"""A musician at a JACK server, as a process of its own: plays a script to Antiphon and writes down what comes back.

    python jack_player.py [INPUT OUTPUT]         # Antiphon's clients; without them: only say whether there is a server

Reads a JSON list of [frame, [byte, ...]] from the first line of standard input; frames count from the start. Prints "playing",
then "played" when the script is over; at the end of standard input, a JSON list of what came back, in the same frames, and
how often the server was late. Everything in frames of the server: what else the machine does is then not measured.
"""

from __future__ import annotations

import json
import sys
import time

import jack

PATIENCE_S = 60.0


def port(client: jack.Client, owner: str, **direction: bool) -> jack.Port:
    """The one port of that client, as soon as it is there."""
    deadline = time.monotonic() + PATIENCE_S
    while not (ports := client.get_ports(f"^{owner}:{owner}$", is_midi=True, **direction)):
        if time.monotonic() > deadline:
            raise SystemExit(f"no port {owner!r}; there are {[p.name for p in client.get_ports()]}")
        time.sleep(0.02)
    return ports[0]


def main() -> None:
    client = jack.Client("musician", no_start_server=True)
    if len(sys.argv) < 3:
        return
    script = [(frame, bytes(message)) for frame, message in json.loads(sys.stdin.readline())]
    script.sort(key=lambda item: item[0])
    to, back = client.midi_outports.register("to"), client.midi_inports.register("back")
    came: list[tuple[int, list[int]]] = []
    state = {"next": 0, "start": None, "late": 0}

    @client.set_process_callback
    def process(frames: int) -> None:
        to.clear_buffer()
        if state["start"] is None:
            return
        now = client.last_frame_time - state["start"]
        while state["next"] < len(script) and script[state["next"]][0] < now + frames:
            frame, message = script[state["next"]]
            state["next"] += 1
            to.write_midi_event(max(frame - now, 0), message)
        for offset, data in back.incoming_midi_events():
            came.append((now + offset, list(bytes(data))))

    @client.set_xrun_callback
    def late(delayed_us: float) -> None:
        state["late"] += 1

    with client:
        client.connect(to, port(client, sys.argv[1], is_input=True))
        client.connect(port(client, sys.argv[2], is_output=True), back)
        state["start"] = client.last_frame_time + client.samplerate // 5
        print("playing", flush=True)
        while state["next"] < len(script):
            time.sleep(0.01)
        print("played", flush=True)
        sys.stdin.read()
    print(json.dumps([came, state["late"]]), flush=True)


if __name__ == "__main__":
    main()
