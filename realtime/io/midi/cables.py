"""What a port of ours is connected to, which rtmidi does not report: asked of the JACK server, read from ALSA's list."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

ALSA_CLIENTS = Path("/proc/asound/seq/clients")
_MAPS = Path("/proc/self/maps")
_NO_START_SERVER = 1


def alsa_connections(port_name: str, listed: str) -> frozenset[str]:
    """From the text of ALSA_CLIENTS: the addresses ("20:0") that ports of this name send to, or hear."""
    found: set[str] = set()
    ours = False
    for line in listed.splitlines():
        if port := re.match(r'\s+Port\s+\d+ : "(.*)"', line):
            ours = port[1] == port_name
        elif ours and (connected := re.match(r"\s+Connect(?:ing To|ed From): (.*)", line)):
            found |= set(re.findall(r"\d+:\d+", connected[1]))
    return frozenset(found)


class Remembered:
    """What a port was connected to by others, and which of it has vanished since: that is to be connected again when it is back.
    What was there all the time was disconnected on purpose."""

    def __init__(self) -> None:
        self._connected: frozenset[str] = frozenset()
        self._vanished: frozenset[str] = frozenset()

    def lost(self) -> None:
        """Our own port is gone, and every connection with it."""
        self._vanished |= self._connected

    def to_connect(self, connected: frozenset[str], there: frozenset[str]) -> frozenset[str]:
        """What to connect now. `connected`: what the port is connected to, of all the ports that are `there`."""
        self._vanished |= self._connected - there
        self._vanished -= connected
        self._connected = connected
        return self._vanished & there


class JackCables:
    """A client of the JACK server without ports, which asks and connects. By the same libjack that rtmidi has loaded: it goes to
    the same server. Raises OSError where that cannot be found, or there is no server"""

    def __init__(self, client_name: str) -> None:
        loaded = re.search(r"/\S*libjack[^\s/]*$", _MAPS.read_text(), re.MULTILINE)
        if loaded is None:
            raise OSError("no libjack is loaded")
        self._jack = ctypes.CDLL(loaded[0])
        names = ctypes.POINTER(ctypes.c_char_p)
        for name, result, arguments in (
            ("jack_client_open", ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]),
            ("jack_get_ports", names, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong]),
            ("jack_port_by_name", ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]),
            ("jack_connect", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]),
            ("jack_port_get_all_connections", names, [ctypes.c_void_p, ctypes.c_void_p]),
            ("jack_free", None, [ctypes.c_void_p]),
            ("jack_client_close", ctypes.c_int, [ctypes.c_void_p]),
            ("jack_set_error_function", None, [ctypes.c_void_p]),
        ):
            function = getattr(self._jack, name)
            function.restype, function.argtypes = result, arguments
        # What libjack prints when its server dies is not for the user. Any function of C that takes a string and changes nothing.
        self._jack.jack_set_error_function(ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p))
        self._client = self._jack.jack_client_open(client_name.encode(), _NO_START_SERVER, None)
        if not self._client:
            raise OSError("no JACK server")

    def ports(self) -> frozenset[str]:
        """The full names ("client:port") of all ports there are."""
        return self._names(self._jack.jack_get_ports(self._client, None, None, 0))

    def connections(self, port_name: str) -> frozenset[str]:
        """The names of the ports that are connected to the port of this full name."""
        port = self._jack.jack_port_by_name(self._client, port_name.encode())
        return self._names(self._jack.jack_port_get_all_connections(self._client, port) if port else None)

    def connect(self, source: str, target: str) -> None:
        """Connect two ports by their full names; nothing happens where they are connected, or one of them is gone."""
        self._jack.jack_connect(self._client, source.encode(), target.encode())

    def _names(self, listed: Any) -> frozenset[str]:
        """Of a list that ends with NULL, and is ours to free; NULL is the empty one."""
        if not listed:
            return frozenset()
        found: list[bytes] = []
        while (name := listed[len(found)]) is not None:
            found.append(name)
        self._jack.jack_free(listed)
        return frozenset(name.decode(errors="replace") for name in found)

    def close(self) -> None:
        """Closing twice is allowed."""
        client, self._client = self._client, None
        if client:
            self._jack.jack_client_close(client)
