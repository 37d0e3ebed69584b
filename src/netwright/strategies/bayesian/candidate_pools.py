"""Where a model is asked for the best candidate: near the best ones, and all over the space."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import Any

import numpy as np

from netwright.interfaces.strategy import RNG
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import NumberChoice
from netwright.space.decision import Decision
from netwright.space.space import Space
from netwright.strategies.bayesian.gaussian_process import squared_distances

_NEIGHBOURS = 250
"""At most so many one-edit neighbours of a candidate; of more, a random part."""

_MUTANTS = 50


def new(candidates: Iterable[Candidate], known: Set[Candidate]) -> list[Candidate]:
    """Those that are not known, each once, in their order."""
    return [one for one in dict.fromkeys(candidates) if one not in known]


def distinct(
    candidates: Iterable[Candidate], forms: Set[str], form_of: Callable[[Candidate], str]
) -> Iterator[Candidate]:
    """The first of each form that is not among `forms`."""
    seen: set[str] = set()
    for one in candidates:
        form = form_of(one)
        if form not in forms and form not in seen:
            seen.add(form)
            yield one


def one_edit(space: Space[Any], base: Candidate, rng: RNG) -> list[Candidate]:
    """The neighbours of a candidate, and steps of many sizes along each of its numbers.

    Where a rule forbids all of them: mutants, in which it changes more than one decision.
    """
    if space.n_neighbours(base) > 20 * _NEIGHBOURS:
        found = space.sample_neighbours(base, _NEIGHBOURS, rng)
    else:
        found = _some(list(space.neighbours(base)), _NEIGHBOURS, rng)
    found += _steps(space, base, 4, rng)
    if found or not any(
        one.path in base.values and len(one.values) != 1 for one in space.decisions
    ):
        return found
    return [space.mutate(base, rng) for _ in range(_MUTANTS)]


def once_more(
    space: Space[Any], edited: Sequence[Candidate], number: int, rng: RNG
) -> list[Candidate]:
    """Mutants of random ones of these: two edits away from what they are one edit from."""
    if not edited:
        return []
    return [space.mutate(edited[i], rng) for i in rng.integers(len(edited), size=number)]


def drawn(space: Space[Any], number: int, rng: RNG) -> list[Candidate]:
    """Random candidates, some of them maybe equal."""
    return [space.sample(rng) for _ in range(number)]


def steps_of_numbers(space: Space[Any], base: Candidate, number: int, rng: RNG) -> list[Candidate]:
    """Near a candidate: all its numbers moved a little, by a normal step of a random size."""
    numbers = [one for one in _numbers(space) if one.path in base.values]
    found = []
    for _ in range(number if numbers else 0):
        size = 10 ** rng.uniform(-2.5, -0.5)
        moved = {one.path: _moved(one, base.values[one.path], size, rng) for one in numbers}
        candidate = Candidate({**base.values, **moved})
        if space.contains(candidate):
            found.append(candidate)
    return found


def _steps(space: Space[Any], base: Candidate, number: int, rng: RNG) -> Iterator[Candidate]:
    """Along one number at a time: neighbours of a real number are only two, and far."""
    for one in _numbers(space):
        if one.path not in base.values:
            continue
        for _ in range(number):
            size = 10 ** rng.uniform(-2.5, -0.5)
            moved = _moved(one, base.values[one.path], size, rng)
            candidate = Candidate({**base.values, one.path: moved})
            if space.contains(candidate):
                yield candidate


def _numbers(space: Space[Any]) -> list[Decision]:
    """Decisions on numbers that switch nothing on: moving them keeps the candidate whole."""
    switches = {path for one in space.decisions for path, _ in one.conditions or ()}
    return [
        one for one in space.decisions
        if isinstance(one.choice, NumberChoice) and not one.fixed and one.path not in switches
    ]  # fmt: skip


def _moved(decision: Decision, value: Value, size: float, rng: RNG) -> Value:
    place = decision.to_unit(value) + size * rng.normal()
    return decision.from_unit(float(np.clip(place, 0.0, 1.0 - 1e-12)))


def _some(found: list[Candidate], number: int, rng: RNG) -> list[Candidate]:
    if len(found) <= number:
        return found
    return [found[i] for i in rng.choice(len(found), number, replace=False)]


def spread(
    candidates: Sequence[Candidate],
    taken: Sequence[Candidate],
    encode: Callable[[Sequence[Candidate]], np.ndarray[Any, np.dtype[np.float64]]],
    rng: RNG,
) -> Candidate:
    """One of the candidates, likelier the farther it is from all taken (k-means++'s seeding).

    Arthur and Vassilvitskii 2007: with a chance that grows with the squared distance.
    """
    if not taken:
        return candidates[int(rng.integers(len(candidates)))]
    rows, others = encode(candidates), encode(taken)  # (n, d), (m, d)
    nearest = squared_distances(rows, others).min(1)  # (n,)
    total = nearest.sum()
    if total <= 0:
        return candidates[int(rng.integers(len(candidates)))]
    return candidates[int(rng.choice(len(candidates), p=nearest / total))]
