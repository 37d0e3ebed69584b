"""A network that starts from the weights of another, of which it is an edit.

Net2Net (Chen, Goodfellow and Shlens 2016, 1511.05641) and network morphism (Wei, Wang, Rui and Chen
2016, 1603.01670): a wider or deeper child computes the parent's function, and is trained from
there. Both descriptions are walked side by side, from what comes in to what goes out, with a map of
channels between them; what cannot be kept is said, and starts afresh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.networks.build import build, resolve
from netwright.networks.layers.basic import Layer, Network, Shape
from netwright.networks.layers.blocks import MBConv, Residual
from netwright.networks.layers.graph import Chain, Graph, edge_name, latest
from netwright.networks.morphism.channel_map import (
    NEW,
    Flow,
    around,
    shifted,
    unchanged,
    unknown,
    width,
)
from netwright.networks.morphism.identity_init import ends_of, has_skip, settle, silence
from netwright.networks.morphism.module_tree import (
    Part,
    is_neutral,
    is_positive,
    items,
    opened,
    paired,
)
from netwright.networks.morphism.rules import HEIRS, identity, replaced
from netwright.networks.morphism.transfer import Transfer
from netwright.networks.tabular.columns import Columns

NOISE = 0.01
"""Of the deviation of a layer's weights: so much tells replicas apart, and changes next to nothing."""


@dataclass(frozen=True)
class Inheritance:
    """What a child has of its parent.

    `share`: of its parameters those that the parent's give, replicas included. `losses`: why it
    does not compute the parent's function, each with its position; none when it does.
    """

    share: float
    losses: tuple[str, ...] = ()

    @property
    def is_preserved(self) -> bool:
        """Whether the child computes what the parent does, when evaluated and but for the noise."""
        return not self.losses


