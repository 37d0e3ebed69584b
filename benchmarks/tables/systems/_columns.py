"""Preprocessing that model libraries leave to their users: categories and missing numbers."""

from __future__ import annotations

import pandas as pd


def categories(frame: pd.DataFrame, like: pd.DataFrame | None = None) -> pd.DataFrame:
    """Convert texts to categories, those of `like` if given; unseen ones become missing."""
    texts = frame.select_dtypes(exclude="number").columns
    kinds = {name: "category" if like is None else like[name].dtype for name in texts}
    return frame.astype(kinds)


def imputed(frame: pd.DataFrame, medians: pd.Series) -> pd.DataFrame:
    """Fill missing numbers with medians (of the training rows); columns without numbers with 0."""
    numbers = [name for name in medians.index if frame[name].isna().any()]
    return frame.assign(**{name: frame[name].fillna(medians[name]).fillna(0) for name in numbers})
