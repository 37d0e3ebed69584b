"""Open network with a placeholder in place of each choice, so that weights have stable names.

Placeholders are layers, so that they pass through any composite; they are never built. For a
candidate a placeholder holds what was chosen; for the whole network, everything that may be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, cast

from netwright.errors import InfeasibleCandidate, Phrase, SpaceError, expected
from netwright.networks.interfaces.layer import Layer, Network
from netwright.networks.layers.graph import is_dead
from netwright.oneshot.weight_sharing.setting_assignments import (
    Values,
    is_number,
    setting_assignments,
)
from netwright.space.candidate import Value
from netwright.space.choices import (
    NumberChoice,
    OneOfChoice,
    RepeatChoice,
    SharedChoice,
    SubsetOfChoice,
    init_fields,
    is_inline,
    is_open,
)
from netwright.space.decision import Decision
from netwright.space.description import Filler, compile_filler, find_decisions
from netwright.space.visitor import (
    Visitor,
    children,
    copy_paths,
    count_path,
    counts_by_value,
    join_path,
    labelled_options,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Branch: TypeAlias = tuple[tuple[str, Network], ...]
"""Named networks in sequence."""
_Replacement: TypeAlias = Callable[[Any, str], Any]
"""Replacement for a part of a description, given its path."""

CHOICE_PREFIX = "@"
"""First character of the name of a chosen option in the name of a weight slot."""


@dataclass(frozen=True)
class Alternatives(Layer):
    """Placeholder of one of several branches: an option, a subset, or the first few copies."""

    branches: tuple[Branch, ...]
    path: str = field(compare=False)

    @property
    def dead(self) -> bool:
        return all(any(is_dead(network) for _, network in branch) for branch in self.branches)


@dataclass(frozen=True)
class LayerVariants(Layer):
    """Placeholder of one layer with open settings: its variants, named by settings not numbers."""

    variants: tuple[tuple[str, Layer], ...]
    path: str = field(compare=False)

    @property
    def dead(self) -> bool:
        return all(is_dead(layer) for _, layer in self.variants)


_Kind: TypeAlias = Literal["closed", "network", "edges", "setting", "container"]
"""Kind of a part: without choices; a choice of networks; a choice of members of a mapping of
networks; a choice among a layer's settings; or a container of other kinds."""


class _OpenSettings(NamedTuple):
    """Decisions among a layer's settings."""

    decisions: tuple[Decision, ...]
    names: tuple[tuple[str, str], ...]
    """Path and short name of the decisions that are not numbers."""


