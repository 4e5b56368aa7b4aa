"""MIDI ports of the system, through python-rtmidi: ALSA, JACK, CoreMIDI, WinMM.

Without a name a virtual port is made, "Antiphon In" or "Antiphon Out"; with a name (always on Windows, which has no virtual
ports) the port there is is opened: exact name first, else unique substring.

A port that was closed may be opened again. With JACK that works even after the server was restarted, or has dropped one of our
clients, if every port of this process was closed before: as long as one client is open, libjack stays with the server that is
gone; and where a server died, or dropped one client, it frees all others as soon as a new one is opened. So what happens to one
JACK client of ours counts for every open port.

Threads: the callback runs on the driver's thread, or, for what came in just before it was set, on that of `go_on` or
`is_alive`. Every method belongs to one thread at a time, except `send`, which may be called from one other. Errors: UserError at
`open` (NoSuchPort, NoMidiSystem), PortLost at `send`.
"""

import contextlib
import ctypes
import gc
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

from realtime.errors import UserError

try:
    import rtmidi
except ModuleNotFoundError:
    raise UserError(
        "python-rtmidi is not installed; pip install python-rtmidi (ready to install for Python 3.11 and 3.12)"
    ) from None
except ImportError as error:  # its wheel needs ALSA's library, which a bare server lacks
    raise UserError(f"python-rtmidi cannot be loaded ({error}); on Debian: apt-get install libasound2") from None

from realtime import midi
from realtime.io.midi.c_libraries import jack_sockets, quiet
from realtime.io.midi.cables import ALSA_CLIENTS, JackCables, Remembered, alsa_connections
from realtime.io.midi.names import find_again, find_port, of_others
from realtime.io.midi.ports import NoSuchPort, OnMessage, PortLost

APIS: dict[str, int] = {
    "alsa": rtmidi.API_LINUX_ALSA,
    "jack": rtmidi.API_UNIX_JACK,
    "coremidi": rtmidi.API_MACOSX_CORE,
    "winmm": rtmidi.API_WINDOWS_MM,
}
CLIENT = "Antiphon"
END_OF_SYSEX = bytes([midi.SYSEX_END])
DRAIN_S = 0.1
MOST_WAITING = 1 << 16
"""How many messages may wait while no callback may come: what is beyond, rtmidi drops, note-offs too."""


class NoMidiSystem(UserError):
    """No back end could be opened: which were tried, and why each failed."""


def backends() -> list[str]:
    """The back ends in this build of rtmidi, in the order `auto` tries them."""
    return [name for api in rtmidi.get_compiled_api() for name, number in APIS.items() if number == api]


def list_ports(backend: str = "auto") -> dict[Literal["in", "out"], list[str]]:
    """The ports there are: "in" those that can be played from, "out" those that can be played to. Raises UserError.

    Not for a session whose JACK server died: a new client frees what the open ports still hold. Close those first.
    """
    with quiet():
        source = _client(rtmidi.MidiIn, backend, CLIENT)
        target = _client(rtmidi.MidiOut, backend, CLIENT)
        ports: dict[Literal["in", "out"], list[str]] = {"in": source.get_ports(), "out": target.get_ports()}
        source.delete()
        target.delete()
    return ports