def morph(
    parent: nn.Module,
    old: Network,
    new: Network,
    input_shape: Shape,
    *,
    seed: int,
    noise: float = NOISE,
    rows: Tensor | None = None,
    **given: Any,
) -> tuple[nn.Module, Inheritance]:
    """The module of the filled network `new`, from the one that `build` made of `old` (CPU).

    Where `new` is wider it replicates channels, drawn by the seed, and divides what reads them;
    where it is deeper the inserted layers start as the identity; larger kernels are padded with
    zeros. So it computes the parent's function. Narrower layers keep the channels that matter most,
    smaller kernels their centre, other layers start afresh, and so does what comes after a layer
    that netwright does not know and whose input has changed: then it does not, and the inheritance
    says so. `noise` is added to the weights of replicas, in deviations of a layer's weights: equal
    ones would be trained alike for ever; 0 leaves it out. `rows`: some inputs (rows, ...), which
    tell inserted batch normalisations the statistics that they will meet. The parent is not
    changed. Raises as `build`.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        child = build(new, input_shape, **given)
        ours = opened(resolve(old, given), parent, input_shape)
        theirs = opened(resolve(new, given), child, input_shape)
        transfer = Transfer(seed, noise)
        out = _Walk(transfer).part(ours, theirs, unchanged(input_shape, input_shape))
    if not transfer.losses and not out.is_same:
        transfer.lose("", f"the outputs {out.now} are others than {out.before}")
    if rows is not None and transfer.identities:
        settle(child, transfer.identities, rows)
    total = sum(one.numel() for one in child.parameters())
    return child, Inheritance(transfer.taken / max(total, 1), tuple(transfer.losses))


@dataclass(frozen=True)
class _Walk:
    """Through both networks side by side; each step is told what flows in, and says what flows out."""

    transfer: Transfer

    def part(self, old: Part, new: Part, flow: Flow, wanted: Flow | None = None) -> Flow:
        """A part and its forerunner."""
        said = len(self.transfer.losses)
        if old.network == new.network and flow.is_same:
            new.module.load_state_dict(old.module.state_dict())
            self.transfer.taken += sum(one.numel() for one in new.module.parameters())
            out = unchanged(old.out, new.out)
        else:
            out = self._changed(old, new, flow, wanted)
        return self._looked_at(new.position, [flow], self._signed(new, flow, out), said)

    def _changed(self, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
        a, b = old.network, new.network
        if isinstance(a, tuple) or isinstance(b, tuple):
            return self._row(paired(old, new), flow, wanted)
        if not ((flow.is_same and old.out == new.out) or (_is_known(a) and _is_known(b))):
            name = type(b if _is_known(a) else a).__name__
            why = f"it is not known what becomes of channels in {name}, fresh from there"
            self.transfer.lose(new.position, why)
            return unknown(old.out, new.out)
        if type(a) is not type(b):
            if is_neutral(a, flow.positive):
                return self._inserted(new, flow, wanted)
            if is_neutral(b, flow.positive):
                return self._removed(old, flow)
            return replaced(self.transfer, old, new, flow, wanted)
        if heir := HEIRS.get(type(b)):
            return heir(self.transfer, old, new, flow, wanted)
        if step := _COMPOSITES.get(type(b)):
            return step(self, old, new, flow, wanted)
        return replaced(self.transfer, old, new, flow, wanted)

    def _row(
        self, pairs: Sequence[tuple[Part | None, Part | None]], flow: Flow, wanted: Flow | None
    ) -> Flow:
        for old, new in pairs:
            if old is not None and new is not None:
                flow = self.part(old, new, flow, wanted)
            elif new is not None:
                flow = self._inserted(new, flow, wanted)
            elif old is not None:
                flow = self._removed(old, flow)
        return flow

    def _inserted(self, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
        """A layer that the parent does not have: the identity, where it can be."""
        said = len(self.transfer.losses)
        if isinstance(new.network, tuple):
            out = flow
            for item in items(new):
                out = self._inserted(item, out, wanted)
            return out
        found = self._as_identity(new, flow, wanted)
        if found is None:
            name = type(new.network).__name__
            self.transfer.lose(new.position, f"an inserted {name} cannot start as the identity")
            found = self.transfer.carried(flow, flow.before, new.out, wanted)
        return self._looked_at(new.position, [flow], self._signed(new, flow, found), said)

    def _as_identity(self, new: Part, flow: Flow, wanted: Flow | None) -> Flow | None:
        if is_neutral(new.network, flow.positive):
            return flow
        if isinstance(new.network, MBConv) and not has_skip(new):
            return None
        if isinstance(new.network, MBConv | Residual):
            ends = ends_of(new.parts["body"])
            shortcut = new.parts.get("shortcut")
            if ends is None:
                return None
            back = identity(self.transfer, shortcut, flow, wanted) if shortcut else flow
            silence(ends if back else [])
            return back
        return identity(self.transfer, new, flow, wanted)

    def _removed(self, old: Part, flow: Flow) -> Flow:
        """A layer that the child does not have."""
        if is_neutral(old.network, flow.positive):
            return flow
        self.transfer.lose(old.position, f"{type(old.network).__name__} is gone")
        return self.transfer.carried(flow, old.out, flow.now)

    def _signed(self, new: Part, flow: Flow, out: Flow) -> Flow:
        """Says whether anything of it may be below 0."""
        return replace(out, positive=is_positive(new, flow.positive))

    def _looked_at(self, position: str, flows: Sequence[Flow], out: Flow, said: int) -> Flow:
        """Says what got lost between some flows and what became of them, unless something was."""
        if len(self.transfer.losses) == said and all(flow.is_whole for flow in flows):
            if not out.is_whole:
                left, of = len(out.origin[out.origin >= 0].unique()), width(out.before)
                self.transfer.lose(position, f"{left} of the parent's {of} channels are left")
            elif all(around(flow.before) == around(flow.now) for flow in flows) and (
                around(out.before) != around(out.now)
            ):
                sizes = f"{around(out.now)} in place of {around(out.before)}"
                self.transfer.lose(position, f"its output has the size {sizes}")
        return out

    # Composites

    def residual(self, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
        """The skip says which channels the body has to put out."""
        ours, theirs = old.parts.get("shortcut"), new.parts.get("shortcut")
        body = [part.parts["body"] for part in (old, new)]
        out = self.part(body[0], body[1], flow, wanted if theirs else flow)
        if theirs is None:
            back = self._removed(ours, flow) if ours else flow
        elif ours is None:
            back = self._inserted(theirs, flow, wanted=out)
        else:
            back = self.part(ours, theirs, flow, wanted=out)
        return _sum([back, out], old.out, new.out)

    def mbconv(self, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
        """Its parts by their roles."""
        roles = [_roles(part) for part in (old, new)]
        skips = [has_skip(part) for part in (old, new)]
        pairs = [(roles[0].get(role), roles[1].get(role)) for role in _ROLES]
        out = self._row(pairs, flow, flow if skips[1] else wanted)
        if skips[0] != skips[1]:
            self.transfer.lose(new.position, f"{'a' if skips[1] else 'no'} skip, unlike before")
        return _sum([flow, out], old.out, new.out) if all(skips) else out

    def graph(self, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
        a, b = old.network, new.network
        assert isinstance(a, Graph)
        assert isinstance(b, Graph)
        return self._cell(_Cell(a, old.parts), _Cell(b, new.parts), [flow], wanted)

    def chain(self, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
        a, b = old.network, new.network
        assert isinstance(a, Chain)
        assert isinstance(b, Chain)
        if [one.inputs for one in a.cells] != [one.inputs for one in b.cells]:
            return replaced(self.transfer, old, new, flow, wanted)
        flows = [flow]
        for i, (one, other) in enumerate(zip(a.cells, b.cells, strict=True)):
            cells = _Cell.of(old, i, one), _Cell.of(new, i, other)
            into = [*latest(other.inputs, flows).values()]
            flows.append(self._cell(*cells, into, wanted))
        return flows[-1]

    def columns(self, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
        """Numbers and codes go their own ways, and are put side by side again."""
        if not flow.is_same or [*old.parts] != [*new.parts]:
            return replaced(self.transfer, old, new, flow, wanted)
        found = [
            self.part(old.parts[name], part, unchanged(part.into, part.into))
            for name, part in new.parts.items()
        ]
        starts = np.cumsum([0, *(width(one.before) for one in found)]).tolist()
        origins = [shifted(one.origin, start) for one, start in zip(found, starts, strict=False)]
        return Flow(old.out, new.out, torch.cat(origins))

    # Graphs

    def _cell(self, old: _Cell, new: _Cell, into: Sequence[Flow], wanted: Flow | None) -> Flow:
        """Node by node, by their names."""
        output = new.graph.output
        flows = dict(zip(new.graph.inputs, into, strict=True))
        if old.graph.inputs != new.graph.inputs or old.graph.output != output:
            position = new.parts[output].position
            self.transfer.lose(position, "a graph of other inputs, or of another output")
            return unknown(old.parts[old.graph.output].out, new.parts[output].out)
        before, now = old.graph.live(), new.graph.live()
        for name in now:
            if name in before:  # what is new is as it was drawn
                nodes = _Place.of(name, old), _Place.of(name, new)
                flows[name] = self._node(*nodes, flows, wanted if name == output else None)
        return flows[output]

    def _node(
        self, old: _Place, new: _Place, flows: Mapping[str, Flow], wanted: Flow | None
    ) -> Flow:
        """What flows together, and what is done to it then."""
        said, position = len(self.transfer.losses), new.then.position
        both = [source for source in new.edges if source in old.edges]
        shapes = old.then.into, new.then.into
        if old.combine != new.combine or not both:
            self.transfer.lose(position, "nothing flows together here as before")
            mixed = self.transfer.carried(unchanged(shapes[0], shapes[0]), *shapes)
        elif new.combine == "concat":
            found = {one: self.part(old.edges[one], new.edges[one], flows[one]) for one in both}
            mixed = _concatenated(old, new, found)
        else:
            last = wanted if is_neutral(new.then.network, positive=False) else None
            mixed = self._added(old, new, both, flows, last)
        mixed = self._looked_at(position, [flows[one] for one in both], mixed, said)
        return self.part(old.then, new.then, mixed, wanted)

    def _added(
        self, old: _Place, new: _Place, both: Sequence[str], flows: Mapping[str, Flow],
        wanted: Flow | None,
    ) -> Flow:  # fmt: skip
        """Edges that only hand channels on come first: the others can put out the same."""
        for gone in (source for source in old.edges if source not in new.edges):
            self.transfer.lose(new.then.position, f"nothing flows here from {gone} any more")
        found: list[Flow] = []
        for source in sorted(both, key=lambda one: _has_weights(new.edges[one])):
            found.append(self.part(old.edges[source], new.edges[source], flows[source], wanted))
            wanted = wanted or found[0]
        added = [edge for source, edge in new.edges.items() if source not in old.edges]
        for edge in added:
            ends = ends_of(edge)
            silence(ends or [])
            if ends is None:
                self.transfer.lose(edge.position, "an inserted edge cannot start silent")
        mixed = _sum(found, old.then.into, new.then.into)
        return replace(mixed, positive=not added and all(one.positive for one in found))


@dataclass(frozen=True)
class _Cell:
    """A graph and its parts by their names in it."""

    graph: Graph
    parts: Mapping[str, Part]

    @classmethod
    def of(cls, chain: Part, place: int, graph: Graph) -> _Cell:
        """The one at a place in a chain."""
        mark = f"{place}/"
        parts = {name: one for name, one in chain.parts.items() if name.startswith(mark)}
        return cls(graph, {name.removeprefix(mark): one for name, one in parts.items()})


@dataclass(frozen=True)
class _Place:
    """A node of a graph: its live edges by their sources, and what is done then."""

    combine: str
    edges: Mapping[str, Part]
    then: Part

    @classmethod
    def of(cls, name: str, cell: _Cell) -> _Place:
        sources = cell.graph.live()[name]
        edges = {source: cell.parts[edge_name(name, source)] for source in sources}
        return cls(cell.graph.nodes[name].combine, edges, cell.parts[name])


def _sum(flows: Sequence[Flow], before: Shape, now: Shape) -> Flow:
    """Channels that are the same in all; the others are none of the parent's."""
    if not all(flow.fits(width(before), width(now)) for flow in flows):
        return unknown(before, now)
    origin = flows[0].origin
    for flow in flows:
        origin = torch.where(flow.origin == origin, origin, NEW)
    return Flow(before, now, origin, all(flow.positive for flow in flows))


