"""A space: the named open choices of a description."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, InvalidCandidate, SpaceError, closest, expected
from netwright.space import description as tree
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import NumberChoice, Options
from netwright.space.counting import Counter, is_real, size
from netwright.space.decision import Conditions, Decision
from netwright.space.encoding import Encoder

D = TypeVar("D")
Values = Mapping[str, Value]
RNG = np.random.Generator
Row = Sequence[float] | NDArray[np.float64]

_TRIES = 1000
_FEW = 30
"""After so many draws in vain it is worth asking whether any can pass."""
_DRAWS = 10
"""So many draws for each neighbour that is wanted: some are drawn twice, some break the rule."""
_MOST_EDITS = 3
"""So many decisions a mutation changes at once, where a rule forbids fewer."""


class Space(Generic[D]):
    """Every open choice of `description`, found and named.

    `valid` judges a filled description, `rule` the decisions by path, which is far faster; a
    candidate has to pass both. Nothing here changes after it is made.
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
        found = tree.find_decisions(description)
        self.decisions: tuple[Decision, ...] = tuple(self._narrowed(one) for one in found)
        self._of = {one.path: one for one in self.decisions}
        self._compiled = [(one.path, one, one.conditions) for one in self.decisions]
        self._encoder = Encoder(self.decisions)
        self._filler = tree.compile_filler(description)
        self._alone: set[Candidate] = set()

    def __repr__(self) -> str:
        """``Space(3 decisions: lr, network.0.kernel, network.1.times)``."""
        paths = [one.path for one in self.decisions]
        number = f"{len(paths)} decision{'s' * (len(paths) != 1)}"
        some = ", ".join(paths[:5]) + ", ..." * (len(paths) > 5)
        return f"Space({number}: {some})" if paths else f"Space({number})"

    @property
    def columns(self) -> tuple[str, ...]:
        """What each column of `encode` stands for."""
        return self._encoder.columns

    @cached_property
    def size(self) -> float:
        """The exact number of candidates, before `valid` and `rule`; infinite with an open Float."""
        return size(self.decisions)

    @cached_property
    def fingerprint(self) -> str:
        """32 hex digits of the description, constants included, and of what is fixed."""
        extra: dict[str, Any] = {
            "fixed": {path: _json(value) for path, value in self._fixed.items()}
        }
        for name, judge in (("valid", self._valid), ("rule", self._rule)):
            extra[name] = None if judge is None else tree.describe(judge)
        text = tree.text_of(self.description, extra)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    # Drawing

    def sample(self, rng: RNG, by: Literal["choice", "leaf"] = "choice") -> Candidate:
        """Uniform choice by choice, or (`by` "leaf") over complete candidates."""
        _check_generator(rng)
        if by == "leaf":
            counter = self._counter
            return self._until_valid(lambda: counter.draw(rng))
        return self._until_valid(lambda: self._decide(rng, {}))

    def from_unit(self, u: Row) -> Candidate:
        """The candidate at a point of the unit cube, one coordinate a decision; no rule is asked."""
        if len(u) != len(self.decisions):
            raise SpaceError(expected("u", f"of length {len(self.decisions)}", len(u)))
        values: dict[str, Value] = {}
        for place, (path, decision, when) in zip(u, self._compiled, strict=True):
            if when is None or _switched_on(when, values):
                values[path] = decision.from_unit(float(place))
        return Candidate(values)

    def to_unit(self, candidate: Candidate) -> NDArray[np.float64]:
        """(decisions,) a point that `from_unit` maps back; 0.5 where nothing is decided."""
        values = candidate.values
        units = [
            one.to_unit(values[one.path]) if one.path in values else 0.5 for one in self.decisions
        ]
        return np.array(units)

    def default(self) -> Candidate:
        """The first option and the lowest number everywhere; no rule is asked."""
        return self.from_unit([0.0] * len(self.decisions))

    def mutate(self, parent: Candidate, rng: RNG, under: str = "") -> Candidate:
        """One active decision (of those below `under`) changes; what it switches on is drawn.

        Where the space's rule lets no such child pass, two decisions change, then three, then all:
        a rule may couple them. SpaceError when there is nothing to change.
        """
        _check_generator(rng)
        values = parent.values
        able = [
            one for one in self.decisions
            if one.path in values and _below(one.path, under) and len(one.values) != 1
        ]  # fmt: skip
        if not able:
            where = f" below {under!r}" if under else ""
            raise SpaceError(f"a mutation must have a decision to change{where}, got none.")

        def edited(number: int) -> dict[str, Value]:
            if number == 1:
                chosen = [able[int(rng.integers(len(able)))]]
            else:
                chosen = [able[i] for i in rng.choice(len(able), number, replace=False)]
            others = {one.path: one.random_other(values[one.path], rng) for one in chosen}
            return self._decide(rng, {**values, **others})

        if found := self._edited_once(parent, able, lambda: edited(1), rng):
            return found
        for number in range(2, min(len(able), _MOST_EDITS) + 1):
            if found := self._first_valid(lambda number=number: edited(number)):  # type: ignore[misc]  # bound now
                return found
        kept = {path: value for path, value in values.items() if not _below(path, under)}
        return self._until_valid(lambda: self._decide(rng, kept))

    def crossover(self, parent: Candidate, other: Candidate, rng: RNG) -> Candidate:
        """Each decision from a or b; an option's inner choices follow the option."""
        _check_generator(rng)

        def child() -> dict[str, Value]:
            values: dict[str, Value] = {}
            source: dict[str, Candidate] = {}
            coins = rng.random(len(self.decisions)) < 0.5
            for coin, (path, decision, when) in zip(coins, self._compiled, strict=True):
                if when is not None and not _switched_on(when, values):
                    continue
                both = path in parent.values and path in other.values
                chosen = parent if coin else other
                if when is not None:
                    chosen = next((source[p] for p, _ in when if p in source), chosen)
                if path not in chosen.values:
                    chosen = other if chosen is parent else parent
                if path in chosen.values:
                    values[path] = chosen.values[path]
                    if not both or parent.values[path] != other.values[path]:
                        source[path] = chosen
                    elif when is not None and (
                        inherited := [source[p] for p, _ in when if p in source]
                    ):
                        source[path] = inherited[0]
                else:
                    values[path] = decision.from_unit(rng.random())
            return values

        return self._until_valid(child)

    def neighbours(self, candidate: Candidate) -> Iterator[Candidate]:
        """All candidates one decision away; newly active choices take their default.

        A real number moves by a tenth of its range, up and down.
        """
        for path, decision, _ in self._compiled:
            if path not in candidate.values:
                continue
            for value in decision.neighbours(candidate.values[path]):
                values = self._complete({**candidate.values, path: value})
                if self._is_valid(values):
                    yield Candidate(values)

    def n_neighbours(self, candidate: Candidate) -> int:
        """How many neighbours there are, before `valid` and `rule`."""
        active = (one for one in self.decisions if one.path in candidate.values)
        return sum(len(one.values) - 1 if one.values else 2 for one in active)

    def sample_neighbours(self, candidate: Candidate, n: int, rng: RNG) -> list[Candidate]:
        """At most `number` different ones of many neighbours, without listing them all.

        The decision is drawn first, so that a wide number does not leave the others out.
        """
        active = [
            one for one in self.decisions if one.path in candidate.values and len(one.values) != 1
        ]
        found: dict[Candidate, None] = {}
        for _ in range(_DRAWS * n if active else 0):
            chosen = active[int(rng.integers(len(active)))]
            value = chosen.random_neighbour(candidate.values[chosen.path], rng)
            values = self._complete({**candidate.values, chosen.path: value})
            if self._is_valid(values):
                found[Candidate(values)] = None
            if len(found) == n:
                break
        return list(found)

    def __iter__(self) -> Iterator[Candidate]:
        """Every candidate. Refuses a space with an open Float."""
        self._refuse_reals("listed")
        for values in self._listed(0, {}):
            if self._is_valid(values):
                yield Candidate(values)

    # Reading and writing

    def encode(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """(n, columns): options one-hot, numbers in [0, 1]; what is not active 0, numbers -1."""
        return self._encoder.encode(candidates)

    def argmax(self, scores: Mapping[str, Row]) -> Candidate:
        """The best option of each active decision, by its scores; no rule is asked.

        Without scores of a decision: its default.
        """
        values: dict[str, Value] = {}
        for path, decision, when in self._compiled:
            if when is None or _switched_on(when, values):
                values[path] = decision.argmax(scores.get(path))
        return Candidate(values)

    def one_hot(self, candidate: Candidate) -> dict[str, NDArray[np.float64]]:
        """The inverse of `argmax`: one-hot (for SubsetOf multi-hot) scores of each decided option."""
        found = {}
        for one in self.decisions:
            if one.path in candidate.values and isinstance(one.choice, Options):
                found[one.path] = np.zeros(one.n_options)
                found[one.path][[*one.option_indices(candidate.values[one.path])]] = 1.0
        return found

    def fill(self, candidate: Candidate) -> D:
        """The description with every open choice filled in. Raises InvalidCandidate."""
        self._fits(candidate.values)
        filled: D = self._filler(candidate.values, {})
        return filled

    def fix(self, values: Values) -> Space[D]:
        """Fewer open choices under the same paths: its candidates stay legal here."""
        fixed = dict(self._fixed)
        for path, value in values.items():
            if not (decision := self._known(path)).contains(value):
                raise InvalidCandidate(
                    expected(path, decision.describe_values(), value), path, value
                )
            real = isinstance(decision.choice, NumberChoice) and not decision.choice.integer
            fixed[path] = float(value) if real else value  # type: ignore[arg-type]  # it holds
        return Space(self.description, self._valid, rule=self._rule, _fixed=fixed)

    def check(self, candidate: Candidate) -> None:
        """Raises InvalidCandidate: an unknown path, a missing, an illegal or an inactive decision."""
        self._fits(candidate.values)
        if not self._is_valid(candidate.values):
            raise InvalidCandidate(
                "the candidate must pass the space's rule, got one that does not."
            )

    def contains(self, candidate: Candidate) -> bool:
        """Whether `check` lets the candidate pass."""
        try:
            self.check(candidate)
        except InvalidCandidate:
            return False
        return True

    # Inside

    def _fits(self, values: Values) -> None:
        for path in values:
            self._known(path)
        for path, decision, when in self._compiled:
            active = when is None or _switched_on(when, values)
            if active and path not in values:
                raise InvalidCandidate(
                    f"{path} must be decided, got nothing. Use {decision.describe_values()}.", path
                )
            if not active and path in values:
                parents = " or ".join(parent for parent, _ in when or ())
                raise InvalidCandidate(
                    f"{path} must be left out, got {values[path]!r}: {parents} does not ask for it.",
                    path, values[path],
                )  # fmt: skip
            if active and not decision.contains(values[path]):
                raise InvalidCandidate(
                    expected(path, decision.describe_values(), values[path]), path, values[path]
                )

    @cached_property
    def _counter(self) -> Counter:
        self._refuse_reals("drawn from by leaf")
        return Counter(self.decisions)

    def _refuse_reals(self, what: str) -> None:
        if real := [one.path for one in self.decisions if is_real(one)]:
            raise SpaceError(
                f"a space must have no open Float to be {what}, got {real[0]!r}. Fix it."
            )

    def _known(self, path: str) -> Decision:
        if path not in self._of:
            fix = closest(path, self._of)
            raise InvalidCandidate(
                f"{path!r} must be a decision of the space, got none of that name. {fix}".rstrip(),
                path,
            )
        return self._of[path]

    def _narrowed(self, decision: Decision) -> Decision:
        if decision.path not in self._fixed:
            return decision
        return replace(decision, fixed=(self._fixed[decision.path],))

    def _decide(self, rng: RNG, given: Values) -> dict[str, Value]:
        """Given decisions where they are active and legal, the others drawn."""
        values: dict[str, Value] = {}
        units = rng.random(len(self._compiled)).tolist()
        for unit, (path, decision, when) in zip(units, self._compiled, strict=True):
            if when is None or _switched_on(when, values):
                values[path] = given[path] if path in given else decision.from_unit(unit)
        return values

    def _complete(self, given: Values) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for path, decision, when in self._compiled:
            if when is None or _switched_on(when, values):
                values[path] = given[path] if path in given else decision.from_unit(0.0)
        return values

    def _listed(self, place: int, values: dict[str, Value]) -> Iterator[dict[str, Value]]:
        if place == len(self._compiled):
            yield values
            return
        path, decision, when = self._compiled[place]
        if when is not None and not _switched_on(when, values):
            yield from self._listed(place + 1, values)
            return
        for value in decision.values:
            yield from self._listed(place + 1, {**values, path: value})

    def _is_valid(self, values: Values) -> bool:
        if self._rule is not None and not self._rule(values):
            return False
        return self._valid is None or self._valid(self._filler(values, {}))

    def _edited_once(
        self, parent: Candidate, able: Sequence[Decision], child: Callable[[], dict[str, Value]],
        rng: RNG,
    ) -> Candidate | None:  # fmt: skip
        """The first valid child; None, with `rng` as it was, when none is found.

        Where it is sure that there is none, later calls need not look: what they draw is the same.
        """
        if self._rule is None and self._valid is None:
            return Candidate(child())
        before = rng.bit_generator.state
        if parent not in self._alone:
            if found := self._first_valid(child, _FEW):
                return found
            if self._stands_alone(parent.values, able):
                self._alone.add(parent)
            elif found := self._first_valid(child, _TRIES - _FEW):
                return found
            rng.bit_generator.state = before
        return None

    def _stands_alone(self, values: Values, able: Sequence[Decision]) -> bool:
        """Whether surely no single edit passes the rule: few there are, and none draws anything."""
        if not 0 < sum(len(one.values) or _TRIES for one in able) < _TRIES:
            return False
        edits = (
            self._complete({**values, one.path: value})
            for one in able for value in one.values if value != values[one.path]
        )  # fmt: skip
        return not any(edit.keys() - values.keys() or self._is_valid(edit) for edit in edits)

    def _until_valid(self, draw: Callable[[], dict[str, Value]]) -> Candidate:
        if found := self._first_valid(draw):
            return found
        raise SpaceError(
            f"the space's rule must hold for some draws, got none among {_TRIES}. "
            "Loosen it, or write it into the choices."
        )

    def _first_valid(
        self, draw: Callable[[], dict[str, Value]], tries: int = _TRIES
    ) -> Candidate | None:
        """The first of many draws that passes the rule; None when none does."""
        if self._rule is None and self._valid is None:
            return Candidate(draw())
        valid = (values for _ in range(tries) if self._is_valid(values := draw()))
        return next(map(Candidate, valid), None)


def _check_generator(rng: object) -> None:
    if not isinstance(rng, RNG):
        fix = "Make one: numpy.random.default_rng(0)."
        raise InputError(expected("rng", "a numpy.random.Generator", rng, fix))


def _switched_on(when: Conditions, values: Values) -> bool:
    for path, switching in when:
        if path in values and values[path] in switching:
            return True
    return False


def _below(path: str, under: str) -> bool:
    return not under or path == under or path.startswith(under + ".")


def _json(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value
