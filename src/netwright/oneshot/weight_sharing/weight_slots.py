"""Where the weights of a marked network are: which leaves stand at which place, for which shapes.

The same text of a composite that gives shapes, costs and modules gives places, too. Where a mark
leaves open what comes out, a composite is assembled once for each shape that may.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from netwright.errors import InfeasibleCandidate, SpaceError
from netwright.networks.build import as_composite, infer_output_shape, with_position
from netwright.networks.interfaces.layer import Composite, Leaf, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.oneshot.weight_sharing.choice_placeholders import MARK, Routes, Versions
from netwright.oneshot.weight_sharing.weight_slicing import Stand, forms, specs
from netwright.space.visitor import children, join_path

_VERSION = "~"
"""Begins the digest of what weights a version has."""
_MOST = 512
"""Shapes of one place, and ways to assemble one composite."""

Stands: TypeAlias = dict[str, dict[Stand, None]]
"""Place -> what may stand there, in the order of the built module's leaves."""


@dataclass(frozen=True)
class Outcome:
    """A shape that may come out, and what stood where on the way."""

    shape: Shape
    stands: Stands


def places(network: Network, shape: Shape) -> Stands:
    """The places of a marked network that have weights, by all of its outcomes.

    Raises InfeasibleCandidate when it has none, SpaceError when it has too many.
    """
    found: Stands = {}
    for outcome in Survey().outcomes(network, shape):
        _add(found, outcome.stands)
    return found


class Survey:
    """Finds the outcomes of marked networks, each part once for a shape."""

    def __init__(self) -> None:
        self._known: dict[tuple[Network, Shape, bool], list[Outcome]] = {}

    def outcomes(self, part: Network, shape: Shape, apart: bool = False) -> list[Outcome]:
        """Those of different shapes; `apart`: those of different weights, too.

        Raises InfeasibleCandidate when there are none.
        """
        key = (part, shape, apart)
        if key not in self._known:
            self._known[key] = _merged(self._found(part, shape, apart), apart)
        return self._known[key]

    def _found(self, part: Network, shape: Shape, apart: bool) -> list[Outcome]:
        if isinstance(part, tuple):
            return self._row([(str(i), layer) for i, layer in enumerate(part)], shape, apart)
        if isinstance(part, Leaf):
            return [_leaf(part, shape)]
        if isinstance(part, Routes):
            return _any(partial(self._row, row, shape, False) for row in part.routes)
        if isinstance(part, Versions):
            return _any(partial(self._version, *one, shape) for one in part.versions)
        return self._composite(as_composite(part, ""), shape, apart)

    def _row(self, row: Sequence[tuple[str, Network]], shape: Shape, apart: bool) -> list[Outcome]:
        reached = [Outcome(shape, {})]
        for name, part in row:
            ways = (partial(self._after, one, name, part, apart) for one in reached)
            reached = _merged(_any(ways), apart)
        return reached

    def _after(self, before: Outcome, name: str, part: Network, apart: bool) -> list[Outcome]:
        return [
            Outcome(one.shape, before.stands | _below(name, one.stands))
            for one in self.outcomes(part, before.shape, apart)
        ]

    def _version(self, said: str, layer: Network, shape: Shape) -> list[Outcome]:
        """Under a name for the weights that it has: a version that has others is another place."""
        return [
            Outcome(one.shape, _below(f"{said}{_VERSION}{_digest(one.stands)}", one.stands))
            for one in self.outcomes(layer, shape, apart=True)
        ]

    def _composite(self, layer: Composite, shape: Shape, apart: bool) -> list[Outcome]:
        """By assembling it with each shape that its parts may give, one after the other."""
        found: list[Outcome] = []
        refusal: InfeasibleCandidate | None = None
        ways: list[tuple[int, ...]] = [()]
        for tried in range(_MOST + 1):
            if not ways:
                break
            if tried == _MOST:
                raise SpaceError(
                    f"the parts of {type(layer).__name__} must give few shapes, got more than "
                    f"{_MOST} ways to put them together. Share their widths, or leave some closed."
                )
            way = _Way(self, ways.pop(), apart)
            try:
                found.append(Outcome(_assembled(layer, shape, way), way.stands))
            except InfeasibleCandidate as error:
                refusal = error
            ways += way.others
        if not found:
            assert refusal is not None  # nothing came out
            raise refusal
        return found


