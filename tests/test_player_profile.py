"""The biases towards the player's playing and towards the end of a turn, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.composing.closing import LAST_BEAT_NATS, LASTING_NATS, TONIC_NATS, TRIAD_NATS
from realtime.composing.constraints import SLICES, Constraints
from realtime.composing.contract import MASKED
from realtime.composing.density import MOST_KNOWN_NATS, MOST_SURPLUS_NATS
from realtime.composing.masks import (
    FULL,
    OFF_GRID_NATS,
    OVER_THE_BAR_NATS,
    REPEATED_NATS,
    ROOM_NATS,
    THIN_NATS,
    Masks,
    Moment,
)
from realtime.composing.player_profile import (
    DISSONANT_NATS,
    DOUBLED_NATS,
    FREQUENT_NATS,
    OUT_OF_KEY_NATS,
    PlayerProfile,
)
from realtime.composing.voicing import BASS_TOP, LEANING_NATS
from realtime.core.dialogue import ModelNote, PlayerNote, Turn
from realtime.music.chords import UNKNOWN, chord
from realtime.music.keys import SCALES, Key
from realtime.music.metre import TICKS, Beat
from realtime.music.vocabulary import ACCOMPANIMENT, BASS, BEAT, DRUMS, DURATION_TICKS, MELODY, MODEL_PART, Role

TUNE = [60, 64, 62, 65, 64, 67, 65, 62, 59, 60, 62, 64, 65, 67, 69, 67, 65, 64, 62, 60]
NO_KEYS = np.zeros(128, bool)
TURN = Turn(1920, 2112)


def profile_of(
    pitches: list[int], ticks: int = TICKS, velocity: int = 80, profile: PlayerProfile | None = None
) -> PlayerProfile:
    """A player's tune in even notes."""
    profile = profile or PlayerProfile()
    for i, pitch in enumerate(pitches):
        profile.add(PlayerNote(i * ticks, pitch, velocity, 0), 1)
    return profile


def down(*pitches: int) -> np.ndarray:
    keys = np.zeros(128, bool)
    keys[list(pitches)] = True
    return keys


# --- the player's likeness ---


def test_the_key_is_the_players_and_a_new_one_is_believed_after_some_bars() -> None:
    profile = profile_of(TUNE)
    bias = profile.pitch_bias(Role.TRADE, NO_KEYS, in_key=True)
    assert profile.key == Key(0, "major")
    assert bias[61] == OUT_OF_KEY_NATS
    assert bias[60] == bias[71] == 0
    profile_of([pitch + 6 for pitch in TUNE], profile=profile)
    assert profile.key == Key(6, "major")
    assert profile.pitch_bias(Role.TRADE, NO_KEYS, in_key=True)[67] == OUT_OF_KEY_NATS
    assert profile.pitch_bias(Role.TRADE, NO_KEYS, in_key=False)[67] == 0, "the user has set a key"


def test_what_the_player_has_just_played_is_in_the_key() -> None:
    assert profile_of([*TUNE, 66]).pitch_bias(Role.TRADE, NO_KEYS, in_key=True)[66] == 0


def test_an_answer_stays_near_the_register() -> None:
    bias = profile_of(TUNE).pitch_bias(Role.CONTINUE, NO_KEYS, in_key=False)
    assert (bias[54:75] == 0).all()
    assert (np.diff(bias[74:88]) < 0).all()
    assert bias[127] == bias.min() > MASKED / 2


@pytest.mark.parametrize(("ticks", "rate"), [(24, 1.0), (12, 2.0), (48, 0.5), (960, 0.5)])
def test_how_densely_the_player_plays_leaves_rests_out(ticks: int, rate: float) -> None:
    assert profile_of(TUNE, ticks).rate == pytest.approx(rate)


def test_a_jump_back_in_time_does_no_harm() -> None:
    assert profile_of(TUNE, profile=profile_of(TUNE)).rate == pytest.approx(39 / 38, rel=0.03)


def test_a_harmony_is_consonant_and_does_not_double() -> None:
    bias = profile_of(TUNE).pitch_bias(Role.HARMONISE, down(72), in_key=False)
    assert bias[69] == bias[64] == 0
    assert bias[66] == DISSONANT_NATS >= bias[71]
    assert bias[60] == DOUBLED_NATS


def test_an_accompaniment_is_made_of_what_the_tune_dwells_on_and_is_consonant() -> None:
    profile = profile_of([60, 64, 67, 64, 60])
    free, held = (profile.pitch_bias(Role.ACCOMPANY, keys, in_key=False) for keys in (NO_KEYS, down(72)))
    assert free[48] == free[60] == pytest.approx(FREQUENT_NATS)
    assert free[52] > free[55] > free[50] == 0
    assert free[84] == free[72] == held[72] == held[60] > held[84], "below the tune"
    assert (held - free)[[48, 52, 55]] == pytest.approx(0)
    assert held[47] == held[54] == DISSONANT_NATS


