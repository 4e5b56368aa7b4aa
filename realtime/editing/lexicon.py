"""Words that say what an edit is to do: "crescendo into the chorus, jazz chords". Plain tables; nothing is guessed.

A word of `WORDS`, or the name of a preset, stands for amounts of controls (`realtime.editing.edit`). Words of `FACTORS` before it
multiply the amounts ("not very bright"). A word of `GROWING` between two commas makes all amounts between them grow over the
bars. `FILLERS` are ignored; the names of a song's sections are among them, because the bars are given by another option. Any
other word is refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from realtime.errors import UserError
from realtime.music.attributes import STYLES
from realtime.music.controls import Amount, Wishes

_AMOUNTS: tuple[tuple[str, dict[str, float]], ...] = (
    ("dense denser busy busier lively livelier active notes", {"density": 0.7}),
    ("sparse sparser simple simpler quiet quieter empty emptier", {"density": -0.7}),
    ("high higher up", {"register": 1.0}),
    ("low lower down deep deeper", {"register": -1.0}),
    ("bright brighter major", {"brightness": 1.0}),
    ("dark darker minor sad sadder gloomy gloomier", {"brightness": -1.0}),
    ("tense tenser tension dissonant chromatic edgy rich richer", {"tension": 0.7}),
    ("plain plainer relaxed consonant pure purer release", {"tension": -0.7}),
    ("full fuller thick thicker chord chords voices polyphonic", {"polyphony": 0.7}),
    ("thin thinner bare barer light lighter", {"polyphony": -0.7}),
    ("happy happier", {"brightness": 1.0, "density": 0.3, "tension": -0.2}),
    ("jazz jazzy", {"standard": 0.7, "tension": 0.7}),
    ("church choral chorale", {"hymn": 1.0}),
    ("irish celtic jig reel", {"folk": 1.0}),
    ("lied lieder", {"song": 1.0}),
    ("strings", {"quartet": 1.0}),
    ("loud louder forte", {"loudness": 1.0}),
    ("soft softer", {"loudness": -1.0}),
)
_RISING: tuple[tuple[str, dict[str, float]], ...] = (
    ("crescendo intensify climax", {"density": 1.0, "polyphony": 0.7, "register": 0.5, "loudness": 1.0}),
    ("diminuendo decrescendo fade", {"density": -1.0, "polyphony": -0.7, "register": -0.3, "loudness": -1.0}),
)
_GROWING = "gradually slowly growing increasingly becoming getting build building rising"
_FILLERS = """
    a an the and but with into in to towards toward of for from on it them this that make makes be is sound sounds sounding feel
    feeling mood music bars part parts please as like style harmony harmonies melody chorus verse bridge intro outro ending
    refrain section end beginning
"""

WORDS = {style: {style: 1.0} for style in STYLES} | {
    word: amounts for words, amounts in _AMOUNTS for word in words.split()
}
"""Amounts by control for each word."""
RISING = {word: amounts for words, amounts in _RISING for word in words.split()}
"""The same for words whose amounts always grow over the bars: a crescendo adds notes, too."""
GROWING, FILLERS = frozenset(_GROWING.split()), frozenset(_FILLERS.split())
FACTORS = {
    "very": 1.5, "much": 1.5, "far": 1.5, "strongly": 1.5, "slightly": 0.5, "little": 0.5, "bit": 0.5, "somewhat": 0.7,
    "less": -1.0, "not": -1.0, "no": -1.0, "fewer": -1.0, "without": -1.0, "more": 1.0,
}  # fmt: skip


def understood(text: str, presets: Mapping[str, Wishes]) -> dict[str, Amount]:
    """The amounts that a text asks for, by control. Raises `UserError` for unknown words, and for a text without amounts."""
    total: dict[str, Amount] = {}
    unknown: list[str] = []
    known = {*WORDS, *RISING, *FACTORS, *GROWING, *FILLERS, *presets}
    for clause in re.split(r"[,;.:!?]+", text.lower()):
        words = re.findall(r"[^\s\"'()]+", clause)
        growing = any(word in GROWING for word in words)
        factor = 1.0
        for word in words:
            if word in FACTORS:
                factor *= FACTORS[word]
            elif (asked := _amounts(word, growing, presets)) is not None:
                for name, amount in asked.items():
                    total[name] = total.get(name, Amount()).plus(amount.times(factor))
                factor = 1.0
            elif word not in known:
                unknown.append(word)
    if unknown:
        near = [difflib.get_close_matches(word, sorted(known - FILLERS), n=1, cutoff=0.6) for word in unknown]
        said = [f"{word} ({match[0]}?)" if match else word for word, match in zip(unknown, near, strict=True)]
        some = ", ".join(words.split()[0] for words, _ in (*_AMOUNTS, *_RISING))
        raise UserError(
            f"--words: not known: {', '.join(dict.fromkeys(said))}; allowed: {some} ...; docs/edit.md lists all"
        )
    if not total:
        raise UserError(f"--words {text!r}: asks for no change; docs/edit.md lists the words that do")
    return total


def _amounts(word: str, growing: bool, presets: Mapping[str, Wishes]) -> Wishes | None:
    if word in presets:
        return presets[word]
    if word in RISING:
        return {name: Amount(rise=amount) for name, amount in RISING[word].items()}
    if word in WORDS:
        return {name: Amount(rise=amount) if growing else Amount(amount) for name, amount in WORDS[word].items()}
    return None