class PlaceholderInserter(Visitor[Any, "Values | None"]):
    """Visitor that puts placeholders into an open network, for one candidate after the other."""

    def __init__(self, network: Network, prefix: str) -> None:
        self._network, self._prefix = network, prefix
        # by identity, valid while the network lives: looked up for every candidate
        self._kinds: dict[int, _Kind] = {}
        self._open_settings: dict[tuple[int, str], _OpenSettings] = {}
        self._fillers: dict[tuple[int, str], Filler] = {}

    def insert(self, values: Values | None) -> Network:
        """Return the network with placeholders of a candidate's values; None: of all values.

        In the latter, a layer's numbers take the values that sizes of weights may depend on: all of
        a few, the ends of many.
        """
        return cast("Network", self.visit(self._network, self._prefix, values))

    def _kind(self, description: object) -> _Kind:
        key = id(description)
        if key not in self._kinds:
            self._kinds[key] = _kind_of(description)
        return self._kinds[key]

    def is_open(self, description: object) -> bool:
        return self._kind(description) != "closed"

    def visit_constant(self, description: object, path: str, context: Values | None) -> object:
        return description

    def visit_number(self, choice: NumberChoice, path: str, context: Values | None) -> object:
        raise self._no_network(path)

    def visit_container(self, description: object, path: str, context: Values | None) -> object:
        if isinstance(description, Layer):
            return self._layer(description, path, context)
        if not isinstance(description, tuple):
            raise self._no_network(path)
        return tuple(
            self.visit(layer, join_path(path, i), context) for i, layer in enumerate(description)
        )

    def visit_one_of(self, choice: OneOfChoice, path: str, context: Values | None) -> object:
        chosen = choice.labels if context is None else (context[path],)
        return self._alternatives(choice, path, context, [(label,) for label in chosen])

    def visit_subset(self, choice: SubsetOfChoice, path: str, context: Values | None) -> object:
        if context is None:
            return self._alternatives(choice, path, context, choice.subsets)
        subset = cast("tuple[Value, ...]", context[path])
        return self._alternatives(choice, path, context, [subset])

    def _alternatives(
        self,
        choice: OneOfChoice | SubsetOfChoice,
        path: str,
        values: Values | None,
        subsets: Sequence[Sequence[Value]],
    ) -> Alternatives:
        if self._kind(choice) != "network":
            raise self._no_network(path)
        labels = {label for subset in subsets for label in subset}
        networks = {
            label: self.visit(option, below, values)
            for label, option, below in labelled_options(choice, path)
            if label in labels
        }
        branches = (
            tuple((f"{CHOICE_PREFIX}{label}", networks[label]) for label in subset)
            for subset in subsets
        )
        return Alternatives(tuple(branches), path)

    def _no_network(self, path: str) -> SpaceError:
        got = Phrase(f"another choice at {path or 'the top'}")
        return SpaceError(expected("a network", "made of layers and choices of layers", got))

    def visit_repeat(self, choice: RepeatChoice, path: str, context: Values | None) -> object:
        if self._kind(choice) != "network":
            raise self._no_network(path)
        counts = choice.possible_times
        if context is not None and self._kind(choice.times) != "closed":
            times = context[count_path(choice, path)]
            counts = (dict(counts_by_value(choice))[times],)
        paths = copy_paths(choice, path)[: max(counts)]
        copies = [self.visit(choice.block, below, context) for below in paths]
        if len(counts) == 1:
            return tuple(copies)
        branches = (tuple((str(i), copies[i]) for i in range(count)) for count in counts)
        return Alternatives(tuple(branches), path)

    def _layer(self, layer: Layer, path: str, values: Values | None) -> Layer:
        settings = self._settings_of(layer, path)
        if not settings.decisions:
            return self._filled(layer, path, values, {}, wrap_networks=False)
        variants = []
        for chosen in (
            setting_assignments(settings.decisions, path) if values is None else (values,)
        ):
            try:
                variant = self._filled(layer, path, values, chosen, wrap_networks=True)
            except InfeasibleCandidate:
                if values is not None:
                    raise
                continue
            names = (
                f"{name}={chosen[setting_path]}"
                for setting_path, name in settings.names
                if setting_path in chosen
            )
            variants.append((",".join(names), variant))
        return LayerVariants(tuple(dict.fromkeys(variants)), path)

    def _settings_of(self, layer: Layer, path: str) -> _OpenSettings:
        key = (id(layer), path)
        if key not in self._open_settings:
            decisions: dict[str, Decision] = {}

            def collect(description: object, inner_path: str) -> object:
                open_decisions = find_decisions(nested(description, inner_path))
                decisions.update({decision.path: decision for decision in open_decisions})
                return description

            if self._kind(layer) != "closed":
                self._replace_parts(
                    layer,
                    path,
                    lambda description, _: description,
                    collect,
                    lambda description, _: description,
                )
            named = (decision.path for decision in decisions.values() if not is_number(decision))
            names = tuple((name, name.removeprefix(f"{path}.")) for name in named)
            self._open_settings[key] = _OpenSettings(tuple(decisions.values()), names)
        return self._open_settings[key]

    def _filled(
        self,
        layer: Layer,
        path: str,
        values: Values | None,
        chosen: Values,
        *,
        wrap_networks: bool,
    ) -> Layer:
        """Return the layer with its settings as in `chosen`.

        With `wrap_networks` its inner networks get a placeholder each: they do not depend on its
        settings.
        """
        if not wrap_networks and self._kind(layer) == "closed":
            return layer

        def network(description: object, inner_path: str) -> object:
            inserted = self.visit(description, inner_path, values)
            if wrap_networks:
                return Alternatives((((CHOICE_PREFIX, inserted),),), inner_path)
            return inserted

        def setting(description: object, inner_path: str) -> object:
            key = (id(description), inner_path)
            if key not in self._fillers:
                self._fillers[key] = compile_filler(nested(description, inner_path))
            return part_at(self._fillers[key](chosen, {}), inner_path)

        def edges(choice: SubsetOfChoice, inner_path: str) -> Mapping[Value, object]:
            labels: Any = choice.labels if values is None else values[inner_path]
            return {
                label: network(option, below)
                for label, option, below in labelled_options(choice, inner_path)
                if label in labels
            }

        return cast("Layer", self._replace_parts(layer, path, network, setting, edges))

    def _replace_parts(
        self,
        layer: Layer,
        path: str,
        network: _Replacement,
        replace_setting: _Replacement,
        edges: _Replacement,
    ) -> object:
        """Return the layer with its networks, settings and chosen edges replaced."""

        def inside(description: object, inner_path: str) -> object:
            if isinstance(description, SharedChoice):
                return inside(description.description, description.name)
            if isinstance(description, Layer):
                return network(description, inner_path)
            kind = self._kind(description)
            if kind == "network":
                return network(description, inner_path)
            if kind == "edges":
                return edges(description, cast("SubsetOfChoice", description).name or inner_path)
            if kind == "setting":
                return replace_setting(description, inner_path)
            if isinstance(description, tuple):
                return tuple(
                    inside(child, join_path(inner_path, i)) for i, child in enumerate(description)
                )
            if isinstance(description, Mapping):
                return {
                    name: inside(child, join_path(inner_path, name))
                    for name, child in description.items()
                }
            if is_dataclass(description) and not isinstance(description, type):
                return rebuild(description, inner_path)
            return description

        def rebuild(description: DataclassInstance, inner_path: str) -> object:
            changes: dict[str, object] = {}
            for field_ in init_fields(description):
                before = getattr(description, field_.name)
                after = inside(
                    before, inner_path if is_inline(field_) else join_path(inner_path, field_.name)
                )
                if after is not before:
                    changes[field_.name] = after
            return replace(description, **changes) if changes else description

        return rebuild(cast("DataclassInstance", layer), path)