def test_a_harmony_lies_below_the_key() -> None:
    bias = profile_of(TUNE).pitch_bias(Role.HARMONISE, down(72), in_key=False)
    assert np.argmax(bias) in range(58, 70)
    assert bias[75] < bias[69]
    assert bias[65] < bias[64], "an open fifth"


# --- the moment ---


def masks(player: list[int] = TUNE, **rules: object) -> Masks:
    made = Masks(Constraints(**rules))  # type: ignore[arg-type]
    profile_of(player, profile=made.profile)
    return made


def bias_of(
    made: Masks,
    role: Role,
    tick: int,
    notes: int = 4,
    keys: np.ndarray = NO_KEYS,
    line: tuple[int, int] = (60, 1),
    sounding: int = 0,
    **more: object,
) -> dict[str, np.ndarray]:
    beat = Beat(tick - tick % 24, TICKS, tick // 24 % 4, 4 * TICKS)
    release = np.full(128, -(1 << 40))
    release[:sounding] = tick + TICKS
    now = Moment(tick, beat, tick, notes, line, release, keys, **more)  # type: ignore[arg-type]
    bias = made.bias(role, TURN, now)
    return {name: bias[where] for name, where in SLICES.items()}


@pytest.mark.parametrize("role", [Role.TRADE, Role.CONTINUE])
def test_an_answer_has_a_bias_towards_an_end_in_its_last_beats(role: Role) -> None:
    made = masks()
    early, late, last = (bias_of(made, role, TURN.start + beat * TICKS) for beat in (2, 6, 7))
    assert (last["time"][1:19] - early["time"][1:19] == LAST_BEAT_NATS).all()
    assert (last["time"][19:BEAT] < MASKED / 2).all(), "nothing begins in the last sixteenth"
    assert (late["time"][1:BEAT] == early["time"][1:BEAT]).all()
    for bias, left in ((late, 48), (last, 24)):
        longer = bias["duration"][:-1] - early["duration"][:-1]
        assert (longer[left <= DURATION_TICKS] == LASTING_NATS).all()
        assert (longer[left // 2 > DURATION_TICKS] == 0).all()
        stable = bias["pitch"] - early["pitch"]
        assert stable[64] == pytest.approx(TRIAD_NATS)
        assert stable[60] == pytest.approx(TRIAD_NATS + TONIC_NATS)
        assert stable[62] == 0


@pytest.mark.parametrize(("scale", "third"), [("major", 66), ("dorian", 65), ("blues", 65)])
def test_where_the_user_has_set_a_key_it_ends_in_that_key(scale: str, third: int) -> None:
    made = masks(tonic=2, scale=SCALES[scale])
    first, last = (bias_of(made, Role.TRADE, TURN.start + beat * TICKS)["pitch"] for beat in (2, 7))
    assert last[62] - first[62] == pytest.approx(TRIAD_NATS + TONIC_NATS)
    assert last[third] - first[third] == pytest.approx(TRIAD_NATS)


def test_an_accompaniment_keeps_to_sixteenths_and_triplets() -> None:
    """Also where the rhythm of its own last notes lies between them."""
    time = bias_of(masks(), Role.ACCOMPANY, TURN.start)["time"][:BEAT]
    on = [0, 6, 8, 12, 16]
    assert (time[on] == 0).all()
    assert (np.delete(time[:18], on) <= OFF_GRID_NATS).all()
    assert (bias_of(masks(), Role.TRADE, TURN.start)["time"][:18] == 0).all()


def test_an_accompaniment_need_not_come_in_with_a_note_that_it_could_not_hear() -> None:
    made, beat = masks(), Beat(TURN.start, TICKS, 0, 4 * TICKS)
    for floor, forced in ((TURN.start, True), (TURN.start + 2, False)):
        now = Moment(TURN.start, beat, floor, 0, (-1, 0), np.full(128, -(1 << 40)), NO_KEYS)
        time = made.bias(Role.ACCOMPANY, TURN, now)[SLICES["time"]]
        assert (time[BEAT] < MASKED / 2) == forced


def test_an_answer_that_has_waited_comes_in_when_it_waits_no_longer() -> None:
    made, later = masks(), Beat(TURN.start + 2 * TICKS, TICKS, 2, 4 * TICKS)
    for notes, waits, forced in ((0, True, False), (0, False, True), (1, False, False)):
        now = Moment(later.start, later, later.start, notes, (-1, 0), np.full(128, -(1 << 40)), NO_KEYS, waits)
        time = made.bias(Role.CONTINUE, TURN, now)[SLICES["time"]]
        assert (time[BEAT] < MASKED / 2) == forced
        assert (time[0] < MASKED / 2) == waits


def test_no_end_is_in_sight_of_who_plays_along_or_of_a_band() -> None:
    for made, role in ((masks(), Role.ACCOMPANY), (masks(parts=(0, 2)), Role.CONTINUE)):
        first, last = (bias_of(made, role, TURN.start + beat * TICKS) for beat in (3, 7))
        assert (first["time"][:19] == last["time"][:19]).all()
        assert (first["duration"] == last["duration"]).all()


def test_what_is_taken_up_waits_for_its_place() -> None:
    """No onset before that, and afterwards no haste: notes that were not played while it waited are not missing."""
    made = masks()
    waits, begins = (bias_of(made, Role.CONTINUE, TURN.start, 0, waits=waits)["time"] for waits in (True, False))
    assert (waits[:BEAT] < MASKED / 2).all() and waits[BEAT] > MASKED / 2
    assert (begins[:19] > MASKED / 2).all() and begins[BEAT] < MASKED / 2
    at_once, later = masks(), masks()
    place = TURN.start + 3 * TICKS
    for tick in range(TURN.start, place + 1, TICKS):
        at_once.overuse.proposed(ModelNote(tick, 60, 80, 12, 0))
    later.overuse.proposed(ModelNote(place, 60, 80, 12, 0))
    rest = [bias_of(each, Role.CONTINUE, place, notes)["time"][BEAT] for each, notes in ((at_once, 4), (later, 1))]
    assert rest[0] == pytest.approx(rest[1], abs=0.3)


def test_an_accompaniment_follows_the_chord_that_was_drawn() -> None:
    """Its root in the bass first, then its other tones, and nothing else; as a preference, which is no mask. Until the chord of
    the beat has been drawn there is none, and an answer has none either."""
    made = masks()
    drawn = (chord(2, "min"), TURN.start)
    root = bias_of(made, Role.ACCOMPANY, TURN.start, 0, harmony=drawn)
    none = bias_of(made, Role.ACCOMPANY, TURN.start, 0, harmony=drawn, due=True)
    more = root["pitch"] - none["pitch"]
    assert set(np.flatnonzero((more == more.max())[30:BASS_TOP]) % 12) == {(2 - 30) % 12}
    assert more.max() - more[40] >= -LEANING_NATS and more.min() > MASKED / 2
    made.overuse.proposed(ModelNote(TURN.start, 38, 80, 24, 2))
    then = bias_of(made, Role.ACCOMPANY, TURN.start, 1, harmony=drawn)["pitch"] - none["pitch"]
    assert min(then[[53, 57, 65, 69]]) > max(then[[52, 54, 55, 56, 58, 59, 60, 61, 63, 64, 66, 67, 68]])
    answers = [bias_of(made, Role.TRADE, TURN.start, 0, harmony=each)["pitch"] for each in (drawn, (UNKNOWN, 0))]
    assert np.array_equal(*answers)


def test_an_answer_that_has_played_more_than_the_player_would_have_rests_rather() -> None:
    made = masks()
    rests = [bias_of(made, Role.TRADE, TURN.start + 4 * TICKS, notes)["time"][BEAT] for notes in range(1, 12)]
    assert rests == sorted(rests)
    assert rests[0] < 0 < rests[-1] <= MOST_SURPLUS_NATS
    along = [bias_of(made, Role.ACCOMPANY, TURN.start + 4 * TICKS + 5, notes)["time"][BEAT] for notes in range(1, 40)]
    assert along == sorted(along)
    assert along[10] == 0.0 < along[-1] <= MOST_SURPLUS_NATS, "more notes than the tune's are an accompaniment's due"


def test_it_leaves_room_where_the_player_plays_into_its_turn() -> None:
    made = masks()
    alone, together = (bias_of(made, Role.TRADE, TURN.start + 60, keys=keys)["time"] for keys in (NO_KEYS, down(60)))
    assert together[BEAT] - alone[BEAT] == pytest.approx(ROOM_NATS)


def test_a_pitch_that_has_come_often_in_a_row_gives_way() -> None:
    made = masks()
    pitch = [bias_of(made, Role.CONTINUE, TURN.start + 30, line=(64, times))["pitch"] for times in range(1, 6)]
    assert pitch[0][64] == 0
    assert [p[64] for p in pitch[1:]] == pytest.approx([REPEATED_NATS * times for times in range(1, 5)])
    assert all((np.delete(p, 64) == np.delete(pitch[0], 64)).all() for p in pitch)
    assert bias_of(made, Role.ACCOMPANY, TURN.start + 30, line=(64, 9))["pitch"][64] >= 0, "chords may"


@pytest.mark.parametrize("part", [ACCOMPANIMENT, BASS])
def test_whatever_part_goes_along_fits_the_keys_that_are_held(part: int) -> None:
    pitch = bias_of(masks(parts=(part,)), Role.ACCOMPANY, TURN.start + 30, keys=down(72))["pitch"]
    assert pitch[48] - pitch[47] >= -DISSONANT_NATS
    drums = bias_of(masks(parts=(part, DRUMS)), Role.ACCOMPANY, TURN.start + 30, keys=down(72))["pitch"]
    assert drums[48] == drums[47] == 0


@pytest.mark.parametrize(("part", "full"), [(ACCOMPANIMENT, FULL), (BASS, 1)])
def test_an_accompaniment_rather_has_a_full_chord_before_the_beat_passes(part: int, full: int) -> None:
    made = masks(parts=(part,))
    passing = [
        float(bias_of(made, Role.ACCOMPANY, TURN.start, 1, sounding=sounding)["time"][BEAT]) for sounding in range(5)
    ]
    assert passing == pytest.approx([THIN_NATS * max(full - sounding, 0) for sounding in range(5)])
    assert bias_of(made, Role.ACCOMPANY, TURN.start + 5, 1)["time"][BEAT] == 0, "between beats"


def test_an_accompanists_notes_rather_end_with_the_bar() -> None:
    duration = bias_of(masks(), Role.ACCOMPANY, 1920 + 48)["duration"][:-1]
    assert (duration[DURATION_TICKS <= 48] == 0).all()
    assert (duration[DURATION_TICKS > 48] == OVER_THE_BAR_NATS).all()


@pytest.mark.parametrize("role", [Role.CONTINUE, Role.ACCOMPANY])
def test_a_gap_has_as_many_notes_as_the_music_around_it(role: Role) -> None:
    made, tick = masks(rate=0.5, parts=(MELODY,)), TURN.start + 4 * TICKS
    few, enough, many = (float(bias_of(made, role, tick, notes)["time"][BEAT]) for notes in (0, 2, 40))
    assert few < enough < many == pytest.approx(MOST_KNOWN_NATS)
    assert few < enough < 0.0, "what the player plays is another matter"


def test_left_to_itself_it_follows_nobody() -> None:
    made, silent = masks(follow=False), Masks(Constraints(follow=False))
    for tick in (TURN.start + 30, TURN.end - 20):
        one, other = (bias_of(m, Role.TRADE, tick) for m in (made, silent))
        assert all((one[name] == other[name]).all() for name in one)


def test_drums_that_are_held_are_no_tune() -> None:
    assert (PlayerProfile().pitch_bias(Role.ACCOMPANY, down(36), in_key=True)[[36, 48]] == 0).all()


# --- drums ---


def hearing(*parts: int, **rules: object) -> Masks:
    """Masks that have heard a note a beat, each of a part."""
    made = Masks(Constraints(**rules))  # type: ignore[arg-type]
    for i, part in enumerate(parts):
        made.hear(PlayerNote(i * TICKS, 36 if part == DRUMS else 60, 80, part), 1)
    return made


def allowed_parts(made: Masks, role: Role) -> list[int]:
    part = bias_of(made, role, TURN.start + 30)["part"]
    return [i - MODEL_PART for i in np.flatnonzero(part > MASKED / 2)]


@pytest.mark.parametrize("role", [Role.TRADE, Role.CONTINUE])
def test_drums_are_answered_with_drums_unless_a_part_was_asked_for(role: Role) -> None:
    assert allowed_parts(hearing(*[DRUMS] * 8), role) == [DRUMS]
    assert allowed_parts(hearing(*[MELODY] * 8), role) == [MELODY]
    assert allowed_parts(hearing(*[DRUMS] * 8, *[MELODY] * 12), role) == [MELODY]
    assert allowed_parts(hearing(*[DRUMS] * 8, parts=(BASS,)), role) == [BASS]


def test_drums_are_answered_as_densely_and_as_loud() -> None:
    made = Masks(Constraints())
    for i in range(32):
        made.hear(PlayerNote(i * TICKS // 4, 36, 40, DRUMS), 1)
    few, many = (bias_of(made, Role.TRADE, TURN.start + 4 * TICKS, notes) for notes in (2, 60))
    assert few["time"][BEAT] < many["time"][BEAT]
    assert abs(int(np.argmax(few["velocity"])) - 10) <= 1
    assert allowed_parts(made, Role.ACCOMPANY) == [ACCOMPANIMENT]
