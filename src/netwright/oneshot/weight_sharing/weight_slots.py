"""Weight slots: every (layer, input shape) that may occupy a position with weights.

The `assemble` of a composite that infers shapes and builds modules finds slots, too. Where a
placeholder leaves the output shape open, a composite is assembled once for each possible shape.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from netwright.errors import InfeasibleCandidate, SpaceError
from netwright.networks.build import as_composite, infer_output_shape, with_position
from netwright.networks.interfaces.layer import Composite, Leaf, Network
from netwright.networks.interfaces.shapes import Shape
from netwright.oneshot.weight_sharing.choice_placeholders import (
    CHOICE_PREFIX,
    Alternatives,
    LayerVariants,
)
from netwright.oneshot.weight_sharing.weight_slicing import LayerAtShape, signatures, tensor_specs
from netwright.space.visitor import children, join_path

_DIGEST_PREFIX = "~"
"""First character of the digest of a variant's tensor signatures, in the name of a slot."""
_MAX_OUTCOMES = 512
"""Shapes that reach one position, and ways to assemble one composite."""

WeightSlots: TypeAlias = dict[str, dict[LayerAtShape, None]]
"""Slot name -> all layers and shapes that may occupy it, in the order of the built module's leaves."""


@dataclass(frozen=True)
class ShapeOutcome:
    """A possible output shape, and the weight slots on the way to it."""

    shape: Shape
    slots: WeightSlots


def weight_slots(network: Network, shape: Shape) -> WeightSlots:
    """Return the weight slots of a network with placeholders, over all its outcomes.

    Raises InfeasibleCandidate when nothing can be built, SpaceError when there are too many
    outcomes.
    """
    slots: WeightSlots = {}
    for outcome in ShapeTracer().outcomes(network, shape):
        _merge_into(slots, outcome.slots)
    return slots


class ShapeTracer:
    """Traces the possible output shapes of networks with placeholders, caching by input shape."""

    def __init__(self) -> None:
        self._cache: dict[tuple[Network, Shape, bool], list[ShapeOutcome]] = {}

    def outcomes(
        self, network: Network, shape: Shape, *, by_weights: bool = False
    ) -> list[ShapeOutcome]:
        """Return an outcome for each output shape; `by_weights`: and for each set of weights.

        Raises InfeasibleCandidate when there is none.
        """
        key = (network, shape, by_weights)
        if key not in self._cache:
            outcomes = self._trace(network, shape, by_weights=by_weights)
            self._cache[key] = _merged(outcomes, by_weights=by_weights)
        return self._cache[key]

    def _trace(self, network: Network, shape: Shape, *, by_weights: bool) -> list[ShapeOutcome]:
        if isinstance(network, tuple):
            branch = [(str(i), layer) for i, layer in enumerate(network)]
            return self._sequence(branch, shape, by_weights=by_weights)
        if isinstance(network, Leaf):
            return [_leaf(network, shape)]
        if isinstance(network, Alternatives):
            return _union(
                partial(self._sequence, branch, shape, by_weights=False)
                for branch in network.branches
            )
        if isinstance(network, LayerVariants):
            return _union(partial(self._variant, *variant, shape) for variant in network.variants)
        return self._composite(as_composite(network, ""), shape, by_weights=by_weights)

    def _sequence(
        self, branch: Sequence[tuple[str, Network]], shape: Shape, *, by_weights: bool
    ) -> list[ShapeOutcome]:
        outcomes = [ShapeOutcome(shape, {})]
        for name, network in branch:
            continuations = (
                partial(self._continue, outcome, name, network, by_weights=by_weights)
                for outcome in outcomes
            )
            outcomes = _merged(_union(continuations), by_weights=by_weights)
        return outcomes

    def _continue(
        self, before: ShapeOutcome, name: str, network: Network, *, by_weights: bool
    ) -> list[ShapeOutcome]:
        return [
            ShapeOutcome(outcome.shape, before.slots | _prefixed(name, outcome.slots))
            for outcome in self.outcomes(network, before.shape, by_weights=by_weights)
        ]

    def _variant(self, name: str, layer: Network, shape: Shape) -> list[ShapeOutcome]:
        """Return the outcomes of a variant, in slots named by its tensors.

        Variants with other tensors get other slots.
        """
        return [
            ShapeOutcome(
                outcome.shape,
                _prefixed(f"{name}{_DIGEST_PREFIX}{_digest(outcome.slots)}", outcome.slots),
            )
            for outcome in self.outcomes(layer, shape, by_weights=True)
        ]

    def _composite(self, layer: Composite, shape: Shape, *, by_weights: bool) -> list[ShapeOutcome]:
        """Assemble it with each combination of shapes that its parts may give (depth-first)."""
        outcomes: list[ShapeOutcome] = []
        refusal: InfeasibleCandidate | None = None
        pending: list[tuple[int, ...]] = [()]
        for n_assembled in range(_MAX_OUTCOMES + 1):
            if not pending:
                break
            if n_assembled == _MAX_OUTCOMES:
                raise SpaceError(
                    f"the parts of {type(layer).__name__} must give few shapes, got more than "
                    f"{_MAX_OUTCOMES} ways to put them together. Share their widths, or leave some "
                    "closed."
                )
            assembly = _Assembly(self, pending.pop(), by_weights)
            try:
                out = _assembled(layer, shape, assembly)
                outcomes.append(ShapeOutcome(out, assembly.slots))
            except InfeasibleCandidate as error:
                refusal = error
            pending += assembly.alternatives
        if not outcomes:
            assert refusal is not None  # every assembly was refused
            raise refusal
        return outcomes


