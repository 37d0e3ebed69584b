"""Text: which of the most telling terms a text has, and how long it is.

Texts come as `data.columns.as_text` writes them, words and marks in lower case with one blank
between, so that the file needs to split at blanks only and finds the same words.
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
from netwright.pipelines.preprocessing.scalers import AffineScaler, standard
from netwright.pipelines.preprocessing.steps import FittedStep, TargetMatrix, joined, side_by_side

_DIGITS = "0123456789"
_LENGTHS = 8
_LONGEST = 1000
"""Longer texts are not told apart: the file's patterns repeat no more often (RE2)."""
_LEAST = 3
_END = "\ue000"
"""Stands behind each text in the file, so that an empty one has a word, too; it is never a term."""
_POOL = 20_000
"""The most frequent terms, of which the most telling are chosen."""


@dataclass(frozen=True)
class Text:
    """Texts: up to `terms` words, with `grams` 2 also pairs of neighbours, and three sizes.

    Of the terms that 3 rows have, those whose presence goes with the target most (the sum of
    squared correlations); without a target, those that tell most rows apart. `counts`: how often a
    term stands in the text, else whether. The sizes: words, digits, and how many of up to 8
    lengths in characters are reached, all scaled.
    """

    terms: int = 100
    grams: int = 1
    counts: bool = False

    @staticmethod
    def state_types() -> tuple[type, ...]:
        """The classes that what it learns is made of."""
        return (FittedText, AffineScaler)

    def fit(self, table: Table, aims: TargetMatrix | None = None) -> FittedText:
        """`aims`: the target of the rows."""
        columns = tuple(c.name for c in table.columns if c.kind == "text")
        terms = tuple(self._terms(table.arrays[name], aims) for name in columns)
        lengths = tuple(_thresholds(table.arrays[name]) for name in columns)
        sizes = [_sizes(table.arrays[n], at) for n, at in zip(columns, lengths, strict=True)]
        scaling = tuple(standard(size.astype(np.float64)) for size in sizes)
        return FittedText(columns, terms, lengths, scaling, self.counts)

    def _terms(self, texts: NDArray[np.object_], aims: TargetMatrix | None) -> tuple[str, ...]:
        """Words first, then pairs, each in the order of the alphabet."""
        rows: dict[str, list[int]] = {}
        for i, text in enumerate(texts.tolist()):
            for term in set(_grams(text, self.grams)):
                rows.setdefault(term, []).append(i)
        frequent = [t for t, at in rows.items() if len(at) >= _LEAST and _END not in t]
        frequent.sort(key=lambda term: (-len(rows[term]), term))
        told = {term: _told(rows[term], len(texts), aims) for term in frequent[:_POOL]}
        best = sorted((t for t in told if told[t] > 0), key=lambda t: (-told[t], t))[: self.terms]
        return tuple(sorted(best, key=lambda term: (" " in term, term)))


