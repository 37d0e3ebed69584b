"""One module that holds every candidate: weights of the choices say which of them it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from netwright.errors import InvalidCandidate, SpaceError, expected
from netwright.networks.build import Built, build
from netwright.networks.layers import Network, Shape
from netwright.oneshot.relaxed import CannotMix, Current, Depth, Gate, Mixed, Places, Relaxing
from netwright.space.candidate import Candidate


class Supernet(nn.Module):
    """The supernet of an open network, made by the builder of every other network.

    `options`: path of each decision that is mixed -> how many weights it takes; `kept`: how many of
    them a candidate has at most, 1 but for the inputs of a node. `held`: paths of
    decisions that no mixture can express -> why; they have their defaults, here and in every
    candidate that `inherit` is asked for. `prefix`: where the network stands in the description of
    the space. Raises SpaceError when nothing is left to mix.
    """

    def __init__(
        self, network: Network, input_shape: Shape, prefix: str = "network", **given: Any
    ) -> None:
        super().__init__()
        self.places = Places(network, prefix)
        self._current = Current()
        held: dict[str, str] = {}
        while True:
            relaxing = Relaxing(self.places, held, self._current)
            relaxed = relaxing.network(network, prefix)
            try:
                self.module = build(relaxed, input_shape, **given)
                break
            except CannotMix as error:
                if not error.paths:
                    raise
                held |= dict.fromkeys(error.paths, str(error))
        self.options: Mapping[str, int] = relaxing.mixed
        self.held: Mapping[str, str] = relaxing.held
        self.kept: Mapping[str, int] = {path: self.places.most(path) for path in self.options}
        if not self.options:
            paths = ", ".join([*self.held][:3]) or "none"
            raise SpaceError(
                expected("a network", "open in a choice that can be mixed", paths)
                + " Open a choice among layers, inputs or depths."
            )

    def forward(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """The output under weights: path -> (options,). An option of weight 0 is not run.

        Raises InfeasibleCandidate where nothing that has weight leads through a graph.
        """
        self._current.set(weights)
        try:
            out: Tensor = self.module(x)
        finally:
            self._current.set({})
        return out

    def one_hot(self, candidate: Candidate) -> dict[str, Tensor]:
        """The weights under which the supernet is the candidate's network."""
        self._check(candidate)
        found = {}
        for path, size in self.options.items():
            if path not in candidate.values:
                continue  # inside an option that is not chosen
            value = candidate.values[path]
            weights = torch.zeros(size)
            weights[self.places.chosen(path, value)] = 1.0
            found[path] = weights
        return found

    def inherit(self, candidate: Candidate, module: nn.Module) -> None:
        """Copies the supernet's weights into the module that `build` made of the candidate."""
        self._check(candidate)
        _copy(self.module, module, candidate, self.places)

    def _check(self, candidate: Candidate) -> None:
        for path, why in self.held.items():
            default = self.places.default(path)
            if path in candidate.values and candidate.values[path] != default:
                raise InvalidCandidate(
                    expected(path, f"{default!r} here", candidate.values[path], f"{why}."),
                    path, candidate.values[path],
                )  # fmt: skip


def _copy(ours: nn.Module, theirs: nn.Module, candidate: Candidate, places: Places) -> None:
    """Side by side through both: what stands for a choice is stepped through."""
    layer = ours.layer if isinstance(ours, Built) else None
    if isinstance(ours, Built) and isinstance(layer, Mixed):
        place = layer.chosen(candidate.values, places)
        _copy(ours.parts[str(place)], theirs, candidate, places)
    elif isinstance(ours, Built) and isinstance(layer, Gate):
        _copy(ours.parts["body"], theirs, candidate, places)
    elif isinstance(ours, Built) and isinstance(layer, Depth):
        for i, (_, part) in enumerate(theirs.named_children()):
            _copy(ours.parts[str(i)], part, candidate, places)
    elif isinstance(ours, Built) and isinstance(theirs, Built):
        for name, part in theirs.parts.items():  # those of dead edges were not built
            _copy(ours.parts[name], part, candidate, places)
    elif any(isinstance(one, Built) for one in ours.modules()):
        pairs = zip(ours.children(), theirs.children(), strict=True)
        for one, other in pairs:
            _copy(one, other, candidate, places)
    else:
        theirs.load_state_dict(ours.state_dict())
