"""The windows that variants are trained and scored on. All variants get the same; each is made once, and kept for the next."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

import numpy as np
from torch.utils.data import Dataset

from models.ablation.readings import Arrays, Reading
from models.corpus.pack import Pack, Piece
from models.corpus.perturb import LIVE, NONE, Augment
from models.corpus.stream import fit
from models.corpus.windows import Windows, window
from models.evaluation.recall import BAR, PHRASE_BARS, TUNE_BARS, Stretch, fillers, joined, stretch
from models.evaluation.scoring import whole
from models.training.losses import VALIDATION_ROLES
from realtime.music.keys import key_of
from realtime.music.notes import between
from realtime.music.vocabulary import Role

SCORING_SEED = 1
REPEATS = {"tune_4": (True, 4), "tune_16": (True, 16), "voices_4": (False, 4)}
"""Repeats that are scored: of the tune alone or of all voices, and after how many bars of other music."""
COUNTED = ("turn", "note", "due")
"""The arrays that say which steps count."""


MOST_KEPT = 8192
"""Windows that are kept; at 512 events with candidates one takes 0.6 MB. Those beyond are made anew each time."""


class Kept(Dataset[Arrays]):
    """Windows, each made when it is first wanted."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self.made: dict[int, Arrays] = {}

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, i: int) -> Arrays:
        if (found := self.made.get(i)) is None:
            found = self.windows[i]
            if len(self.made) < MOST_KEPT:
                self.made[i] = found
        return found


class Read(Dataset[Arrays]):
    """Windows as a variant reads them."""

    def __init__(self, windows: Kept | list[Arrays], read: Reading) -> None:
        self.windows, self.read = windows, read

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, i: int) -> Arrays:
        return self.read(self.windows[i])


class Material:
    """See the module's docstring. `length`: events a window; `count`: windows to score on, of each kind; `memory`: whether they
    have candidates."""

    def __init__(self, pack: Pack, length: int, count: int, memory: bool) -> None:
        self.pack, self.length, self.count, self.memory = pack, length, count, memory
        self.training = lru_cache(maxsize=1)(self._training)
        """Windows to train on, for a seed, perturbations, a number and a role; the latest are kept."""
        self.scored = self._scored()
        """What is scored: windows by condition and kind, "clean/compose"."""

    def _training(self, seed: int, augment: Augment, count: int, role: Role | None) -> Kept:
        return Kept(Windows(self.pack, "train", self.length, seed, augment, count, role, memory=self.memory))

    def _scored(self) -> dict[str, Kept | list[Arrays]]:
        """Roles, as the music stands and with a live player, without whom nothing of theirs is perturbed; pieces from their
        start; and repeats, the first time and again."""
        found: dict[str, Kept | list[Arrays]] = {}
        for condition, augment in (("clean", NONE), ("live", LIVE)):
            for role in VALIDATION_ROLES:
                if condition == "clean" or role != Role.COMPOSE:
                    name = f"{condition}/{role.name.lower()}"
                    windows = Windows(
                        self.pack, "valid", self.length, SCORING_SEED, augment, self.count, role, memory=self.memory
                    )
                    found[name] = Kept(windows)
        found["opening/compose"] = list(self._openings())
        streams = {name: list(islice(self._repeats(*how), self.count)) for name, how in REPEATS.items()}
        count = min(len(made) for made in streams.values())
        for name, made in streams.items() if count else ():
            end = PHRASE_BARS * BAR
            again = end + REPEATS[name][1] * BAR
            found[f"first/{name}"] = [counting(arrays, arrays["tick"] < end) for arrays in made[:count]]
            found[f"again/{name}"] = [counting(arrays, arrays["tick"] >= again) for arrays in made[:count]]
        return found

    def _openings(self) -> Iterator[Arrays]:
        """Pieces from their start: nothing is remembered from before."""
        pieces = Windows(self.pack, "valid", self.length, SCORING_SEED, NONE, self.count)
        for i in range(self.count):
            rng = np.random.default_rng((SCORING_SEED, i))
            yield window(pieces.piece(rng), self.length, rng, NONE, Role.COMPOSE, bar=0, memory=self.memory)

    def _repeats(self, only_tune: bool, apart: int) -> Iterator[Arrays]:
        """Four bars of a piece, other pieces' bars in its key, and the four bars again, as far as they fit into a window."""
        rng = np.random.default_rng(SCORING_SEED)
        order = rng.permutation(np.array(self.pack.rows("valid"), np.int64)).tolist()
        found = (stretch(self.pack[i], TUNE_BARS, only_tune) for i in order)
        parts = list(islice((part for part in found if part is not None), 2 * self.count))
        for i, part in enumerate(parts if len(parts) > 1 else ()):
            phrase = Stretch(
                between(part.notes, 0, PHRASE_BARS * BAR), part.beats[: 4 * PHRASE_BARS], part.chords[: 4 * PHRASE_BARS]
            )
            music = joined([phrase, *fillers(parts, i, apart, key_of(phrase.notes).tonic), phrase])
            chords = None if self.pack.chords is None else music.chords
            arrays = whole(Piece("", "", "valid", music.notes, music.beats, chords), memory=self.memory)
            if len(arrays["kind"]) <= self.length:
                yield fit(arrays, self.length, Role.COMPOSE)


def counting(arrays: Arrays, steps: np.ndarray) -> Arrays:
    """The same window, of which these steps alone count."""
    return {**arrays, **{name: arrays[name] * steps.astype(arrays[name].dtype) for name in COUNTED}}