class _RtMidiPort:
    """What input and output share: opening by name or as a virtual port, the watch, and closing."""

    role: Literal["In", "Out"]
    _waker: Any = None

    def __init__(self, backend: str, port_name: str | None, client_name: str = CLIENT) -> None:
        self.backend = backend
        self.name = port_name or f"{client_name} {self.role}"
        self._wanted = port_name
        self._client_name = client_name
        self._midi: Any = None
        self._connected: str | None = None
        self._was_connected = False  # as far as that is known
        self._found: str | None = None
        self._virtual = False
        self._sockets: frozenset[str] = frozenset()
        self._own_name = f"{client_name} {self.role}"
        self._cables: JackCables | None = None
        self._remembered = Remembered()
        self._full_name = ""

    def _open(self, make: Callable[..., Any]) -> None:
        """Where the port that is asked for is not there, the client is kept for the next try."""
        if not _have_server():
            self.close()
            # A new one only after every other port is closed, too.
            raise NoSuchPort(f"{self.name}: the JACK server is gone")
        with quiet():
            try:
                if self._midi is None:
                    self._start(make)
                before = self._cables.ports() if self._cables is not None else frozenset()
                self._connect()
                if self._cables is not None:  # JACK numbers the clients of a second session: the new one is ours
                    ours = [name for name in self._cables.ports() - before if name.endswith(f":{self._own_name}")]
                    self._full_name = ours[0] if ours else f"{self._own_name}:{self._own_name}"
            except NoSuchPort:
                raise
            except BaseException:
                self.close()
                raise

    def _start(self, make: Callable[..., Any]) -> None:
        before = jack_sockets()
        with _new_client():
            with _no_callbacks():
                self._midi = _client(make, self.backend, self._client_name, self.role)
            self.backend = self.backend_in_use  # and no other, when it is opened again
            with contextlib.suppress(OSError):
                self._cables = JackCables(f"{self._client_name} Cables") if self.backend == "jack" else None
        self._sockets = jack_sockets() - before
        _OPEN.append(self)

    def _connect(self) -> None:
        if self._wanted is None and self.backend != "winmm":
            with _no_callbacks():
                self._midi.open_virtual_port(self._own_name)
            self._virtual = True
            return
        listed = self._midi.get_ports()
        there = of_others(listed, self._client_name, self.backend)
        if self._wanted is None:
            names = ", ".join(repr(name) for name in there) or "none"
            raise UserError(
                f"Windows has no virtual MIDI ports; name one with --{self.role.lower()}; there are: {names} "
                "(loopMIDI or Windows MIDI Services make one)"
            )
        if self._found is None:
            name = there[find_port(self._wanted, there, self.backend)]
        else:
            name = there[find_again(self._found, self._wanted, there, self.backend)]
        try:
            with _no_callbacks():
                self._midi.open_port(listed.index(name), self._own_name)
        except rtmidi.RtMidiError as error:
            raise UserError(f"MIDI port {name!r}: cannot be opened ({error}); is another program using it?") from None
        self._connected = self._found = self.name = name

    @property
    def backend_in_use(self) -> str:
        """The back end that `auto` came to; valid while open."""
        api = self._midi.get_current_api()
        return next(name for name, number in APIS.items() if number == api)

    def is_alive(self) -> bool:
        """Whether this is open, and what it was opened on (port, JACK server, connection) is still there."""
        if self._midi is None or not _have_server():
            return False
        if self._connected is None:
            return self._virtual
        try:
            if self._connected not in self._midi.get_ports():
                return False
        except rtmidi.RtMidiError:
            return False
        # It may have gone and come back since the last look: then it is there, but not connected any more.
        address = self._connected.rsplit(" ", 1)[-1] if self.backend == "alsa" else self._connected
        is_connected = address in (self.connections() or ())
        self._was_connected |= is_connected
        return is_connected or not self._was_connected

    def connections(self) -> frozenset[str] | None:
        """Known with JACK and ALSA."""
        try:
            match self.backend:
                case "alsa":
                    return alsa_connections(self._own_name, ALSA_CLIENTS.read_text(errors="replace"))
                case "jack":
                    if self._cables is None:
                        return None
                    others = self._cables.connections(self._full_name)
                    return frozenset(name for name in others if not name.startswith(f"{self._client_name} Watch"))
        except OSError:
            pass
        return None

    def reconnect(self) -> None:
        """With JACK, where the server has no memory of connections, and for a port that others connect."""
        connected = self.connections()
        if connected is None or self._cables is None or not self._virtual:
            return
        for name in self._remembered.to_connect(connected, self._cables.ports()):
            self._cables.connect(*((name, self._full_name) if self.role == "In" else (self._full_name, name)))

    def close(self) -> None:
        clients, cables = [client for client in (self._waker, self._midi) if client is not None], self._cables
        self._forget()
        if not clients:
            return
        with quiet(), _no_callbacks():
            for client in clients:
                client.close_port()
                client.delete()
            if cables is not None:
                cables.close()

    def abandon(self) -> None:
        """libjack has freed what this port was opened on: it is used no more, and not freed again, even as the process ends."""
        for freed in (self._midi, self._waker):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(freed))
        self._forget()

    def _forget(self) -> None:
        if self._midi is not None:
            self._remembered.lost()
        self._midi, self._waker, self._cables, self._sockets = None, None, None, frozenset()
        if self in _OPEN:
            _OPEN.remove(self)
        self._connected, self._was_connected, self._virtual = None, False, False


