"""Candidates at which an acquisition function is evaluated: near the best ones and random ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.interfaces.strategy import RNG
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import NumberChoice
from netwright.space.decision import Decision
from netwright.space.space import Space
from netwright.strategies.bayesian.gaussian_process import squared_distances

_MAX_NEIGHBOURS = 250
"""One-edit neighbours per candidate; larger neighbourhoods are sampled."""
_LISTING_FACTOR = 20
"""Neighbourhoods larger than this times `_MAX_NEIGHBOURS` are sampled without being listed."""
_N_MUTANTS = 50
"""Mutants per candidate where a rule forbids all of its neighbours."""
_STEPS_PER_NUMBER = 4
_LOG10_STEP_RANGE = (-2.5, -0.5)
"""Range of the logarithm of step sizes along a number, in shares of its range: 0.3 % to 32 %."""


def exclude_seen(candidates: Iterable[Candidate], seen: Set[Candidate]) -> list[Candidate]:
    """Return the unseen candidates without repetition, in order."""
    return [candidate for candidate in dict.fromkeys(candidates) if candidate not in seen]


def distinct(
    candidates: Iterable[Candidate], tried_forms: Set[str], form_of: Callable[[Candidate], str]
) -> Iterator[Candidate]:
    """Yield the first candidate of each form that is not among `tried_forms`."""
    yielded_forms: set[str] = set()
    for candidate in candidates:
        form = form_of(candidate)
        if form not in tried_forms and form not in yielded_forms:
            yielded_forms.add(form)
            yield candidate


def one_edit_away(space: Space[Any], base: Candidate, rng: RNG) -> list[Candidate]:
    """Return neighbours of a candidate, and steps of several sizes along each of its numbers.

    If a rule forbids all of them, return mutants, which may differ in more than one decision.
    """
    if space.n_neighbours(base) > _LISTING_FACTOR * _MAX_NEIGHBOURS:
        neighbours = space.sample_neighbours(base, _MAX_NEIGHBOURS, rng)
    else:
        neighbours = _subsample(list(space.neighbours(base)), _MAX_NEIGHBOURS, rng)
    neighbours += _perturb_each_number(space, base, _STEPS_PER_NUMBER, rng)
    can_change = any(
        decision.path in base.values and len(decision.values) != 1 for decision in space.decisions
    )
    if neighbours or not can_change:
        return neighbours
    return [space.mutate(base, rng) for _ in range(_N_MUTANTS)]


def two_edits_away(
    space: Space[Any], neighbours: Sequence[Candidate], n_candidates: int, rng: RNG
) -> list[Candidate]:
    """Return mutants of random neighbours of a candidate."""
    if not neighbours:
        return []
    indices = rng.integers(len(neighbours), size=n_candidates)
    return [space.mutate(neighbours[i], rng) for i in indices]


def sample_candidates(space: Space[Any], n_candidates: int, rng: RNG) -> list[Candidate]:
    """Return random candidates; some may be equal."""
    return [space.sample(rng) for _ in range(n_candidates)]


def perturb_numbers(
    space: Space[Any], base: Candidate, n_candidates: int, rng: RNG
) -> list[Candidate]:
    """Return candidates with all numbers moved by normal steps of a random size."""
    numbers = [decision for decision in _free_numbers(space) if decision.path in base.values]
    perturbed = []
    for _ in range(n_candidates if numbers else 0):
        size = _random_step_size(rng)
        moved = {
            decision.path: _perturb(decision, base.values[decision.path], size, rng)
            for decision in numbers
        }
        candidate = Candidate({**base.values, **moved})
        if space.contains(candidate):
            perturbed.append(candidate)
    return perturbed


def _perturb_each_number(
    space: Space[Any], base: Candidate, n_steps: int, rng: RNG
) -> Iterator[Candidate]:
    """Move one number at a time: a real number's two neighbours in the space are far away."""
    for decision in _free_numbers(space):
        if decision.path not in base.values:
            continue
        for _ in range(n_steps):
            size = _random_step_size(rng)
            moved = _perturb(decision, base.values[decision.path], size, rng)
            candidate = Candidate({**base.values, decision.path: moved})
            if space.contains(candidate):
                yield candidate


def _random_step_size(rng: RNG) -> float:
    return float(10 ** rng.uniform(*_LOG10_STEP_RANGE))


def _free_numbers(space: Space[Any]) -> list[Decision]:
    """Return decisions on numbers that activate no other decision, so that they can move freely."""
    conditional_on = {path for decision in space.decisions for path, _ in decision.conditions or ()}
    return [
        decision
        for decision in space.decisions
        if isinstance(decision.choice, NumberChoice)
        and not decision.fixed
        and decision.path not in conditional_on
    ]


def _perturb(decision: Decision, value: Value, size: float, rng: RNG) -> Value:
    unit = decision.to_unit(value) + size * rng.normal()
    return decision.from_unit(float(np.clip(unit, 0.0, 1.0 - 1e-12)))


def _subsample(candidates: list[Candidate], n_candidates: int, rng: RNG) -> list[Candidate]:
    if len(candidates) <= n_candidates:
        return candidates
    return [candidates[i] for i in rng.choice(len(candidates), n_candidates, replace=False)]


def sample_distant(
    candidates: Sequence[Candidate],
    taken: Sequence[Candidate],
    encode: Callable[[Sequence[Candidate]], NDArray[np.float64]],
    rng: RNG,
) -> Candidate:
    """Draw a candidate with probability proportional to its squared distance to all `taken` ones.

    The seeding of k-means++ (Arthur and Vassilvitskii 2007).
    """
    if not taken:
        return candidates[int(rng.integers(len(candidates)))]
    rows, taken_rows = encode(candidates), encode(taken)  # (n, d), (m, d)
    nearest = squared_distances(rows, taken_rows).min(1)  # (n,)
    total = nearest.sum()
    if total <= 0:
        return candidates[int(rng.integers(len(candidates)))]
    return candidates[int(rng.choice(len(candidates), p=nearest / total))]
