"""Which of the ports there are is meant by a name. Pure."""

import re
from collections.abc import Sequence

from realtime.errors import UserError
from realtime.io.midi.ports import NoSuchPort


def find_port(wanted: str, there: Sequence[str], backend: str) -> int:
    """The index of the wanted port: the exact name, then the name without what the system adds to it, then a unique part
    of it. Raises UserError listing the ports there are: NoSuchPort where none matches.

    ALSA adds numbers ("Keys:Keys MIDI 1 20:0") that change with every plug; WinMM a running number; and "client:port"
    may be asked for by its port alone.
    """
    plain = [plain_name(name, backend) for name in there]
    ports = [name.split(":", 1)[-1] for name in plain]
    for names in (list(there), plain, ports):
        if names.count(wanted) == 1:
            return names.index(wanted)
    matches = [index for index, name in enumerate(there) if wanted and wanted.casefold() in name.casefold()]
    if len(matches) == 1:
        return matches[0]
    listed = ", ".join(repr(name) for name in there) or "none"
    if matches:
        raise UserError(f"MIDI port {wanted!r}: {len(matches)} ports match; there are: {listed}")
    raise NoSuchPort(f"MIDI port {wanted!r}: no such port; there are: {listed}")


def plain_name(name: str, backend: str) -> str:
    """The name without the numbers that change: those of ALSA and WinMM, and those that a2jmidid takes over into JACK."""
    numbers = {"alsa": r"\s\d+:\d+$", "winmm": r"\s\d+$", "jack": r"(?<=^a2j:)(.*) \[\d+\]"}.get(backend)
    return re.sub(numbers, r"\1" if backend == "jack" else "", name) if numbers else name


def find_again(found: str, wanted: str, there: Sequence[str], backend: str) -> int:
    """The index of the port that was `found` before when `wanted` was asked for: by its name, whatever its numbers are now. Where
    only a part of the name was asked for, any port that has it will do. Raises UserError."""
    plain = plain_name(found, backend)
    for name, names in ((found, list(there)), (plain, [plain_name(other, backend) for other in there])):
        if names.count(name) == 1:
            return names.index(name)
    if wanted in (found, plain, plain.split(":", 1)[-1]):
        raise NoSuchPort(f"MIDI port {found!r}: no such port")
    return find_port(wanted, there, backend)


def of_others(there: Sequence[str], client_name: str, backend: str) -> list[str]:
    """The ports that are not a session's own: it never plays to itself, whatever part of a name is asked for."""
    own = {f"{client_name} {role}" for role in ("In", "Out", "Watch")}
    return [
        name
        for name in there
        if not {plain_name(name, backend).split(":", 1)[-1], re.sub(r"-\d+$", "", name.split(":", 1)[0])} & own
    ]
