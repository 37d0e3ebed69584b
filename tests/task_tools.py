"""Data that is as untidy as people's."""

from __future__ import annotations

import numpy as np
import pandas as pd


def messy(n: int = 120, seed: int = 0) -> pd.DataFrame:
    """Numbers, texts, dates and booleans with holes; `y` follows from two of them."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=n) * 100,
            "colour": rng.choice(["red", "green", "blue", "größer"], n),
            "sold": pd.Timestamp("2021-03-01") + pd.to_timedelta(rng.integers(0, 900, n), "D"),
            "new": rng.random(n) < 0.5,
            "noise": rng.normal(size=n),
        }
    )
    frame["y"] = np.where((frame["size"] > 0) ^ (frame["colour"] == "red"), "yes", "no")
    frame.loc[frame.index[::9], "size"] = np.nan
    frame.loc[frame.index[1::11], "colour"] = None
    frame.loc[frame.index[2::13], "sold"] = pd.NaT
    return frame


def noisy(rng: np.random.Generator, truth: np.ndarray, noise: float) -> np.ndarray:
    """(rows, 2) float32 probabilities of a model that knows the truth but for noise."""
    p = 1 / (1 + np.exp(-(3 * truth - 1.5 + noise * rng.normal(size=len(truth)))))
    return np.stack([1 - p, p], 1).astype(np.float32)
