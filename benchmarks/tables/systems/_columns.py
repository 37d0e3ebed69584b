"""What libraries of models, unlike systems, leave to their user: categories and missing numbers."""

from __future__ import annotations

import pandas as pd


def categories(frame: pd.DataFrame, like: pd.DataFrame | None = None) -> pd.DataFrame:
    """Texts as categories, those of `like` where given: what was not learnt from is missing."""
    texts = frame.select_dtypes(exclude="number").columns
    kinds = {name: "category" if like is None else like[name].dtype for name in texts}
    return frame.astype(kinds)


def imputed(frame: pd.DataFrame, medians: pd.Series) -> pd.DataFrame:
    """Missing numbers at the medians (of the rows to learn from); a column without any, at 0."""
    numbers = [name for name in medians.index if frame[name].isna().any()]
    return frame.assign(**{name: frame[name].fillna(medians[name]).fillna(0) for name in numbers})
