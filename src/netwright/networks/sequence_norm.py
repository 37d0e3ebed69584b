"""Batch normalisation of sequences, whose channels come last."""

from __future__ import annotations

from torch import Tensor, nn


class SequenceBatchNorm(nn.Module):
    """Batch normalisation of sequences (batch, t, c) over batch and time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, t, c) -> (batch, t, c)."""
        normalised: Tensor = self.norm(x.transpose(1, 2))  # (batch, c, t)
        return normalised.transpose(1, 2)


def unwrap_norm(module: nn.Module) -> nn.Module:
    """Return the `BatchNorm1d` inside a `SequenceBatchNorm`; other modules as they are."""
    return module.norm if isinstance(module, SequenceBatchNorm) else module
