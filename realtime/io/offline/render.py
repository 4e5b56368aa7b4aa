"""`antiphon render`: a MIDI file becomes sound, by Antiphon's own synthesiser or by fluidsynth with a sound font."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from realtime.errors import UserError
from realtime.io.files.midifile import piece_of
from realtime.io.files.smf import load
from realtime.io.files.synth import as_loud, rendered
from realtime.io.files.whole import check_kept, check_writable, write_bytes
from realtime.reading import check_no_pipe

MOST_MINUTES = 60
FLUIDSYNTH_S = 600


def render(source: Path, target: Path, soundfont: Path | None) -> str:
    """Write `source` as a .wav file: 44.1 kHz, stereo, 16 bits. Returns a line for the user. Raises `UserError`, and then nothing
    is written."""
    if target.suffix.lower() != ".wav":
        raise UserError(f"{target}: the result is a sound file; give a name that ends with .wav")
    check_writable(target)
    check_kept([target], {"the file of --soundfont": soundfont} if soundfont is not None else {})
    smf = load(source)
    piece = piece_of(smf)
    if not piece.notes:
        raise UserError(f"{source}: no notes in it; give a file with something to hear")
    slowest = min(bpm for _, bpm in piece.tempos)
    if piece.length_pulse / 480 / slowest > MOST_MINUTES:
        raise UserError(f"{source}: may last longer than {MOST_MINUTES} minutes, the most that is rendered at once")
    data = rendered(smf) if soundfont is None else _by_fluidsynth(source, target, soundfont)
    write_bytes(target, data)
    return "; ".join([f"{target} is written", *(f"{source.name}: {what}" for what in smf.mended)])


def _by_fluidsynth(source: Path, target: Path, soundfont: Path) -> bytes:
    """What fluidsynth makes of it. Raises `UserError` where it is not installed, or cannot."""
    program = shutil.which("fluidsynth")
    if program is None:
        raise UserError(
            "--soundfont needs fluidsynth, which is not installed (on Debian: sudo apt-get install fluidsynth)"
        )
    check_no_pipe(soundfont, "a .sf2 file")
    try:
        with soundfont.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise UserError(f"--soundfont {soundfont}: cannot be read ({error.strerror}); give a .sf2 file") from None
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise UserError(f"--soundfont {soundfont}: is no sound font; give a .sf2 file")
    made = target.with_name(f".{target.name}.fluidsynth.wav")
    command: list[str | Path] = [
        program,
        "-n",
        "-i",
        "-q",
        "-r",
        "44100",
        "-F",
        made,
        soundfont.absolute(),
        source.absolute(),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FLUIDSYNTH_S)
        if done.returncode or not made.exists():
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"fluidsynth could not render {source} ({reason})")
        return as_loud(made.read_bytes())
    except subprocess.TimeoutExpired:
        raise UserError(f"fluidsynth took longer than {FLUIDSYNTH_S // 60} minutes for {source}") from None
    finally:
        made.unlink(missing_ok=True)
