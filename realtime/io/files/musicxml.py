"""The chords of a MusicXML file (.musicxml, .xml, or compressed: .mxl) as a chart's text. Format: MusicXML 4.0 (W3C, 2021).

A file is untrusted: its size is bounded, in an archive too, and a document that declares entities is refused, so that none can be
made of entities that multiply.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from realtime.errors import UserError
from realtime.music.chart import FINEST, bar_text
from realtime.music.metre import TICKS
from realtime.reading import read_whole

MAX_BYTES, MAX_ENTRIES = 16 << 20, 256
WANTED = "a MusicXML file"
KINDS = {
    "major": "", "minor": "m", "augmented": "aug", "diminished": "dim", "dominant": "7", "major-seventh": "maj7",
    "minor-seventh": "m7", "diminished-seventh": "dim7", "augmented-seventh": "aug7", "half-diminished": "m7b5",
    "major-minor": "mmaj7", "major-sixth": "6", "minor-sixth": "m6", "dominant-ninth": "9", "major-ninth": "maj9",
    "minor-ninth": "m9", "dominant-11th": "11", "major-11th": "maj11", "minor-11th": "m11", "dominant-13th": "13",
    "major-13th": "maj13", "minor-13th": "m13", "suspended-second": "sus2", "suspended-fourth": "sus4", "power": "5",
    "pedal": "", "other": "",
}  # fmt: skip
SEVENTHS = {"": "7", "b": "7", "#": "maj7"}
"""A seventh that is added: minor, by the format without an alteration, and with a flat as some programs write it; or major."""
OCTAVE_UP = {"2": "9", "4": "11"}
"""As chord symbols name these degrees where they are altered."""
ALTERATIONS = {"-2": "bb", "-1": "b", "0": "", "1": "#", "2": "##"}


def chart_text(path: Path) -> str:
    """Raises `UserError` for what cannot be read, and where there are no chords."""
    root = _document(path)
    if root.tag != "score-partwise":
        raise UserError(f"{path}: its root is <{root.tag:.40}>; give a MusicXML file that is score-partwise")
    for part in root.findall("part"):
        if part.find("measure/harmony") is not None:
            try:
                return "\n".join(_Part().text(part))
            except (ValueError, ZeroDivisionError) as error:
                raise UserError(f"{path}: not MusicXML: {error}") from None
    raise UserError(f"{path}: no chord symbols in it; give a lead sheet")


def _document(path: Path) -> Element:
    try:
        data = _unpacked(path) if path.suffix.lower() == ".mxl" else read_whole(path, MAX_BYTES, WANTED)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); give {WANTED}") from None
    except (zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, RuntimeError, EOFError) as error:
        raise UserError(f"{path}: not a compressed MusicXML file ({error})") from None
    return _parsed(data, path)


def _unpacked(path: Path) -> bytes:
    """The score in a .mxl: the first root file that META-INF/container.xml names."""
    with zipfile.ZipFile(path) as archive:
        if len(archive.infolist()) > MAX_ENTRIES:
            raise UserError(f"{path}: more than {MAX_ENTRIES} files in it; give a compressed MusicXML file")

        def member(name: str) -> bytes:
            return read_whole(path, MAX_BYTES, WANTED, lambda: archive.open(name))

        container = _parsed(member("META-INF/container.xml"), path)
        name = next((e.get("full-path") for e in container.iter() if e.tag.rpartition("}")[2] == "rootfile"), None)
        if name is None:
            raise UserError(f"{path}: its container names no score; give a compressed MusicXML file")
        return member(name)


def _parsed(data: bytes, path: Path) -> Element:
    """The root element, of a document without entities of its own."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if "<!ENTITY" in text:
        raise UserError(f"{path}: declares entities, which are not read; save it again from a notation program")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{path}: not XML ({error}); give a MusicXML file") from None


