"""Text: presence or counts of the most informative terms, and statistics of length.

Texts are normalized by `data.columns.normalize_text`: lower-case words and punctuation marks with
one space between. The exported file therefore only splits at spaces and still gets the same words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Table
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.scalers import AffineScaler, fit_standard
from netwright.pipelines.preprocessing.steps import (
    FittedStep,
    TargetMatrix,
    concatenate_columns,
    concatenate_columns_onnx,
)

_DIGITS = "0123456789"
_MAX_THRESHOLDS = 8
"""Thresholds on the number of characters."""
_MAX_LENGTH = 1000
"""Longer texts count as this long: a pattern of RE2 repeats no more often."""
_MIN_ROWS = 3
"""Rows that contain a term before it is considered."""
_END = "\ue000"
"""Appended to each text in the exported file, so that an empty text has a word too; never a term."""
_MAX_CANDIDATES = 20_000
"""The most frequent terms, from which the most informative are chosen."""


@dataclass(frozen=True)
class Text:
    """Encode texts as terms (bag of words) and three statistics of length.

    The terms are those of at least 3 rows whose presence correlates most with the target (sum of
    squared correlations); without a target those with the largest variance. The statistics are
    standardized: number of words, number of digits, and how many of up to 8 thresholds the number
    of characters reaches.

    Args:
        terms: number of terms for each column at most.
        grams: 1 for words; 2 also for pairs of neighbouring words.
        counts: encode how often a term occurs, not only whether it does.

    Example:
        >>> pipeline = TablePipeline(LinearModel(), {"text": Text(terms=500, grams=2)})
    """

    terms: int = 100
    grams: int = 1
    counts: bool = False

    @staticmethod
    def state_types() -> tuple[type, ...]:
        """As `Step.state_types`."""
        return (FittedText, AffineScaler)

    def fit(self, table: Table, target_matrix: TargetMatrix | None = None) -> FittedText:
        """As `Step.fit`."""
        columns = tuple(c.name for c in table.columns if c.kind == "text")
        terms = tuple(self._best_terms(table.arrays[name], target_matrix) for name in columns)
        thresholds = tuple(_length_thresholds(table.arrays[name]) for name in columns)
        statistics = [
            _length_statistics(table.arrays[name], column_thresholds)
            for name, column_thresholds in zip(columns, thresholds, strict=True)
        ]
        scaling = tuple(fit_standard(matrix.astype(np.float64)) for matrix in statistics)
        return FittedText(columns, terms, thresholds, scaling, self.counts)

    def _best_terms(
        self, texts: NDArray[np.object_], target_matrix: TargetMatrix | None
    ) -> tuple[str, ...]:
        """Return words, then pairs, each in alphabetical order."""
        rows: dict[str, list[int]] = {}
        for row, text in enumerate(texts.tolist()):
            for term in set(_terms_of(text, self.grams)):
                rows.setdefault(term, []).append(row)
        candidates = [term for term in rows if len(rows[term]) >= _MIN_ROWS and _END not in term]
        candidates.sort(key=lambda term: (-len(rows[term]), term))
        scores = {
            term: _term_score(rows[term], len(texts), target_matrix)
            for term in candidates[:_MAX_CANDIDATES]
        }
        informative = [term for term in scores if scores[term] > 0]
        best = sorted(informative, key=lambda term: (-scores[term], term))[: self.terms]
        return tuple(sorted(best, key=lambda term: (" " in term, term)))


@dataclass(frozen=True)
class FittedText(FittedStep):
    """Fitted `Text`; the output has for each column its terms, words, digits and length.

    Args:
        columns: the names of the text columns.
        terms: the terms of each column, words before pairs.
        lengths: the thresholds on the number of characters of each column.
        scaling: the scaler of the three statistics of each column.
        counts: whether terms are counted.
    """

    columns: tuple[str, ...]
    terms: tuple[tuple[str, ...], ...]
    lengths: tuple[tuple[int, ...], ...]
    scaling: tuple[AffineScaler, ...]
    counts: bool

    @property
    def supervised(self) -> bool:
        """Whether there are texts: terms are chosen by the target."""
        return bool(self.columns)

    @property
    def n_columns(self) -> int:
        """Number of columns of the output."""
        return sum(len(terms) + 3 for terms in self.terms)

    def transform(self, table: Table) -> NDArray[np.float32]:
        """As `FittedStep.transform`."""
        matrices = []
        for name, terms, thresholds, scaler in self._per_column():
            texts = table.arrays[name]
            matrices.append(self._term_matrix(texts, terms))
            matrices.append(scaler.transform(_length_statistics(texts, thresholds)))
        return concatenate_columns(matrices, len(table))

    def _term_matrix(
        self, texts: NDArray[np.object_], terms: tuple[str, ...]
    ) -> NDArray[np.float32]:
        """Return (rows, terms)."""
        column_of = {term: column for column, term in enumerate(terms)}
        grams = 2 if any(" " in term for term in terms) else 1
        matrix = np.zeros((len(texts), len(terms)), np.float32)
        for row, text in enumerate(texts.tolist()):
            for term, count in Counter(_terms_of(text, grams)).items():
                if term in column_of:
                    matrix[row, column_of[term]] = count if self.counts else 1
        return matrix

    def to_onnx(self, builder: OnnxGraphBuilder) -> str:
        """As `FittedStep.to_onnx`."""
        matrices = []
        for name, terms, thresholds, scaler in self._per_column():
            with_end = builder.add("StringConcat", [name, builder.constant([f" {_END}"])])
            words, n_words = builder.string_split(with_end)
            if terms:
                matrices.append(self._term_matrix_onnx(builder, words, terms))
            surplus = builder.constant(np.int64(1))  # _END is a word, and n cuts give n + 1 pieces
            digits = [
                builder.add("Sub", [builder.string_split(with_end, digit)[1], surplus])
                for digit in _DIGITS
            ]
            reached = [
                builder.cast(
                    builder.add("RegexFullMatch", [name], pattern=_at_least(threshold)), np.int64
                )
                for threshold in thresholds
            ]
            zero = builder.add("Sub", [n_words, n_words])
            statistics = [builder.add("Sub", [n_words, surplus]), _sum_onnx(builder, digits)]
            statistics.append(_sum_onnx(builder, [zero, *reached]))
            matrix = builder.cast(builder.stack_columns(statistics), np.float32)
            matrices.append(scaler.to_onnx(builder, matrix))
        return concatenate_columns_onnx(builder, matrices)

    def _term_matrix_onnx(
        self, builder: OnnxGraphBuilder, words: str, terms: tuple[str, ...]
    ) -> str:
        """Add the nodes of `_term_matrix` for the tensor of words (rows, most words of a text)."""
        single = [term for term in terms if " " not in term]
        pairs = [word for term in terms if " " in term for word in term.split(" ")]
        counts = builder.add(
            "TfIdfVectorizer",
            [words],
            mode="TF",
            max_skip_count=0,
            min_gram_length=1,
            max_gram_length=2 if pairs else 1,
            pool_strings=single + pairs,
            ngram_counts=[0, len(single)] if pairs else [0],
            ngram_indexes=list(range(len(terms))),
        )
        if self.counts:
            return counts
        return builder.add("Min", [counts, builder.constant(np.float32(1))])

    def _per_column(self) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...], AffineScaler]]:
        return zip(self.columns, self.terms, self.lengths, self.scaling, strict=True)


def _terms_of(text: str, max_grams: int) -> list[str]:
    """Return the words of a text, and its pairs of neighbours if `max_grams` is 2."""
    words = text.split()
    pairs = pairwise(words) if max_grams == 2 else ()
    return words + [" ".join(pair) for pair in pairs]


def _term_score(rows: list[int], n_rows: int, target_matrix: TargetMatrix | None) -> float:
    """Return the sum of squared correlations of a term's presence with the targets.

    Without targets, the variance of its presence.
    """
    variance = len(rows) / n_rows * (1 - len(rows) / n_rows)
    if target_matrix is None or not variance:
        return variance
    return float(np.square(target_matrix[rows].sum(0) / n_rows).sum() / variance)


def _length_thresholds(texts: NDArray[np.object_]) -> tuple[int, ...]:
    """Return up to `_MAX_THRESHOLDS` lengths that split the texts into groups of equal size."""
    lengths = [min(len(text), _MAX_LENGTH) for text in texts.tolist()]
    if not lengths:
        return ()
    probabilities = np.linspace(0, 1, _MAX_THRESHOLDS + 2)[1:-1]
    quantiles = np.unique(np.quantile(lengths, probabilities, method="higher"))
    return tuple(int(length) for length in quantiles if length > min(lengths))


def _length_statistics(
    texts: NDArray[np.object_], thresholds: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return (rows, 3): words, digits, thresholds reached."""
    statistics = [
        (
            len(text.split()),
            sum(map(text.count, _DIGITS)),
            sum(len(text) >= threshold for threshold in thresholds),
        )
        for text in texts.tolist()
    ]
    return np.array(statistics, np.float32).reshape(len(texts), 3)


def _at_least(length: int) -> str:
    """Return a pattern that matches texts of this many characters or more."""
    return f"(?s).{{{length},}}"


def _sum_onnx(builder: OnnxGraphBuilder, names: list[str]) -> str:
    """Add the sum of integer tensors; the operator Sum takes floats only."""
    total = names[0]
    for name in names[1:]:
        total = builder.add("Add", [total, name])
    return total
