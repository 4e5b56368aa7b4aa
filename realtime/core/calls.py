"""The keys and the controllers with which the player calls something. Pure."""

from __future__ import annotations

from realtime.core.pedals import Switch
from realtime.core.settings import EngineSettings

ONE, TRIGGER, NEXT, FEEL = CALLS = ("one", "trigger", "next", "feel")
"""A downbeat, Antiphon's turn, the chart's next section, the band's next feel: the settings are named `one_key`, `one_cc` ..."""


class Calls:
    """Which key and which controller calls what. A controller calls when it comes up to 64."""

    def __init__(self, settings: EngineSettings) -> None:
        self._keys, self._controllers = (
            {number: call for call in CALLS if (number := getattr(settings, f"{call}_{kind}")) is not None}
            for kind in ("key", "cc")
        )
        self._switches = {call: Switch() for call in CALLS}

    def of_key(self, pitch: int) -> str | None:
        """What a key calls; None for a key of music."""
        return self._keys.get(pitch)

    def of_controller(self, number: int) -> str | None:
        """What a controller calls; None for any other."""
        return self._controllers.get(number)

    def moved(self, call: str, value: int) -> bool:
        """The controller went to `value`. Returns whether it calls by that."""
        return self._switches[call].moved(value)
