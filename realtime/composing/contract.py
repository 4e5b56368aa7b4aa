"""The contract between an exported model and the live program: names, shapes, version.

A model file is one ONNX step graph. It eats T events at once (T = 1 live; more to prefill) and samples what follows
the last. With B = 1, d_k = d_v = 64 and T free:

    inputs   event     int64   (1, T, 9)     the fields of `vocabulary.FIELDS`
             held      float32 (1, T, 256)   held-now flags: player 128, model 128
             release   float32 (1, 128)      per pitch the tick, from the start of this beat, at which it is free again
             bias      float32 (1, 228)      added to the logits of the five heads, in order; -1e9 masks a choice
             sampling  float32 (1, 5, 3)     per head: temperature, top-k (0: off), top-p
             noise     float32 (1, 5)        uniform in [0, 1), one number per head: all the randomness there is
             context   float32 (1, T, d + 228)  what `latent_graphs` makes of the bars so far and of the plan: d numbers that are
                                             added to the embeddings of each event, 228 that are part of the logits; 0 is
                                             none. Only in a file whose `Contract.context` is not 0
             s{i}_in   float32    the state of layer i: of linear attention its memory (1, heads, 64, 64), of an LSTM
                                  its hidden state (1, 1, d)
             c{i}_in   float32    the last three inputs of its short convolution (1, 3, 3 d); of an LSTM its cell (1, 1, d)
    outputs  choice    int64   (1, 5)        the sampled event; time = 24 is BEAT, the rest is then meaningless
             log_prob  float32 (1, 5)        of each drawn field, as the model gave it, before biases and temperature
             logits    float32 (1, 228)      of the five heads, each given the fields drawn before it, before biases
             s{i}_out, c{i}_out              the states after the T events

Each layer has its two states; their shapes are those that the graph declares. An LSTM's graph has T fixed at 1, as each of
its steps needs the one before.

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

CONTRACT_VERSION = 1
METADATA_KEY = "antiphon"
MASKED = -1e9
LOGITS = sum(vocabulary.HEADS.values())
MOST, MOST_LETTERS = 65_536, 200
"""The largest number that a contract may name, and the longest text."""


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
    contract_version: int = CONTRACT_VERSION
    vocabulary_version: int = vocabulary.VERSION
    fields: dict[str, int] = field(default_factory=lambda: dict(vocabulary.FIELDS))

    def to_json(self) -> str:
        """The metadata value."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Contract:
        """Parse and check a metadata value. Raises `ContractError` where this program cannot fulfil the contract."""
        try:
            contract = Contract(**json.loads(text))
        except (ValueError, TypeError, RecursionError) as error:
            raise ContractError(f"its contract cannot be read ({str(error)[:MOST_LETTERS]})") from None
        for clause, value in asdict(contract).items():
            if clause == "fields":
                continue
            words = clause in ("name", "operators", "weights", "data_hash")
            if words and not (isinstance(value, str) and len(value) <= MOST_LETTERS and value.isprintable()):
                raise ContractError(f"its {clause} is no line of up to {MOST_LETTERS} letters")
            if not words and not (type(value) is int and 0 <= value <= MOST):
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
    ) -> tuple[np.ndarray, np.ndarray]:
        """Feed one event (9 fields); returns (choice (5,), log_prob (5,)). Shapes as above, without B and T."""

    def rewind(self, position: int) -> None:
        """Go back to `position`."""

    def reset(self) -> None:
        """An empty context, position 0."""
