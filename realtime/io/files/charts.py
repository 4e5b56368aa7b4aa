"""Charts from outside: words on the command line, and files (.txt, .mid, .musicxml, .mxl)."""

from __future__ import annotations

from pathlib import Path

from realtime.errors import UserError
from realtime.music.chart import MOST_TEXT, Chart, parse_chart

TEXT = (".txt", ".chart")
KINDS = TEXT


def read_chart(given: str, german: bool = False) -> Chart:
    """The chart that a text is, or the file that it names. Raises `UserError` that says what is wrong, and where."""
    path = Path(given).expanduser()
    if "|" in given or "\n" in given or path.suffix.lower() not in KINDS:
        return _parsed(given, german, "chords")
    return _parsed(_text(path), german, str(path))


def _parsed(text: str, german: bool, source: str) -> Chart:
    try:
        return parse_chart(text, german)
    except ValueError as error:
        raise UserError(f"{source}: {error}") from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(4 * MOST_TEXT + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a chart") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not text in UTF-8; a chart is written as in Am7 | D7 | Gmaj7 | %") from None