@dataclass
class _Way:
    """Declares the parts of a composite: `taken` are the places of the outcomes to take first, then
    the first is taken; `others` are the ways that could have been taken then."""

    survey: Survey
    taken: tuple[int, ...]
    apart: bool
    stands: Stands = field(default_factory=dict)
    others: list[tuple[int, ...]] = field(default_factory=list)
    parts: int = 0

    def __call__(self, name: str, part: Network, of: Shape) -> Shape:
        outcomes = self.survey.outcomes(part, of, self.apart)
        if self.parts == len(self.taken):
            self.others += [(*self.taken, other) for other in range(1, len(outcomes))]
            self.taken = (*self.taken, 0)
        outcome = outcomes[self.taken[self.parts]]
        self.parts += 1
        self.stands |= _below(name, outcome.stands)
        return outcome.shape


def _assembled(layer: Composite, shape: Shape, add: _Way) -> Shape:
    try:
        return with_position("", layer, shape, lambda: layer.assemble(shape, add))
    except (AttributeError, TypeError) as error:
        mark = _first_mark(layer)
        if mark is None:
            raise
        raise SpaceError(
            f"{type(layer).__name__} must take its parts as they are, got an open choice at "
            f"{mark.path} that it looks into ({error}). Open the choices inside the parts."
        ) from error


def _first_mark(part: Any) -> Routes | Versions | None:
    if isinstance(part, Routes | Versions):
        return part
    return next((mark for _, one in children(part) if (mark := _first_mark(one))), None)


def _leaf(leaf: Leaf, shape: Shape) -> Outcome:
    def run() -> Shape:
        specs(leaf, shape)  # building may refuse, too
        return infer_output_shape(leaf, shape)

    out = with_position("", leaf, shape, run)
    return Outcome(out, {"": {(leaf, shape): None}} if specs(leaf, shape) else {})


def _any(ways: Iterable[Callable[[], list[Outcome]]]) -> list[Outcome]:
    """The outcomes of all ways that lead to some."""
    found: list[Outcome] = []
    refusal = InfeasibleCandidate("nothing is left to choose")
    for way in ways:
        try:
            found += way()
        except InfeasibleCandidate as error:
            refusal = error
    if not found:
        raise refusal
    return found


def _below(name: str, stands: Stands) -> Stands:
    return {join_path(name, place): one for place, one in stands.items()}


def _add(stands: Stands, others: Stands) -> None:
    for place, one in others.items():
        stands[place] = stands.get(place, {}) | one


def _merged(outcomes: Sequence[Outcome], apart: bool) -> list[Outcome]:
    """One for each shape (and, apart, each set of weights), with all that led there."""
    if len(outcomes) == 1:
        return [*outcomes]
    found: dict[tuple[Shape, str], Stands] = {}
    for one in outcomes:
        _add(found.setdefault((one.shape, _digest(one.stands) if apart else ""), {}), one.stands)
    if len(found) > _MOST:
        raise SpaceError(
            f"a place must be reached by at most {_MOST} shapes, got more. "
            "Leave some widths or strides closed."
        )
    return [Outcome(shape, stands) for (shape, _), stands in found.items()]


def _digest(stands: Stands) -> str:
    """Of the forms of all tensors outside inner marks."""
    own = [
        (place, [(form.name, form.axes) for form in forms(*next(iter(met)))])
        for place, met in stands.items() if MARK not in place and _VERSION not in place
    ]  # fmt: skip
    return hashlib.sha256(repr(own).encode()).hexdigest()[:8]
