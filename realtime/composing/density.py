"""The density: resting is likelier after many notes than after few, by the player's density or that of a file. Pure."""

from __future__ import annotations

from realtime.music.controls import Controls

SURPLUS_NATS, MOST_SURPLUS_NATS = 0.4, 1.5
"""For resting, for each note that an answer has beyond what the player's density gives by now, negative for fewer; and the
most."""
KNOWN_NATS, MOST_KNOWN_NATS = 3.0, 12.0
"""The same where the density is known from a file. The first is divided by 1 + notes a quarter: in a sparse voice each note
counts, in a dense one each quarter."""
TURNED = 4.0
"""How much stronger these are where the knob for density is at its end."""
ALONG_NOTES = 2.6
"""How many notes an accompaniment plays to one of the tune's: the mean of thirty held-out pieces. More of them favour resting."""
TURNED_ALONG_RATE = 2.6
"""With the knob for density turned, what is changed of an accompaniment is at most so many notes a quarter."""


def along_rate(player: float) -> float:
    """The notes a quarter of an accompaniment to so many of the player's, as the knob for density changes them."""
    return min(player * ALONG_NOTES, TURNED_ALONG_RATE)


def surplus(
    made: int,
    rate: float,
    quarters: float,
    controls: Controls,
    nats: float = SURPLUS_NATS,
    most: float = MOST_SURPLUS_NATS,
) -> float:
    """Nats for resting: `nats` for each note made beyond `rate` a quarter in so many quarters, negative for fewer, `most` at
    most; more of both where the knob for density is turned."""
    turned = 1 + TURNED * abs(controls.density)
    beyond = (made - rate * controls.times_denser * quarters) * nats * turned
    return min(max(beyond, -most * turned), most * turned)
