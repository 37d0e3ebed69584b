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
        normed: Tensor = self.norm(x.transpose(1, 2))  # (batch, c, t)
        return normed.transpose(1, 2)


def plain_norm(module: nn.Module) -> nn.Module:
    """The normalisation itself, where another module only turns its input."""
    return module.norm if isinstance(module, SequenceBatchNorm) else module
