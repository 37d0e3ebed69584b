"""The specification of an ensemble: how trials are combined into one model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

from netwright.errors import BrokenFile, InputError, expected
from netwright.files.json_files import from_plain, parse

MAX_MEMBERS = 1_000
"""Members of an ensemble, and of a network of members, that a record may have."""


@dataclass(frozen=True)
class EnsembleSpec:
    """A weighted mean of what earlier trials predict, or one of them fitted again on all rows.

    Args:
        weights: (trial id, weight) pairs, the weights positive; `of` orders them.
        temperature: class probabilities are raised to its inverse and scaled to sum to 1.
        threshold: of two classes, the probability from which on a row is labelled as the second.
        first_fold: use only the first fold's model of each member, which is as many times faster.
        n_members: how many members of a TabM network to use; 0 for all.
        refit: the one trial's candidate, fitted once more on the rows of all folds.
    """

    weights: tuple[tuple[int, float], ...]
    temperature: float = 1.0
    threshold: float = 0.5
    first_fold: bool = False
    n_members: int = 0
    refit: bool = False

    def __post_init__(self) -> None:
        trials = [trial for trial, _ in self.weights]
        if not trials or len(set(trials)) < len(trials) or len(trials) > MAX_MEMBERS:
            rule = f"of 1 to {MAX_MEMBERS:,} different trials"
            raise InputError(expected("an ensemble", rule, trials))
        numbers = {"weights": [weight for _, weight in self.weights]}
        numbers |= {"temperature": [self.temperature], "threshold": [self.threshold]}
        for name, values in numbers.items():
            if not all(map(math.isfinite, values)):
                raise InputError(expected(f"{name} of an ensemble", "finite numbers", values))
        if not self.temperature > 0:
            raise InputError(expected("temperature of an ensemble", "above 0", self.temperature))
        if not 0 <= self.n_members <= MAX_MEMBERS:
            rule = f"from 0 to {MAX_MEMBERS:,}"
            raise InputError(expected("n_members of an ensemble", rule, self.n_members))
        if self.refit and len(trials) > 1:
            raise InputError(expected("an ensemble fitted again", "of one trial", trials))

    @classmethod
    def of(
        cls,
        weights: Mapping[int, float],
        temperature: float = 1.0,
        threshold: float = 0.5,
        *,
        first_fold: bool = False,
        n_members: int = 0,
        refit: bool = False,
    ) -> EnsembleSpec:
        """Return the ensemble with its largest weights first, so that equal ones compare equal."""
        pairs = sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))
        return cls(tuple(pairs), temperature, threshold, first_fold, n_members, refit)

    @cached_property
    def weight_of(self) -> Mapping[int, float]:
        """Trial id -> its weight."""
        return dict(self.weights)

    @property
    def trials(self) -> tuple[int, ...]:
        """The ids of the members, the largest weight first."""
        return tuple(trial for trial, _ in self.weights)

    def with_weights(self, weights: Mapping[int, float]) -> EnsembleSpec:
        """Return the same ensemble of other members."""
        return EnsembleSpec.of(
            weights,
            self.temperature,
            self.threshold,
            first_fold=self.first_fold,
            n_members=self.n_members,
            refit=self.refit,
        )

    @property
    def changes_nothing(self) -> bool:
        """Whether this is one trial as it is, with all its folds."""
        plain = (self.temperature, self.threshold) == (1.0, 0.5)
        changed = self.first_fold or self.n_members or self.refit
        return len(self.weights) == 1 and plain and not changed

    def json(self) -> str:
        """Return the fields as a JSON object."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, what: str) -> EnsembleSpec:
        """Return the ensemble that `json` wrote; raise BrokenFile, naming `what`, for other texts."""
        try:
            return from_plain(parse(text, what), cls, what)
        except InputError as error:
            raise BrokenFile(f"{what} cannot be used: {error}") from error