class RtMidiInput(_RtMidiPort):
    """An InputPort.

    With JACK, rtmidi takes all that follows an F0 for a part of it until an F7 comes, and delivers nothing meanwhile: one SysEx
    that is never ended would make Antiphon deaf. So whenever nothing was delivered since the last `is_alive` an F7 is sent to
    our own port, and what had been swallowed comes out (`midi.split`).
    """

    role = "In"
    fault: Exception | None = None
    _delivered = False
    calls_back = False
    """Whether a callback may come."""
    _on_message: OnMessage
    _kept: tuple[object, ...] = ()
    _look_again = False
    """Whether something may wait still, although callbacks come."""

    def open(self, on_message: OnMessage) -> None:
        """Raises UserError, NoMidiSystem among them."""
        self._open(partial(rtmidi.MidiIn, queue_size_limit=MOST_WAITING))

        self._midi.ignore_types(sysex=False, timing=False, active_sense=True)
        self._on_message = on_message
        self._call_back()

    def _deliver(self, event: tuple[list[int], float], _: object) -> None:
        stamp_ns = time.monotonic_ns()
        try:
            data = bytes(event[0])
            if data == END_OF_SYSEX:
                return
            self._delivered = True
            for message in midi.split(data):
                self._on_message(message, stamp_ns)
        except Exception as error:  # an exception must not unwind into the driver's C++ thread
            self.fault = self.fault or error

    def hold(self) -> None:
        """No callback comes from now on, and none is on its way; what comes in waits."""
        self.calls_back = False
        self._midi.cancel_callback()
        time.sleep(DRAIN_S)

    def go_on(self) -> None:
        """Deliver what has waited, and what comes in."""
        while self._call_back():  # what comes in just before the callback is there waits on
            pass
        self._look_again = True

    def _call_back(self) -> bool:
        """Deliver what waits, and let callbacks come from now on. Whether anything waited.

        rtmidi frees the tuple that it makes for its callbacks as soon as they are cancelled, but a driver's thread that waits for
        the interpreter's lock then is about to use it: so it is kept until the port is closed."""
        client, deliver, mark = self._midi, self._deliver, object()
        client.cancel_callback()
        waited = False
        while (event := client.get_message()) is not None:
            deliver(event, None)
            waited = True
        client.set_callback(deliver, mark)
        self.calls_back = True
        self._kept += tuple(one for one in gc.get_referrers(mark) if isinstance(one, tuple))
        return waited

    def is_alive(self) -> bool:
        alive = super().is_alive()
        if alive and self._look_again:
            self._look_again = self._call_back()
        if alive and not self._delivered and self.backend == "jack":
            with contextlib.suppress(rtmidi.RtMidiError, UserError, OSError):
                self._wake()
        self._delivered = False
        return alive

    def _wake(self) -> None:
        if self._waker is None:
            before = jack_sockets()
            with quiet(), _new_client(), _no_callbacks():
                waker = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name=f"{self._client_name} Watch")
                waker.open_port(find_port(self._full_name, waker.get_ports(), "jack"), "Watch")
            self._waker = waker
            self._sockets |= jack_sockets() - before
        self._waker.send_message(END_OF_SYSEX)

    def close(self) -> None:
        if self._midi is not None:
            self.hold()  # and for good
        super().close()

    def _forget(self) -> None:
        super()._forget()
        self._kept, self._look_again, self.calls_back = (), False, False


class RtMidiOutput(_RtMidiPort):
    """An OutputPort."""

    role = "Out"

    def open(self) -> None:
        """Raises UserError, NoMidiSystem among them."""
        self._open(rtmidi.MidiOut)

    def send(self, message: bytes) -> None:
        client = self._midi
        if client is None:
            raise PortLost(f"{self.name}: the port is not open")
        try:
            client.send_message(message)
        except rtmidi.RtMidiError as error:
            raise PortLost(f"{self.name}: {error}") from error


def _client(make: Callable[..., Any], backend: str, name: str, role: str = "") -> Any:
    """A client of the back end, or of the first that works. Raises UserError."""
    compiled = backends()
    if backend != "auto" and backend not in compiled:
        raise UserError(f"MIDI back end {backend!r} given; this computer's rtmidi has {', '.join(compiled) or 'none'}")
    # rtmidi would start no JACK server either; other builds of libjack might.
    os.environ.setdefault("JACK_NO_START_SERVER", "1")
    failures = []
    for candidate in compiled if backend == "auto" else [backend]:
        # JACK gives each client a name of its own: a second "Antiphon" would come out as "Antiphon-01", by order of opening,
        # and connections a DAW remembers would break.
        client = f"{name} {role}".strip() if candidate == "jack" else name
        try:
            return make(APIS[candidate], name=client)
        except rtmidi.RtMidiError as error:
            failures.append(f"{candidate} ({str(error).strip().rstrip('.')})")
    tried = ", ".join(failures) or "nothing, rtmidi was built without any"
    raise NoMidiSystem(
        f"no MIDI system: tried {tried}; `antiphon demo` needs none, `antiphon doctor` says what is missing"
    )


_OPEN: list[_RtMidiPort] = []
"""The ports of this process that have a client of their own now."""


@contextlib.contextmanager
def _no_callbacks() -> Iterator[None]:
    """The driver's thread may wait for the interpreter's lock, on its way into a callback. Opening or closing any client of ours
    keeps that lock, and JACK's server may wait for that thread: for ever. So no input of ours calls back in this context."""
    inputs = [port for port in _OPEN if isinstance(port, RtMidiInput) and port.backend == "jack" and port.calls_back]
    for port in inputs:
        port.hold()
    try:
        yield
    finally:
        for port in inputs:
            port.go_on()


@contextlib.contextmanager
def _new_client() -> Iterator[None]:
    """A client is opened here. Where the JACK server has died just before, libjack frees all clients of this process then, and
    their sockets go: a port that was open on one of them is abandoned."""
    try:
        yield
    finally:
        for port in [port for port in _OPEN if not port._sockets <= jack_sockets()]:
            port.abandon()


def _have_server() -> bool:
    """rtmidi does not report that a JACK server died, or dropped a client: it still lists its ports and swallows what is sent.
    But on Linux the socket between the server and a client goes with it. Whether every open port still has all of its sockets."""
    expected = frozenset().union(*(port._sockets for port in tuple(_OPEN)))
    return not expected or expected <= jack_sockets()