def _concatenated(old: _Place, new: _Place, found: Mapping[str, Flow]) -> Flow:
    """Channels side by side; those of an inserted edge are new."""
    widths = {source: width(edge.out) for source, edge in old.edges.items()}
    starts = dict(zip(widths, np.cumsum([0, *widths.values()]).tolist(), strict=False))
    origins = [
        shifted(found[source].origin, starts[source]) if source in found
        else unknown(edge.out, edge.out).origin
        for source, edge in new.edges.items()
    ]  # fmt: skip
    positive = len(found) == len(new.edges) and all(one.positive for one in found.values())
    return Flow(old.then.into, new.then.into, torch.cat(origins), positive)


def _is_known(network: Network) -> bool:
    """Whether it is known how channels go through."""
    return isinstance(network, tuple) or type(network) in HEIRS or type(network) in _COMPOSITES


def _has_weights(part: Part) -> bool:
    return any(isinstance(one, nn.Conv2d | nn.Linear) for one in part.module.modules())


_ROLES = ("expand", "filter", "squeeze", "project", "drop")


def _roles(part: Part) -> dict[str, Part]:
    """The layers of an `MBConv` by what they are for."""
    layer = part.network
    assert isinstance(layer, MBConv)
    there = (layer.expand != 1, True, layer.squeeze > 0, True, True)
    names = [role for role, is_there in zip(_ROLES, there, strict=True) if is_there]
    return dict(zip(names, items(part.parts["body"]), strict=False))


_COMPOSITES: Mapping[type[Layer], Callable[[_Walk, Part, Part, Flow, Flow | None], Flow]] = {
    Residual: _Walk.residual,
    MBConv: _Walk.mbconv,
    Graph: _Walk.graph,
    Chain: _Walk.chain,
    Columns: _Walk.columns,
}
