"""One module that holds every candidate: weights of the choices say which of them it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netwright.errors import (
    InfeasibleCandidate,
    InputError,
    InvalidCandidate,
    Phrase,
    SpaceError,
    check_whole,
    closest,
    expected,
)
from netwright.networks.build import CompositeModule, build
from netwright.networks.interfaces.layer import Network
from netwright.networks.interfaces.shapes import Shape
from netwright.oneshot.gradient.mixed_ops import CannotMix, CannotSplit, Current, Depth, Gate, Mixed
from netwright.oneshot.gradient.relax_network import Relaxing, decisions_of
from netwright.space.candidate import Candidate, Value
from netwright.space.decision import Decision


class Supernet(nn.Module):
    """The supernet of an open network, made by the builder of every other network.

    `options`: path of each decision that is mixed -> how many weights it takes; `kept`: how many of
    them a candidate has at most, 1 but for the inputs of a node. `held`: paths of decisions that no
    mixture can express -> why; here and in every candidate that `inherit` is asked for they have
    their `held_values`, path -> value, and where there is none their defaults. `prefix`: where the
    network stands in the description of the space. Raises SpaceError when nothing is left to mix.

    `partial`: only one of so many parts of the channels goes through a mixture of layers, and the
    inputs of nodes have weights even where there is no choice among them, under paths of their own
    (PC-DARTS); it trains faster, and its weights are those of no candidate. `affine` False: the
    normalisations inside of options neither scale nor shift.
    """

    def __init__(
        self, network: Network, input_shape: Shape, prefix: str = "network", *,
        channel_divisor: int = 1, affine: bool = True, held_values: Mapping[str, Value] | None = None,
        **given: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self._decisions = decisions_of(network, prefix)
        self.held_values: Mapping[str, Value] = dict(held_values or {})
        self._current = Current()
        self._shape, self._prefix, self._given = input_shape, prefix, given
        check_whole("partial", channel_divisor, 1)
        self.channel_divisor = channel_divisor
        held: dict[str, str] = {}
        whole: set[str] = set()
        while True:
            edges: dict[str, int] = {}
            relaxing = Relaxing(
                self._decisions, held, self._current, share=channel_divisor, whole=whole,
                edges=edges if channel_divisor > 1 else None, values=self.held_values,
            )  # fmt: skip
            relaxed = relaxing.network(network, prefix)
            if held.keys() & relaxing.mixed:  # shared by places of which one cannot mix it
                continue
            try:
                self.module = build(relaxed, input_shape, **given)
                break
            except CannotMix as error:
                held |= dict.fromkeys(error.paths, str(error))
            except CannotSplit as error:
                whole.add(error.path)
        if not affine:
            _without_scales(self.module)
        self.held: Mapping[str, str] = held
        self._edges = edges
        mixed = [one for path, one in self._decisions.items() if path in relaxing.mixed]
        self.options: Mapping[str, int] = {one.path: one.n_options for one in mixed} | edges
        self.n_chosen: Mapping[str, int] = {one.path: one.max_chosen for one in mixed} | edges
        if not mixed:
            paths = ", ".join([*self.held][:3]) or "none"
            fix = "Open a choice among layers, inputs or depths."
            raise SpaceError(
                expected("a network", "open in a choice that can be mixed", Phrase(paths), fix)
            )

    def forward(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """The output under weights: path -> (options,). An option of weight 0 is not run.

        Decisions inside options of weight 0 need none. Raises InfeasibleCandidate where nothing
        that has weight leads through a graph, InputError for weights that do not fit `options`.
        """
        with self.with_weights(weights):
            out: Tensor = self.module(x)
        return out

    @contextmanager
    def with_weights(self, weights: Mapping[str, Tensor]) -> Iterator[Current]:
        """A context in which these weights hold."""
        self._check_weights(weights)
        self._current.set(weights)
        try:
            yield self._current
        finally:
            self._current.set({})

    def uniform_weights(self) -> dict[str, Tensor]:
        """The weights under which every option counts the same."""
        return {path: torch.full((n,), self.n_chosen[path] / n) for path, n in self.options.items()}

    def one_hot(self, candidate: Candidate) -> dict[str, Tensor]:
        """The weights under which the supernet is the candidate's network."""
        self._check(candidate)
        found = {path: torch.ones(size) for path, size in self._edges.items()}
        for path, size in self.options.items():
            if path in candidate.values:  # else it is inside an option that is not chosen
                found[path] = torch.zeros(size)
                chosen = self._decisions[path].option_indices(candidate.values[path])
                found[path][[*chosen]] = 1.0
        return found

    @torch.no_grad()
    def is_feasible(self, candidate: Candidate) -> bool:
        """Whether anything comes out of the candidate's network."""
        before = self.training
        self.eval()
        try:
            device = next(self.parameters()).device
            self(torch.zeros(1, *self._shape, device=device), self.one_hot(candidate))
        except InfeasibleCandidate:
            return False
        finally:
            self.train(before)
        return True

    def build_standalone(self, description: Any) -> nn.Module:
        """A module of its own, untrained, of the network in a filled description of the space."""
        part = description
        for step in self._prefix.split(".") if self._prefix else ():
            if is_dataclass(part):
                part = getattr(part, step)
            else:
                part = part[int(step) if isinstance(part, tuple) else step]
        return build(part, self._shape, **self._given)

    def inherit(self, candidate: Candidate, module: nn.Module) -> None:
        """Copies the supernet's weights into the module that `build` made of the candidate."""
        if self.channel_divisor > 1:
            raise InputError(
                f"weights must be of whole channels to be inherited, got those of one in "
                f"{self.channel_divisor}. Use partial=1."
            )
        self._check(candidate)
        _copy(self.module, module, candidate, self._decisions)

    def decides(self, path: str) -> bool:
        """Whether the decision is one of the network."""
        return path in self._decisions

    def held_value(self, path: str) -> Value:
        """The value of a decision of the network where it is held."""
        if path in self.held_values:
            return self.held_values[path]
        return self._decisions[path].from_unit(0.0)

    def _check(self, candidate: Candidate) -> None:
        for path, why in self.held.items():
            held = self.held_value(path)
            if path in candidate.values and candidate.values[path] != held:
                raise InvalidCandidate(
                    expected(path, f"{held!r} here", candidate.values[path], f"{why}."),
                    path, candidate.values[path],
                )  # fmt: skip

    def _check_weights(self, weights: Mapping[str, Tensor]) -> None:
        for path, one in weights.items():
            if path not in self.options:
                fix = closest(path, self.options) or f"It has: {', '.join(self.options)}."
                raise InputError(expected("weights", "of decisions that are mixed", path, fix))
            if one.shape != (self.options[path],):
                rule = f"of shape ({self.options[path]},)"
                raise InputError(expected(f"weights of {path}", rule, tuple(one.shape)))


