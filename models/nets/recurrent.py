"""The LSTM that the trunk is measured against: a block with the same shape, `block(x, state, chunk) -> (x, state)`."""

from __future__ import annotations

from torch import Tensor, nn


class LSTMBlock(nn.Module):
    """Pre-norm residual block around one LSTM layer: the strongest form of it that we found at this size.

    State: hidden and cell (1, B, d_model) each. The gates are its feed-forward layer, so it has no other.
    """

    def __init__(self, d_model: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(d_model, eps=1e-6)
        self.lstm = nn.LSTM(d_model, d_model, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def start_small(self, std: float) -> None:
        """Nothing to do: what an LSTM adds is bounded by its gates."""

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None, chunk: int = 64
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x: (B, T, d_model). `chunk` has no meaning here: an LSTM goes step by step."""
        y, state = self.lstm(self.norm(x), state)
        return x + self.dropout(y), state
