"""An ensemble of small networks that foretells targets: five opinions, and how they differ.

The predictor of BANANAS (White et al. 2021, 1910.11858): multilayer perceptrons that differ in
nothing but their initial weights, trained with Adam on the absolute error.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MEMBERS = 5
_LAYERS, _WIDTH = 10, 20
_STEPS, _LR = 150, 0.01


def predictions(train: Array, y: Array, pool: Array, seed: int) -> Array:
    """(members, m) of the pool (m, d), by members trained on (n, d) and targets y (n,)."""
    import torch

    torch_rng = torch.Generator().manual_seed(seed)
    width = [train.shape[1], *[_WIDTH] * _LAYERS, 1]
    weights, biases = [], []
    for into, out in pairwise(width):
        drawn = torch.randn(MEMBERS, into, out, generator=torch_rng) * math.sqrt(2 / max(into, 1))
        weights.append(drawn.requires_grad_())
        biases.append(torch.zeros(MEMBERS, 1, out, requires_grad=True))

    def run(rows: Array) -> torch.Tensor:
        x = torch.from_numpy(rows).float().expand(MEMBERS, *rows.shape)  # (members, n, d)
        for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
            x = torch.baddbmm(b, x, w)
            x = torch.relu(x) if layer < _LAYERS else x
        return x[:, :, 0]  # (members, n)

    target = torch.from_numpy(y).float().expand(MEMBERS, len(y))
    optimiser = torch.optim.Adam([*weights, *biases], lr=_LR)
    for _ in range(_STEPS):
        optimiser.zero_grad()
        (run(train) - target).abs().mean(1).sum().backward()  # each member its own mean
        optimiser.step()
    with torch.no_grad():
        return np.asarray(run(pool).numpy(), np.float64)