def _without_scales(module: nn.Module) -> None:
    """Normalisations inside of mixtures keep their scale of 1 and shift of 0."""
    for one in module.modules():
        if isinstance(one, CompositeModule) and isinstance(one.layer, Mixed):
            for part in one.modules():
                if isinstance(part, _NORMS):
                    for parameter in part.parameters(recurse=False):
                        parameter.requires_grad_(False)


_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def _copy(
    ours: nn.Module, theirs: nn.Module, candidate: Candidate, decisions: Mapping[str, Decision]
) -> None:
    """Side by side through both: what stands for a choice is stepped through."""
    layer = ours.layer if isinstance(ours, CompositeModule) else None
    if isinstance(ours, CompositeModule) and isinstance(layer, Mixed):
        places = (
            decisions[path].option_indices(candidate.values[path]) for path, _ in layer.picks[0]
        )
        wanted = [place for (place,) in places]
        option = [[place for _, place in pick] for pick in layer.picks].index(wanted)
        pairs = [(ours.parts[str(option)], theirs)]
    elif isinstance(ours, CompositeModule) and isinstance(layer, Gate):
        pairs = [(ours.parts["body"], theirs)]
    elif isinstance(ours, CompositeModule) and isinstance(layer, Depth):
        pairs = [(ours.parts[str(i)], part) for i, part in enumerate(theirs.children())]
    elif isinstance(ours, CompositeModule) and isinstance(theirs, CompositeModule):
        # those of dead edges were not built
        pairs = [(ours.parts[name], part) for name, part in theirs.parts.items()]
    elif any(isinstance(one, CompositeModule) for one in ours.modules()):
        pairs = [*zip(ours.children(), theirs.children(), strict=True)]
    else:
        pairs = []
        theirs.load_state_dict(ours.state_dict())
    for one, other in pairs:
        _copy(one, other, candidate, decisions)