@dataclass
class _Assembly:
    """One way to assemble a composite: the `AddPart` that declares its parts.

    `outcome_indices`: the outcome to take for each of the first parts; later parts take their
    first. `alternatives`: indices of the other ways that branch off from this one.
    """

    tracer: ShapeTracer
    outcome_indices: tuple[int, ...]
    by_weights: bool
    slots: WeightSlots = field(default_factory=dict)
    alternatives: list[tuple[int, ...]] = field(default_factory=list)
    n_parts: int = 0

    def __call__(self, name: str, network: Network, shape: Shape) -> Shape:
        outcomes = self.tracer.outcomes(network, shape, by_weights=self.by_weights)
        if self.n_parts == len(self.outcome_indices):
            self.alternatives += [(*self.outcome_indices, i) for i in range(1, len(outcomes))]
            self.outcome_indices = (*self.outcome_indices, 0)
        outcome = outcomes[self.outcome_indices[self.n_parts]]
        self.n_parts += 1
        self.slots |= _prefixed(name, outcome.slots)
        return outcome.shape


def _assembled(layer: Composite, shape: Shape, add: _Assembly) -> Shape:
    try:
        return with_position("", layer, shape, lambda: layer.assemble(shape, add))
    except (AttributeError, TypeError) as error:
        placeholder = _first_placeholder(layer)
        if placeholder is None:
            raise
        raise SpaceError(
            f"{type(layer).__name__} must take its parts as they are, got an open choice at "
            f"{placeholder.path} that it looks into ({error}). Open the choices inside the parts."
        ) from error


def _first_placeholder(description: object) -> Alternatives | LayerVariants | None:
    if isinstance(description, Alternatives | LayerVariants):
        return description
    placeholders = (_first_placeholder(child) for _, child in children(description))
    return next((placeholder for placeholder in placeholders if placeholder), None)


def _leaf(leaf: Leaf, shape: Shape) -> ShapeOutcome:
    def output_shape() -> Shape:
        tensor_specs(leaf, shape)  # building may refuse, too
        return infer_output_shape(leaf, shape)

    out = with_position("", leaf, shape, output_shape)
    return ShapeOutcome(out, {"": {(leaf, shape): None}} if tensor_specs(leaf, shape) else {})


def _union(ways: Iterable[Callable[[], list[ShapeOutcome]]]) -> list[ShapeOutcome]:
    """Return the outcomes of all feasible ways; raise the last refusal if there is none."""
    outcomes: list[ShapeOutcome] = []
    refusal = InfeasibleCandidate("nothing is left to choose")
    for way in ways:
        try:
            outcomes += way()
        except InfeasibleCandidate as error:
            refusal = error
    if not outcomes:
        raise refusal
    return outcomes


def _prefixed(name: str, slots: WeightSlots) -> WeightSlots:
    return {join_path(name, slot): occupants for slot, occupants in slots.items()}


def _merge_into(slots: WeightSlots, others: WeightSlots) -> None:
    for slot, occupants in others.items():
        slots[slot] = slots.get(slot, {}) | occupants


def _merged(outcomes: Sequence[ShapeOutcome], *, by_weights: bool) -> list[ShapeOutcome]:
    """Merge the slots of outcomes of one shape (and, `by_weights`, one set of weights)."""
    if len(outcomes) == 1:
        return [*outcomes]
    merged: dict[tuple[Shape, str], WeightSlots] = {}
    for outcome in outcomes:
        key = (outcome.shape, _digest(outcome.slots) if by_weights else "")
        _merge_into(merged.setdefault(key, {}), outcome.slots)
    if len(merged) > _MAX_OUTCOMES:
        raise SpaceError(
            f"a position must be reached by at most {_MAX_OUTCOMES} input shapes, got more. "
            "Leave some widths or strides closed."
        )
    return [ShapeOutcome(shape, slots) for (shape, _), slots in merged.items()]


def _digest(slots: WeightSlots) -> str:
    """Return a digest of the signatures of all tensors outside inner placeholders."""
    tensors = [
        (slot, [(s.name, s.n_axes) for s in signatures(*next(iter(occupants)))])
        for slot, occupants in slots.items()
        if CHOICE_PREFIX not in slot and _DIGEST_PREFIX not in slot
    ]
    return hashlib.sha256(repr(tensors).encode()).hexdigest()[:8]