@dataclass(frozen=True)
class FittedText(FittedStep):
    """For each of `columns` its terms, the lengths that are looked for, and the scale of its sizes.

    The matrix: for each column its terms, words, digits and length.
    """

    columns: tuple[str, ...]
    terms: tuple[tuple[str, ...], ...]
    lengths: tuple[tuple[int, ...], ...]
    scaling: tuple[AffineScaler, ...]
    counts: bool

    @property
    def supervised(self) -> bool:
        """Terms are chosen by the target."""
        return bool(self.columns)

    @property
    def n_columns(self) -> int:
        return sum(len(terms) + 3 for terms in self.terms)

    def transform(self, table: Table) -> NDArray[np.float32]:
        """(rows, outputs), float32."""
        parts = []
        for name, terms, lengths, scaling in self._each():
            parts.append(self._found(table.arrays[name], terms))
            parts.append(scaling.apply(_sizes(table.arrays[name], lengths)))
        return side_by_side(parts, len(table))

    def _found(self, texts: NDArray[np.object_], terms: tuple[str, ...]) -> NDArray[np.float32]:
        place = {term: i for i, term in enumerate(terms)}
        grams = 2 if any(" " in term for term in terms) else 1
        found = np.zeros((len(texts), len(terms)), np.float32)
        for i, text in enumerate(texts.tolist()):
            for term, times in Counter(_grams(text, grams)).items():
                if term in place:
                    found[i, place[term]] = times if self.counts else 1
        return found

    def to_onnx(self, nodes: OnnxGraphBuilder) -> str:
        parts = []
        for name, terms, lengths, scaling in self._each():
            ended = nodes.add("StringConcat", [name, nodes.constant([f" {_END}"])])
            words, many = nodes.string_split(ended)
            parts += [self._emit_terms(nodes, words, terms)] if terms else []
            one = nodes.constant(np.int64(1))
            digits = [
                nodes.add("Sub", [nodes.string_split(ended, digit)[1], one]) for digit in _DIGITS
            ]
            reached = [
                nodes.cast(nodes.add("RegexFullMatch", [name], pattern=_longer(n)), np.int64)
                for n in lengths
            ]
            none = nodes.add("Sub", [many, many])
            sizes = [nodes.add("Sub", [many, one]), _sum(nodes, digits)]
            sizes.append(_sum(nodes, [none, *reached]))
            matrix = nodes.cast(nodes.stack_columns(sizes), np.float32)
            parts.append(scaling.to_onnx(nodes, matrix))
        return joined(nodes, parts)

    def _emit_terms(self, nodes: OnnxGraphBuilder, words: str, terms: tuple[str, ...]) -> str:
        """(rows, terms) from the matrix of words (rows, most words of a text)."""
        single = [term for term in terms if " " not in term]
        pairs = [word for term in terms if " " in term for word in term.split(" ")]
        found = nodes.add(
            "TfIdfVectorizer", [words], mode="TF", max_skip_count=0, min_gram_length=1,
            max_gram_length=2 if pairs else 1, pool_strings=single + pairs,
            ngram_counts=[0, len(single)] if pairs else [0],
            ngram_indexes=list(range(len(terms))),
        )  # fmt: skip
        return found if self.counts else nodes.add("Min", [found, nodes.constant(np.float32(1))])

    def _each(self) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...], AffineScaler]]:
        return zip(self.columns, self.terms, self.lengths, self.scaling, strict=True)


def _grams(text: str, longest: int) -> list[str]:
    """The words of a text, and its pairs of neighbours where `longest` is 2."""
    words = text.split()
    pairs = pairwise(words) if longest == 2 else ()
    return words + [" ".join(pair) for pair in pairs]


def _told(rows: list[int], many: int, aims: TargetMatrix | None) -> float:
    """What the presence of a term says: squared correlations, or its variance."""
    variance = len(rows) / many * (1 - len(rows) / many)
    if aims is None or not variance:
        return variance
    return float(np.square(aims[rows].sum(0) / many).sum() / variance)


def _thresholds(texts: NDArray[np.object_]) -> tuple[int, ...]:
    """Lengths that part the texts into groups of one size; at most `_LENGTHS`."""
    lengths = [min(len(text), _LONGEST) for text in texts.tolist()]
    shares = np.linspace(0, 1, _LENGTHS + 2)[1:-1]
    found = np.unique(np.quantile(lengths, shares, method="higher")) if lengths else ()
    return tuple(int(n) for n in found if n > min(lengths))


def _sizes(texts: NDArray[np.object_], lengths: tuple[int, ...]) -> NDArray[np.float32]:
    """(rows, 3): words, digits, lengths reached."""
    found = [
        (len(text.split()), sum(map(text.count, _DIGITS)), sum(len(text) >= n for n in lengths))
        for text in texts.tolist()
    ]
    return np.array(found, np.float32).reshape(len(texts), 3)


def _longer(length: int) -> str:
    return f"(?s).{{{length},}}"


def _sum(nodes: OnnxGraphBuilder, names: list[str]) -> str:
    """Of whole numbers; the operator Sum takes none."""
    total = names[0]
    for name in names[1:]:
        total = nodes.add("Add", [total, name])
    return total
