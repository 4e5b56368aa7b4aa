"""The contract between an exported model and the live program: names, shapes, version.

A model file is one ONNX step graph. A call feeds it one event, and it samples what follows. With d_k = d_v = 64:

    inputs   event      int64   (1, 1, 10)      the fields of `vocabulary.FIELDS`
             held       float32 (1, 1, 256)     held-now flags: player 128, model 128
             release    float32 (1, 128)        per pitch the tick, from the start of this beat, at which it is free again
             bias       float32 (1, 337)        added to the logits of `DRAWN`, in order; -1e9 masks a choice
             sampling   float32 (1, 6, 3)       per field drawn: temperature, top-k (0: off), top-p
             noise      float32 (1, 6)          uniform in [0, 1), one number per field drawn: all the randomness there is
             candidates int64   (1, 1, 11, 5)   what the memory says after the event, and its features
             features   float32 (1, 1, 11, 11)  (`realtime.composing.memory`); both only where `Contract.memory` is true
             context    float32 (1, 1, d + 228) what `latent_graphs` makes of the bars so far and of the plan: d numbers that are
                                                added to the embedding of the event, 228 that are added to the logits of its
                                                heads; 0 is none. Only in a file whose `Contract.context` is not 0
             s{i}_in    float32    the state of layer i: of linear attention its memory (1, heads, 64, 64), of an LSTM
                                   its hidden state (1, 1, d)
             c{i}_in    float32    the last three inputs of its short convolution (1, 3, 3 d); of an LSTM its cell (1, 1, d)
    outputs  choice     int64   (1, 6)          the sampled event, and the chord of the beat; time = 24 is BEAT, and the rest
                                                of the event is then meaningless
             logits     float32 (1, 337)        of the heads, each given the fields drawn before it, before biases
             s{i}_out, c{i}_out                 the states after the event

Each layer has its two states; their shapes are those that the graph declares.

A pitch that still sounds at the drawn time (release > time) is masked inside the graph, because only there the time
is known. A head whose every choice is masked gives BEAT, never NaN.

The metadata key `antiphon` holds the contract as JSON (`Contract`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Protocol

import numpy as np

from realtime.music import vocabulary
from realtime.music.chords import CHORDS

CONTRACT_VERSION = 2
METADATA_KEY = "antiphon"
MASKED = -1e9
DRAWN = {**vocabulary.HEADS, "chord": CHORDS}
"""What a step draws, with the number of choices: the five fields of an event, each given those before it, and a chord."""
LOGITS = sum(DRAWN.values())
EVENT_LOGITS = sum(vocabulary.HEADS.values())
"""Of the event alone: a context is a part of these."""
MOST, MOST_LETTERS = 65_536, 200
"""The largest number that a contract may name, and the longest text."""
MOST_JSON = 16_384
"""The letters of a contract in a file; ours have some hundred."""


class ContractError(ValueError):
    """A model file that this program cannot play; the message names the clause that differs."""


@dataclass(frozen=True, slots=True)
class Contract:
    """What a model file declares. `data_hash` names the training data, `operators` is "fused" or "native", `context` is
    the width of the input of that name, 0 where the graph has none."""

    name: str
    d_model: int
    layers: int
    heads: int
    operators: str
    weights: str
    data_hash: str
    context: int = 0
    memory: bool = False
    """Whether it takes candidates."""
    contract_version: int = CONTRACT_VERSION
    vocabulary_version: int = vocabulary.VERSION
    fields: dict[str, int] = field(default_factory=lambda: dict(vocabulary.FIELDS))

    def to_json(self) -> str:
        """The metadata value."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Contract:
        """Parse and check a metadata value. Raises `ContractError` where this program cannot fulfil the contract."""
        if len(text) > MOST_JSON:
            raise ContractError(f"its contract cannot be read (it has {len(text)} letters, allowed are {MOST_JSON})")
        try:
            contract = Contract(**json.loads(text))
        except (ValueError, TypeError, RecursionError) as error:
            raise ContractError(f"its contract cannot be read ({str(error)[:MOST_LETTERS]})") from None
        counts = contract.fields.values() if isinstance(contract.fields, dict) else [None]
        if not all(isinstance(count, int) for count in counts):
            raise ContractError("its contract cannot be read (its fields are no table of numbers)")
        for clause in Contract.__slots__:
            value = getattr(contract, clause)
            if clause == "fields":
                continue
            if (clause == "memory") != isinstance(value, bool):
                raise ContractError(f"its {clause} is {str(value)[:MOST_LETTERS]}, of another kind than it has to be")
            words = clause in ("name", "operators", "weights", "data_hash")
            if words and not (isinstance(value, str) and len(value) <= MOST_LETTERS and value.isprintable()):
                raise ContractError(f"its {clause} is no line of up to {MOST_LETTERS} letters")
            if not words and not (isinstance(value, int) and 0 <= value <= MOST):
                raise ContractError(f"its {clause} is no number from 0 to {MOST}")
        for clause, ours in (
            ("contract_version", CONTRACT_VERSION),
            ("vocabulary_version", vocabulary.VERSION),
            ("fields", dict(vocabulary.FIELDS)),
        ):
            theirs = getattr(contract, clause)
            if theirs != ours:
                raise ContractError(f"its {clause} is {str(theirs)[:MOST_LETTERS]}, this program plays {ours}")
        return contract


class Stepper(Protocol):
    """A model behind this contract, with a ring of its last states: one call feeds an event and draws what follows."""

    @property
    def position(self) -> int:
        """How many events have been fed; `rewind` goes back to an earlier count."""

    @property
    def oldest(self) -> int:
        """The earliest position that can still be gone back to."""

    def step(
        self,
        event: tuple[int, ...],
        held: np.ndarray,
        release: np.ndarray,
        bias: np.ndarray,
        sampling: np.ndarray,
        noise: np.ndarray,
        context: np.ndarray | None = None,
        candidates: np.ndarray | None = None,
        features: np.ndarray | None = None,
    ) -> np.ndarray:
        """Feed one event (10 fields); returns the choice (6,). Shapes as above, without the leading ones."""

    def rewind(self, position: int) -> None:
        """Go back to `position`."""

    def reset(self) -> None:
        """An empty context, position 0."""