def _kind_of(description: object) -> _Kind:
    if not is_open(description):
        return "closed"
    if isinstance(description, OneOfChoice | SubsetOfChoice | RepeatChoice):
        if _is_network(description):
            return "network"
        return "edges" if _is_edges(description) else "setting"
    return "container" if _holds_layers(description) else "setting"


def _is_network(description: object) -> bool:
    """Return whether it is a layer, a tuple of networks, or a choice of those."""
    if isinstance(description, SharedChoice):
        return _is_network(description.description)
    if isinstance(description, OneOfChoice):
        return all(map(_is_network, description.options))
    if isinstance(description, SubsetOfChoice):
        return not description.mapping and all(map(_is_network, description.options))
    if isinstance(description, RepeatChoice):
        return _is_network(description.block)
    return isinstance(description, Layer) or (
        isinstance(description, tuple) and all(map(_is_network, description))
    )


def _is_edges(description: object) -> bool:
    """Return whether it chooses members of a mapping of networks: the inputs of a node."""
    return (
        isinstance(description, SubsetOfChoice)
        and description.mapping
        and all(map(_is_network, description.options))
    )


def _holds_layers(description: object) -> bool:
    """Return whether there is a layer anywhere in the description."""
    if isinstance(description, Layer):
        return True
    if isinstance(description, OneOfChoice | SubsetOfChoice):
        return any(map(_holds_layers, description.options))
    if isinstance(description, RepeatChoice):
        return _holds_layers(description.block)
    if isinstance(description, SharedChoice):
        return _holds_layers(description.description)
    return any(_holds_layers(child) for _, child in children(description))


def nested(description: object, path: str) -> object:
    """Wrap the description in mappings, so that its decisions have their paths in the whole."""
    for step in reversed(path.split(".")) if path else ():
        description = {step: description}
    return description


def part_at(whole: object, path: str) -> object:
    """Return the part at a path: the inverse of `nested`."""
    for step in path.split(".") if path else ():
        whole = cast("Mapping[str, object]", whole)[step]
    return whole
