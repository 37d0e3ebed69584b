"""Which values and texts stand for "no value".

Missing are None, NaN, NaT and pandas' NA, and in texts the words that `pandas.read_csv` takes for
missing plus "?", so that a file read here and the same file read with pandas agree. A model's card
keeps the marks that it was trained with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class NaValues:
    """Texts that stand for a missing value.

    `texts` count in every column, written exactly so; `numbers` (in lower case) only among numbers,
    where a word can mean nothing else.
    """

    texts: frozenset[str]
    numbers: frozenset[str]

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> NaValues:
        """The marks of a model file; older files say nothing of them and followed these."""
        stated: Mapping[str, Sequence[str]] = card.get("missing", {})
        if not stated:
            return DEFAULT_NA_VALUES
        return cls(frozenset(stated["texts"]), frozenset(stated["numbers"]))

    def to_card(self) -> dict[str, list[str]]:
        """The marks as plain JSON."""
        return {"texts": sorted(self.texts), "numbers": sorted(self.numbers)}


_TEXTS = frozenset({
    "", "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip
DEFAULT_NA_VALUES = NaValues(
    texts=_TEXTS,
    numbers=frozenset(text.casefold() for text in _TEXTS)
    | {"-", "--", ".", "n.a.", "nil", "missing", "unknown"},
)
"""The marks that new models are trained with."""


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, NaT or NA; texts are not looked at."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):  # pandas, without it
        return True
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return isinstance(value, np.datetime64 | np.timedelta64) and bool(np.isnat(value))
