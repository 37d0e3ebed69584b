"""A space: the named open choices of a description."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, InvalidCandidate, SpaceError, closest, expected, plural
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import NumberChoice, Options
from netwright.space.counting import CandidateCounter, is_real, n_candidates
from netwright.space.decision import Conditions, Decision
from netwright.space.description import (
    Json,
    compile_filler,
    describe,
    find_decisions,
    text_of,
)
from netwright.space.encoding import Encoder
from netwright.space.pool import Pool, pool_of_frame

if TYPE_CHECKING:
    import pandas as pd

D = TypeVar("D")
Values = Mapping[str, Value]
RNG = np.random.Generator
Row = Sequence[float] | NDArray[np.float64]

_MAX_DRAWS = 1000
"""Draws after which a rule is taken to be unsatisfiable."""
_DRAWS_BEFORE_PROOF = 30
"""Draws in vain after which it is worth checking whether any single edit passes the rule."""
_DRAWS_PER_NEIGHBOUR = 10
"""Some neighbours are drawn twice, and some break the rule."""
_MAX_EDITS = 3
"""Decisions that a mutation changes at once where a rule forbids fewer, before it redraws all."""
_PATHS_IN_REPR = 5


class Space(Generic[D]):
    """A search space: every open choice of a description, found and named.

    A space does not change once it is made.

    Args:
        description: nested frozen dataclasses, tuples, mappings and `functools.partial` with open
            choices (`OneOf`, `SubsetOf`, `Integer`, `Float`, `Repeat`, `Shared`).
        valid: whether a filled description is a candidate; None: all are.
        rule: whether decisions, as a mapping of path to value, are a candidate; far faster than
            `valid`, as nothing has to be filled in. A candidate has to pass both.

    Attributes:
        decisions: the open choices, each after those that it depends on.

    Raises:
        SpaceError: two different choices have one path, or a choice depends on itself.

    Example:
        >>> space = Space({"lr": Float(1e-4, 1e-1, log=True), "kernel": OneOf(3, 5)})
        >>> candidate = space.sample(numpy.random.default_rng(0))
        >>> space.fill(space.default())
        {'lr': 0.0001, 'kernel': 3}
    """

    def __init__(
        self,
        description: D,
        valid: Callable[[D], bool] | None = None,
        *,
        rule: Callable[[Values], bool] | None = None,
        _fixed: Values | None = None,
    ) -> None:
        self.description = description
        self._valid, self._rule = valid, rule
        self._fixed = dict(_fixed or {})
        self.decisions: tuple[Decision, ...] = tuple(
            self._narrowed(decision) for decision in find_decisions(description)
        )
        self._decision_at = {decision.path: decision for decision in self.decisions}
        self._compiled = [
            (decision.path, decision, decision.conditions) for decision in self.decisions
        ]
        self._encoder = Encoder(self.decisions)
        self._filler = compile_filler(description)
        self._without_single_edits: set[Candidate] = set()

    @staticmethod
    def from_candidates(
        candidates: pd.DataFrame | Sequence[Mapping[str, Value]],
    ) -> PoolSpace:
        """Return a space whose only candidates are known ones, as of a table of earlier results.

        Each column is a decision. Numbers are ordered, on a logarithmic scale where they are more
        even on it; texts and booleans are options.

        Args:
            candidates: a row, or a mapping of names to values, for each. All cells are filled; rows
                may be equal.

        Returns:
            A space that draws, mutates and finds neighbours among the candidates only.

        Raises:
            InputError: a cell is empty, or the cells of a column are of several types.
            SpaceError: there is no candidate.

        Example:
            >>> space = Space.from_candidates(frame[["lr", "depth", "activation"]])
        """
        import pandas as pd

        is_frame = isinstance(candidates, pd.DataFrame)
        frame = candidates if is_frame else pd.DataFrame(list(candidates))
        return PoolSpace(*pool_of_frame(cast("pd.DataFrame", frame)))

    def __repr__(self) -> str:
        """``Space(3 decisions: lr, network.0.kernel, network.1.times)``."""
        paths = [decision.path for decision in self.decisions]
        count = plural(len(paths), "decision")
        shown = ", ".join(paths[:_PATHS_IN_REPR]) + (", ..." if len(paths) > _PATHS_IN_REPR else "")
        return f"Space({count}: {shown})" if paths else f"Space({count})"

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of `encode`: a path, or ``path=label``."""
        return self._encoder.columns

    @cached_property
    def size(self) -> float:
        """The exact number of candidates, before `valid` and `rule`; infinite with an open Float."""
        return n_candidates(self.decisions)

    @cached_property
    def fingerprint(self) -> str:
        """32 hex digits: hash of the description, its constants, the rules and fixed decisions."""
        extra: dict[str, Json] = {
            "fixed": {path: _to_json(value) for path, value in self._fixed.items()},
            "valid": None if self._valid is None else describe(self._valid),
            "rule": None if self._rule is None else describe(self._rule),
        }
        text = text_of(self.description, extra)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    # Drawing

    def sample(self, rng: RNG, by: Literal["choice", "leaf"] = "choice") -> Candidate:
        """Draw a candidate at random.

        Args:
            rng: the generator that the draw consumes.
            by: "choice": each decision uniformly, in order; "leaf": uniformly over all candidates.

        Returns:
            A candidate that passes the rule.

        Raises:
            InputError: `rng` is no generator.
            SpaceError: no draw of 1,000 passes the rule; or `by` is "leaf" with an open Float.
        """
        _check_generator(rng)
        if by == "leaf":
            counter = self._counter
            return self._until_valid(lambda: counter.draw(rng))
        return self._until_valid(lambda: self._draw(rng, {}))

    def from_unit(self, u: Row) -> Candidate:
        """Map a point of the unit cube to a candidate, whether or not it passes the rule.

        Args:
            u: (decisions,) coordinates in [0, 1); those of inactive decisions are ignored.

        Returns:
            The candidate.

        Raises:
            SpaceError: `u` has another length.
        """
        if len(u) != len(self.decisions):
            raise SpaceError(expected("u", f"of length {len(self.decisions)}", len(u)))
        values: dict[str, Value] = {}
        for coordinate, (path, decision, conditions) in zip(u, self._compiled, strict=True):
            if conditions is None or _any_met(conditions, values):
                values[path] = decision.from_unit(float(coordinate))
        return Candidate(values)

    def to_unit(self, candidate: Candidate) -> NDArray[np.float64]:
        """Map a candidate to a point of the unit cube that `from_unit` maps back.

        Args:
            candidate: a candidate of the space.

        Returns:
            (decisions,) coordinates in [0, 1]; 0.5 for inactive decisions.
        """
        values = candidate.values
        coordinates = [
            decision.to_unit(values[decision.path]) if decision.path in values else 0.5
            for decision in self.decisions
        ]
        return np.array(coordinates)

    def default(self) -> Candidate:
        """Return the candidate of first options and lowest numbers, even if it breaks the rule."""
        return self.from_unit([0.0] * len(self.decisions))

    def mutate(self, parent: Candidate, rng: RNG, under: str = "") -> Candidate:
        """Change one active decision; what it activates is drawn.

        If the rule lets no such child pass, two decisions change, then three, then all: a rule may
        couple them.

        Args:
            parent: a candidate of the space.
            rng: the generator that the draw consumes.
            under: the path below which decisions may change; empty for all.

        Returns:
            The child, which passes the rule.

        Raises:
            InputError: `rng` is no generator.
            SpaceError: there is nothing to change, or no draw of 1,000 passes the rule.
        """
        _check_generator(rng)
        values = parent.values
        mutable = [
            decision
            for decision in self.decisions
            if decision.path in values
            and _is_under(decision.path, under)
            and len(decision.values) != 1
        ]
        if not mutable:
            where = f" below {under!r}" if under else ""
            raise SpaceError(f"a mutation must have a decision to change{where}, got none.")

        def edited(n_edits: int) -> dict[str, Value]:
            if n_edits == 1:
                chosen = [mutable[int(rng.integers(len(mutable)))]]
            else:
                chosen = [mutable[i] for i in rng.choice(len(mutable), n_edits, replace=False)]
            edits = {
                decision.path: decision.random_other(values[decision.path], rng)
                for decision in chosen
            }
            return self._draw(rng, {**values, **edits})

        if child := self._edited_once(parent, mutable, lambda: edited(1), rng):
            return child
        for n_edits in range(2, min(len(mutable), _MAX_EDITS) + 1):
            if child := self._first_valid(lambda n_edits=n_edits: edited(n_edits)):  # type: ignore[misc]  # bound now
                return child
        unchanged = {path: value for path, value in values.items() if not _is_under(path, under)}
        return self._until_valid(lambda: self._draw(rng, unchanged))

    def crossover(self, parent: Candidate, other: Candidate, rng: RNG) -> Candidate:
        """Take each decision from one of two parents; choices inside an option follow the option.

        Args:
            parent: a candidate of the space.
            other: the second parent.
            rng: the generator that the draw consumes.

        Returns:
            The child, which passes the rule.

        Raises:
            InputError: `rng` is no generator.
            SpaceError: no draw of 1,000 passes the rule.
        """
        _check_generator(rng)

        def child() -> dict[str, Value]:
            values: dict[str, Value] = {}
            source: dict[str, Candidate] = {}
            coins = rng.random(len(self.decisions)) < 0.5
            for coin, (path, decision, conditions) in zip(coins, self._compiled, strict=True):
                if conditions is not None and not _any_met(conditions, values):
                    continue
                in_both = path in parent.values and path in other.values
                chosen = parent if coin else other
                if conditions is not None:
                    chosen = next((source[p] for p, _ in conditions if p in source), chosen)
                if path not in chosen.values:
                    chosen = other if chosen is parent else parent
                if path in chosen.values:
                    values[path] = chosen.values[path]
                    if not in_both or parent.values[path] != other.values[path]:
                        source[path] = chosen
                    elif conditions is not None and (
                        inherited := [source[p] for p, _ in conditions if p in source]
                    ):
                        source[path] = inherited[0]
                else:
                    values[path] = decision.from_unit(rng.random())
            return values

        return self._until_valid(child)

    def neighbours(self, candidate: Candidate) -> Iterator[Candidate]:
        """Yield all candidates one decision away; newly active choices take their default.

        A real number moves by a tenth of its range, up and down.

        Args:
            candidate: a candidate of the space.

        Yields:
            Each neighbour that passes the rule.
        """
        for path, decision, _ in self._compiled:
            if path not in candidate.values:
                continue
            for value in decision.neighbours(candidate.values[path]):
                values = self._complete({**candidate.values, path: value})
                if self._is_valid(values):
                    yield Candidate(values)

    def n_neighbours(self, candidate: Candidate) -> int:
        """Return the number of neighbours, before `valid` and `rule`.

        Args:
            candidate: a candidate of the space.

        Returns:
            The sum over active decisions of their other values; of a real number 2.
        """
        active = (decision for decision in self.decisions if decision.path in candidate.values)
        return sum(len(decision.values) - 1 if decision.values else 2 for decision in active)

    def sample_neighbours(self, candidate: Candidate, n: int, rng: RNG) -> list[Candidate]:
        """Draw different neighbours, without listing all of them.

        The decision is drawn first, so that an integer with many values does not crowd out others.

        Args:
            candidate: a candidate of the space.
            n: the largest number of neighbours.
            rng: the generator that the draws consume.

        Returns:
            At most `n` neighbours that pass the rule: those found in 10 * `n` draws.
        """
        mutable = [
            decision
            for decision in self.decisions
            if decision.path in candidate.values and len(decision.values) != 1
        ]
        neighbours: dict[Candidate, None] = {}
        for _ in range(_DRAWS_PER_NEIGHBOUR * n if mutable else 0):
            decision = mutable[int(rng.integers(len(mutable)))]
            value = decision.random_neighbour(candidate.values[decision.path], rng)
            values = self._complete({**candidate.values, decision.path: value})
            if self._is_valid(values):
                neighbours[Candidate(values)] = None
            if len(neighbours) == n:
                break
        return list(neighbours)

    def __iter__(self) -> Iterator[Candidate]:
        """Yield every candidate. Raises SpaceError if a Float is open."""
        self._refuse_reals("listed")
        for values in self._enumerate(0, {}):
            if self._is_valid(values):
                yield Candidate(values)

    # Reading and writing

    def encode(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """Encode candidates as rows of numbers, for models.

        Args:
            candidates: n candidates of the space.

        Returns:
            (n, columns), with the names of `columns`. Options are one-hot, subsets multi-hot,
            numbers in [0, 1]. Inactive options are 0, inactive numbers -1.
        """
        return self._encoder.encode(candidates)

    def argmax(self, scores: Mapping[str, Row]) -> Candidate:
        """Return the best option of each active decision, even if the candidate breaks the rule.

        Args:
            scores: path -> (options,) scores; decisions without scores take their default.

        Returns:
            The candidate of the best options.
        """
        values: dict[str, Value] = {}
        for path, decision, conditions in self._compiled:
            if conditions is None or _any_met(conditions, values):
                values[path] = decision.argmax(scores.get(path))
        return Candidate(values)

    def one_hot(self, candidate: Candidate) -> dict[str, NDArray[np.float64]]:
        """Return scores whose `argmax` is the candidate.

        Args:
            candidate: a candidate of the space.

        Returns:
            Path of each active choice among options -> (options,), 1 where chosen and 0 elsewhere;
            those of a subset are multi-hot.
        """
        scores = {}
        for decision in self.decisions:
            if decision.path in candidate.values and isinstance(decision.choice, Options):
                row = scores[decision.path] = np.zeros(decision.n_options)
                row[[*decision.option_indices(candidate.values[decision.path])]] = 1.0
        return scores

    def fill(self, candidate: Candidate) -> D:
        """Return the description with every open choice filled in.

        Args:
            candidate: a candidate of the space, even if it breaks the rule.

        Returns:
            The filled description, of the type of `description`.

        Raises:
            InvalidCandidate: a decision is missing, illegal, inactive or unknown.
        """
        self._check_values(candidate.values)
        return cast(D, self._filler(candidate.values, {}))

    def fix(self, values: Values) -> Space[D]:
        """Return a narrower space, with decisions fixed under the same paths.

        Its candidates stay legal here.

        Args:
            values: path -> the one value that is left.

        Returns:
            The narrower space, of the same description.

        Raises:
            InvalidCandidate: a path is unknown, or a value illegal.
        """
        fixed = dict(self._fixed)
        for path, value in values.items():
            decision = self._decision(path)
            if not decision.contains(value):
                raise InvalidCandidate(
                    expected(path, decision.describe_values(), value), path, value
                )
            is_float = isinstance(decision.choice, NumberChoice) and not decision.choice.integer
            fixed[path] = float(value) if is_float else value  # type: ignore[arg-type]  # a number, as it is contained
        return Space(self.description, self._valid, rule=self._rule, _fixed=fixed)

    def check(self, candidate: Candidate) -> None:
        """Raise unless a candidate fits the space and passes its rule.

        Args:
            candidate: the candidate to check.

        Raises:
            InvalidCandidate: a decision is missing, illegal, inactive or unknown, or `valid` or
                `rule` is false.
        """
        self._check_values(candidate.values)
        if not self._is_valid(candidate.values):
            raise InvalidCandidate(
                "the candidate must pass the space's rule, got one that does not."
            )

    def contains(self, candidate: Candidate) -> bool:
        """Return whether a candidate passes `check`.

        Args:
            candidate: the candidate to check.

        Returns:
            False where `check` raises InvalidCandidate.
        """
        try:
            self.check(candidate)
        except InvalidCandidate:
            return False
        return True

    # Inside

    def _check_values(self, values: Values) -> None:
        for path in values:
            self._decision(path)
        for path, decision, conditions in self._compiled:
            active = conditions is None or _any_met(conditions, values)
            if active and path not in values:
                raise InvalidCandidate(
                    f"{path} must be decided, got nothing. Use {decision.describe_values()}.", path
                )
            if not active and path in values:
                parents = " or ".join(parent for parent, _ in conditions or ())
                raise InvalidCandidate(
                    f"{path} must be left out, got {values[path]!r}: {parents} does not activate it.",
                    path,
                    values[path],
                )
            if active and not decision.contains(values[path]):
                raise InvalidCandidate(
                    expected(path, decision.describe_values(), values[path]), path, values[path]
                )

    @cached_property
    def _counter(self) -> CandidateCounter:
        self._refuse_reals("drawn from by leaf")
        return CandidateCounter(self.decisions)

    def _refuse_reals(self, purpose: str) -> None:
        if real := [decision.path for decision in self.decisions if is_real(decision)]:
            raise SpaceError(
                f"a space must have no open Float to be {purpose}, got {real[0]!r}. Fix it."
            )

    def _decision(self, path: str) -> Decision:
        if path not in self._decision_at:
            fix = closest(path, self._decision_at)
            raise InvalidCandidate(
                f"{path!r} must be a decision of the space, got none of that name. {fix}".rstrip(),
                path,
            )
        return self._decision_at[path]

    def _narrowed(self, decision: Decision) -> Decision:
        if decision.path not in self._fixed:
            return decision
        return replace(decision, fixed=(self._fixed[decision.path],))

    def _draw(self, rng: RNG, prescribed: Values) -> dict[str, Value]:
        """Decide each active choice: as prescribed, else at random."""
        values: dict[str, Value] = {}
        coordinates = rng.random(len(self._compiled)).tolist()
        for u, (path, decision, conditions) in zip(coordinates, self._compiled, strict=True):
            if conditions is None or _any_met(conditions, values):
                values[path] = prescribed[path] if path in prescribed else decision.from_unit(u)
        return values

    def _complete(self, prescribed: Values) -> dict[str, Value]:
        """Decide each active choice: as prescribed, else by its default."""
        values: dict[str, Value] = {}
        for path, decision, conditions in self._compiled:
            if conditions is None or _any_met(conditions, values):
                values[path] = prescribed[path] if path in prescribed else decision.from_unit(0.0)
        return values

    def _enumerate(self, depth: int, values: dict[str, Value]) -> Iterator[dict[str, Value]]:
        """Yield all completions of the first `depth` decisions."""
        if depth == len(self._compiled):
            yield values
            return
        path, decision, conditions = self._compiled[depth]
        if conditions is not None and not _any_met(conditions, values):
            yield from self._enumerate(depth + 1, values)
            return
        for value in decision.values:
            yield from self._enumerate(depth + 1, {**values, path: value})

    def _is_valid(self, values: Values) -> bool:
        if self._rule is not None and not self._rule(values):
            return False
        return self._valid is None or self._valid(cast(D, self._filler(values, {})))

    def _edited_once(
        self,
        parent: Candidate,
        mutable: Sequence[Decision],
        child: Callable[[], dict[str, Value]],
        rng: RNG,
    ) -> Candidate | None:
        """Return the first valid child; None, with `rng` as it was, if none is drawn.

        Once it is proved that a parent has none, later calls skip the search, and draw the same.
        """
        if self._rule is None and self._valid is None:
            return Candidate(child())
        before = rng.bit_generator.state
        if parent not in self._without_single_edits:
            if candidate := self._first_valid(child, _DRAWS_BEFORE_PROOF):
                return candidate
            if self._has_no_single_edit(parent.values, mutable):
                self._without_single_edits.add(parent)
            elif candidate := self._first_valid(child, _MAX_DRAWS - _DRAWS_BEFORE_PROOF):
                return candidate
            rng.bit_generator.state = before
        return None

    def _has_no_single_edit(self, values: Values, mutable: Sequence[Decision]) -> bool:
        """Return whether provably no single edit passes the rule.

        Only if the edits are few enough to try all, and none activates a choice that is drawn.
        """
        if not 0 < sum(len(decision.values) or _MAX_DRAWS for decision in mutable) < _MAX_DRAWS:
            return False
        edits = (
            self._complete({**values, decision.path: value})
            for decision in mutable
            for value in decision.values
            if value != values[decision.path]
        )
        return not any(edit.keys() - values.keys() or self._is_valid(edit) for edit in edits)

    def _until_valid(self, draw: Callable[[], dict[str, Value]]) -> Candidate:
        if candidate := self._first_valid(draw):
            return candidate
        raise SpaceError(
            f"the space's rule must hold for some draws, got none among {_MAX_DRAWS}. "
            "Loosen it, or write it into the choices."
        )

    def _first_valid(
        self, draw: Callable[[], dict[str, Value]], n_draws: int = _MAX_DRAWS
    ) -> Candidate | None:
        """Return the first draw that passes the rule; None if none of `n_draws` does."""
        if self._rule is None and self._valid is None:
            return Candidate(draw())
        valid = (values for _ in range(n_draws) if self._is_valid(values := draw()))
        return next(map(Candidate, valid), None)


class PoolSpace(Space[Any]):
    """A space whose only candidates are known ones; see `Space.from_candidates`.

    Draws are uniform over them. A mutation, a crossover, a neighbour and a point of the unit cube
    are the nearest of them: the distance of two candidates is the number of options in which they
    differ, plus the differences of their numbers as shares of the range.

    Args:
        description: as of `Space`.
        candidates: the known ones.

    Raises:
        SpaceError: there are none.
        InvalidCandidate: one does not fit the description.
    """

    def __init__(self, description: object, candidates: Sequence[Candidate]) -> None:
        if not candidates:
            raise SpaceError("a pool must have at least one candidate, got none.")
        super().__init__(description)
        for candidate in candidates:
            self._check_values(candidate.values)
        self._pool = Pool(self.decisions, tuple(dict.fromkeys(candidates)))

    def __repr__(self) -> str:
        """``PoolSpace(120 candidates of 3 decisions: lr, depth, width)``."""
        decisions = super().__repr__().removeprefix("Space(")
        return f"PoolSpace({plural(len(self.candidates), 'candidate')} of {decisions}"

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The known candidates, all different."""
        return self._pool.candidates

    @property
    def size(self) -> float:  # a property here, cached there
        """The number of candidates."""
        return float(len(self.candidates))

    @property
    def fingerprint(self) -> str:
        """32 hex digits: hash of the description and all candidates."""
        text = f"{super().fingerprint} {self._pool.digest}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def sample(self, rng: RNG, by: Literal["choice", "leaf"] = "choice") -> Candidate:
        """Draw one of the candidates, all equally likely; see `Space.sample`."""
        _check_generator(rng)
        return self.candidates[int(rng.integers(len(self.candidates)))]

    def from_unit(self, u: Row) -> Candidate:
        """Return the candidate nearest to a point (decisions,) of the unit cube."""
        return self._pool.nearest(super().from_unit(u).values)

    def argmax(self, scores: Mapping[str, Row]) -> Candidate:
        """Return the candidate nearest to the best option of each decision; see `Space.argmax`."""
        return self._pool.nearest(super().argmax(scores).values)

    def mutate(self, parent: Candidate, rng: RNG, under: str = "") -> Candidate:
        """Draw one of the nearest candidates that differ in a decision; see `Space.mutate`."""
        _check_generator(rng)
        return self._pool.mutate(parent, rng, under)

    def crossover(self, parent: Candidate, other: Candidate, rng: RNG) -> Candidate:
        """Return the candidate nearest to a mix of two parents; see `Space.crossover`."""
        _check_generator(rng)
        return self._pool.crossover(parent, other, rng)

    def neighbours(self, candidate: Candidate) -> Iterator[Candidate]:
        """Yield the nearest candidates that differ in each decision; see `Space.neighbours`."""
        return self._pool.neighbours(candidate)

    def n_neighbours(self, candidate: Candidate) -> int:
        """Return the number of `neighbours`."""
        return sum(1 for _ in self.neighbours(candidate))

    def sample_neighbours(self, candidate: Candidate, n: int, rng: RNG) -> list[Candidate]:
        """Draw at most n different `neighbours`."""
        neighbours = list(self.neighbours(candidate))
        return [neighbours[i] for i in rng.permutation(len(neighbours))[:n]]

    def __iter__(self) -> Iterator[Candidate]:
        """Yield every candidate, in the given order."""
        return iter(self.candidates)

    def fix(self, values: Values) -> PoolSpace:
        """Return the pool of the candidates that have these values; see `Space.fix`."""
        super().fix(values)  # checks the values
        left = [
            candidate
            for candidate in self.candidates
            if {**candidate.values, **values} == candidate.values
        ]
        if not left:
            raise SpaceError(expected("fixed values", "of a known candidate", dict(values)))
        return PoolSpace(self.description, left)

    def _is_valid(self, values: Values) -> bool:
        return Candidate(values) in self._pool


def _check_generator(rng: object) -> None:
    if not isinstance(rng, RNG):
        fix = "Make one: numpy.random.default_rng(0)."
        raise InputError(expected("rng", "a numpy.random.Generator", rng, fix))


def _any_met(conditions: Conditions, values: Values) -> bool:
    for path, activating in conditions:
        if path in values and values[path] in activating:
            return True
    return False


def _is_under(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(prefix + ".")


def _to_json(value: Value) -> Json:
    return [_to_json(entry) for entry in value] if isinstance(value, tuple) else value
