"""Ensemble of small neural networks: a predictor with uncertainty from disagreement.

The predictor of BANANAS (White et al. 2021, 1910.11858): multilayer perceptrons that differ in
their initial weights only, trained with Adam on the absolute error.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

N_MEMBERS = 5
_N_HIDDEN_LAYERS, _HIDDEN_WIDTH = 10, 20
"""Architecture of a member; with `N_MEMBERS`, as in the paper (1910.11858, appendix)."""
_N_ADAM_STEPS, _LEARNING_RATE = 150, 0.01


def fit_predict(train: Array, y: Array, pool: Array, seed: int) -> Array:
    """Train the ensemble and return each member's predictions.

    Args:
        train: (n, d) Features of the training rows.
        y: (n,) Their targets.
        pool: (m, d) Features to predict for.
        seed: Seed of the initial weights.

    Returns:
        (members, m) Predictions.
    """
    import torch

    torch_rng = torch.Generator().manual_seed(seed)
    widths = [train.shape[1], *[_HIDDEN_WIDTH] * _N_HIDDEN_LAYERS, 1]
    weights, biases = [], []
    for n_in, n_out in pairwise(widths):
        noise = torch.randn(N_MEMBERS, n_in, n_out, generator=torch_rng)
        weight = noise * math.sqrt(2 / max(n_in, 1))  # He et al. 2015
        weights.append(weight.requires_grad_())
        biases.append(torch.zeros(N_MEMBERS, 1, n_out, requires_grad=True))

    def forward(rows: Array) -> torch.Tensor:
        x = torch.from_numpy(rows).float().expand(N_MEMBERS, *rows.shape)  # (members, n, d)
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            x = torch.relu(x) if layer < _N_HIDDEN_LAYERS else x
        return x[:, :, 0]  # (members, n)

    target = torch.from_numpy(y).float().expand(N_MEMBERS, len(y))
    optimizer = torch.optim.Adam([*weights, *biases], lr=_LEARNING_RATE)
    for _ in range(_N_ADAM_STEPS):
        optimizer.zero_grad()
        (forward(train) - target).abs().mean(1).sum().backward()  # one loss per member
        optimizer.step()
    with torch.no_grad():
        return np.asarray(forward(pool).numpy(), np.float64)
