"""Which values and texts count as missing ("NA").

Missing are None, NaN, NaT and pandas' NA; among texts, the default ``na_values`` of
`pandas.read_csv` plus "?", so that a file read here and the same file read with pandas agree. A
model's card stores the texts that the model was trained with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class NaValues:
    """Texts that count as missing.

    Args:
        texts: Missing in every column, compared exactly.
        numbers: In lower case; missing only in columns of numbers, where a word can mean nothing
            else.
    """

    texts: frozenset[str]
    numbers: frozenset[str]

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> NaValues:
        """Return the texts stated in a model's card, or the defaults for cards without them."""
        stated: Mapping[str, Sequence[str]] = card.get("missing", {})
        if not stated:
            return DEFAULT_NA_VALUES
        return cls(frozenset(stated["texts"]), frozenset(stated["numbers"]))

    def to_card(self) -> dict[str, list[str]]:
        """Return the texts as plain JSON."""
        return {"texts": sorted(self.texts), "numbers": sorted(self.numbers)}


_NA_TEXTS = frozenset({
    "", "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip
DEFAULT_NA_VALUES = NaValues(
    texts=_NA_TEXTS,
    numbers=frozenset(text.casefold() for text in _NA_TEXTS)
    | {"-", "--", ".", "n.a.", "nil", "missing", "unknown"},
)
"""The texts that new models are trained with."""


def is_missing(cell: object) -> bool:
    """Return whether a cell is None, NaN, NaT or NA; texts never are."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):  # pandas, without importing it
        return True
    if isinstance(cell, float | np.floating):
        return bool(np.isnan(cell))
    return isinstance(cell, np.datetime64 | np.timedelta64) and bool(np.isnat(cell))