class _Part:
    """Reads the measures of a part in order."""

    def __init__(self) -> None:
        self._divisions = 1
        self._ticks = 4 * TICKS
        self._sounding = "N.C."
        self._sections: set[str] = set()
        self._is_open = False

    def text(self, part: Element) -> list[str]:
        """A line a measure. A measure that is no whole bar at the beginning is a pick-up, and left out; its chord goes on."""
        lines = []
        for number, measure in enumerate(part.findall("measure")):
            before, after = self._marks(measure)
            words, length = self._measure(measure)
            is_pickup = number == 0 and (measure.get("implicit") == "yes" or 0 < length < self._ticks)
            if not is_pickup:
                lines.append(f"{before} {words} {after}")
        return lines

    def _marks(self, measure: Element) -> tuple[str, str]:
        """What stands before and after a measure: section, repeats, endings."""
        before, after = "", ""
        rehearsal = measure.findtext("direction/direction-type/rehearsal")
        name = "".join(letter for letter in (rehearsal or "").strip() if letter not in "[]|;#\n")
        if name and not self._is_open and name not in self._sections:
            self._sections.add(name)
            before += f"[{name}] "
        for line in measure.findall("barline"):
            repeat, ending = line.find("repeat"), line.find("ending")
            if repeat is not None and repeat.get("direction") == "forward":
                before, self._is_open = before + "|: ", True
            if ending is not None and ending.get("type") == "start":
                before += f"|{ending.get('number', '1').replace(' ', '')}. "
            if repeat is not None and repeat.get("direction") == "backward":
                times = repeat.get("times")
                after += f":|{'x' + times if times else ''}"
                self._is_open = False
        return before, after

    def _measure(self, measure: Element) -> tuple[str, int]:
        """The words of a measure, and how many ticks its notes last."""
        at = last = 0.0
        changes: list[tuple[float, str]] = []
        for element in measure:
            if element.tag == "attributes":
                self._attributes(element)
            elif element.tag == "harmony":
                changes.append((at + self._length(element, "offset"), _name(element)))
            elif element.tag == "note" and element.find("chord") is None and element.find("grace") is None:
                at += self._length(element, "duration")
            elif element.tag == "backup":
                at -= self._length(element, "duration")
            elif element.tag == "forward":
                at += self._length(element, "duration")
            last = max(last, at)
        placed = [
            (min(max(round(tick / FINEST) * FINEST, 0), self._ticks - FINEST), name) for tick, name in sorted(changes)
        ]
        sounding = next((name for tick, name in placed if tick == 0), self._sounding)
        self._sounding = placed[-1][1] if placed else sounding
        return bar_text(sounding, [change for change in placed if change[0]], self._ticks), round(last)

    def _attributes(self, element: Element) -> None:
        self._divisions = int(element.findtext("divisions") or self._divisions)
        beats, kind = element.findtext("time/beats"), element.findtext("time/beat-type")
        if beats and kind:
            self._ticks = sum(int(each) for each in beats.split("+")) * 4 * TICKS // int(kind)

    def _length(self, element: Element, name: str) -> float:
        """A duration in ticks."""
        return float(element.findtext(name) or 0) / self._divisions * TICKS


def _name(harmony: Element) -> str:
    """The symbol of a harmony. Raises ValueError for a kind that no chord symbol has."""
    kind = (harmony.findtext("kind") or "none").strip()
    if kind == "none":
        return "N.C."
    if kind not in KINDS:
        raise ValueError(f"a harmony of the kind {kind!r:.40}; allowed {', '.join(KINDS)}")
    if harmony.find("root") is None:
        raise ValueError("a harmony without a root, such as a degree of the scale; give chord symbols")
    number, degrees = KINDS[kind], []
    for degree in harmony.findall("degree"):
        value, alter = (
            degree.findtext("degree-value") or "",
            ALTERATIONS.get(degree.findtext("degree-alter") or "0", ""),
        )
        what = degree.findtext("degree-type") or "add"
        if value == "7" and what == "add" and alter in SEVENTHS:
            number += SEVENTHS[alter]
            continue
        if alter:
            value = OCTAVE_UP.get(value, value)
        degrees.append(f"no{value}" if what == "subtract" else f"{alter}{value}" if alter else f"add{value}")
    bass = f"/{_note(harmony, 'bass')}" if harmony.find("bass") is not None else ""
    return _note(harmony, "root") + number + (f"({','.join(degrees)})" if degrees else "") + bass


def _note(harmony: Element, what: str) -> str:
    alter = str(int(float(harmony.findtext(f"{what}/{what}-alter") or 0)))
    return (harmony.findtext(f"{what}/{what}-step") or "").strip() + ALTERATIONS.get(alter, "")
