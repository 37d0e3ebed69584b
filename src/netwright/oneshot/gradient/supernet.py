"""Supernet: one module that holds every candidate; weights of options select the one it computes."""

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
from netwright.oneshot.gradient.mixed_ops import (
    ActiveWeights,
    CannotMix,
    CannotSplit,
    EdgeGate,
    MixedDepth,
    MixedOp,
)
from netwright.oneshot.gradient.relax_network import NetworkRelaxer, decisions_of
from netwright.space.candidate import Candidate, Value
from netwright.space.decision import Decision


class Supernet(nn.Module):
    """Supernet of an open network, in which every choice mixes its options by weight.

    Args:
        network: The open network.
        input_shape: Shape of a row, without the batch.
        prefix: Path of the network in the description of the space.
        channel_divisor: K of PC-DARTS (1907.05737): one channel in K goes through mixtures of
            layers, and the inputs of nodes have weights even where there is no choice among them,
            under paths of their own. It trains faster, but its weights fit no candidate.
        affine: Whether normalisations inside options scale and shift.
        held_values: Decision path -> value of decisions that no mixture can express; their defaults
            where there is none.
        **given: Numbers that only the task knows, as for `build`.

    Attributes:
        options: Path of each mixed decision -> number of its weights.
        n_chosen: Path of each mixed decision -> number of options a candidate has at most: 1, but
            for the inputs of a node.
        held: Path of each decision that is not mixed -> why. It has one value here, and in every
            candidate passed to `inherit`.

    Raises:
        SpaceError: Nothing is left to mix.

    Example:
        >>> supernet = nw.Supernet(nw.nas_bench_201(), (3, 32, 32), prefix="", outputs=10)
        >>> outputs = supernet(torch.randn(4, 3, 32, 32), supernet.uniform_weights())  # (4, 10)
    """

    def __init__(
        self,
        network: Network,
        input_shape: Shape,
        prefix: str = "network",
        *,
        channel_divisor: int = 1,
        affine: bool = True,
        held_values: Mapping[str, Value] | None = None,
        **given: object,
    ) -> None:
        super().__init__()
        self._decisions = decisions_of(network, prefix)
        self.held_values: Mapping[str, Value] = dict(held_values or {})
        self._active = ActiveWeights()
        self._shape, self._prefix, self._given = input_shape, prefix, given
        check_whole("channel_divisor", channel_divisor, 1)
        self.channel_divisor = channel_divisor
        held: dict[str, str] = {}
        full_channels: set[str] = set()
        while True:
            edges: dict[str, int] = {}
            relaxer = NetworkRelaxer(
                self._decisions,
                held,
                self._active,
                channel_divisor=channel_divisor,
                full_channels=full_channels,
                edges=edges if channel_divisor > 1 else None,
                values=self.held_values,
            )
            relaxed = relaxer.relax(network, prefix)
            if held.keys() & relaxer.mixed:  # one path at two positions, of which one cannot mix it
                continue
            try:
                self.module = build(relaxed, input_shape, **given)
                break
            except CannotMix as error:
                held |= dict.fromkeys(error.paths, str(error))
            except CannotSplit as error:
                full_channels.add(error.path)
        if not affine:
            _fix_affine(self.module)
        self.held: Mapping[str, str] = held
        self._edges = edges
        mixed = [decision for path, decision in self._decisions.items() if path in relaxer.mixed]
        self.options: Mapping[str, int] = {
            decision.path: decision.n_options for decision in mixed
        } | edges
        self.n_chosen: Mapping[str, int] = {
            decision.path: decision.max_chosen for decision in mixed
        } | edges
        if not mixed:
            paths = ", ".join([*self.held][:3]) or "none"
            fix = "Open a choice among layers, inputs or depths."
            raise SpaceError(
                expected("a network", "open in a choice that can be mixed", Phrase(paths), fix)
            )

    def forward(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """Return the output under weights. An option of weight 0 is not run.

        Args:
            x: A batch (rows, ...).
            weights: Path of each mixed decision -> weights (options,). Decisions inside options of
                weight 0 may be missing.

        Raises:
            InfeasibleCandidate: Nothing that has weight leads through a graph.
            InputError: Weights do not fit `options`.
        """
        with self.with_weights(weights):
            out: Tensor = self.module(x)
        return out

    @contextmanager
    def with_weights(self, weights: Mapping[str, Tensor]) -> Iterator[ActiveWeights]:
        """Set the weights of the supernet within a context.

        Args:
            weights: As of `forward`.

        Yields:
            The active weights, which the layers of the supernet read.

        Raises:
            InputError: Weights do not fit `options`.
        """
        self._check_weights(weights)
        self._active.set(weights)
        try:
            yield self._active
        finally:
            self._active.set({})

    def uniform_weights(self) -> dict[str, Tensor]:
        """Return the weights under which all options of a decision count the same."""
        return {path: torch.full((n,), self.n_chosen[path] / n) for path, n in self.options.items()}

    def one_hot(self, candidate: Candidate) -> dict[str, Tensor]:
        """Return the weights under which the supernet computes the candidate's network.

        Args:
            candidate: A candidate of the space.

        Returns:
            Path of each mixed decision -> (options,), 1 where chosen and 0 elsewhere. Decisions
            inside options that are not chosen are missing. The weights of a node's inputs that are
            no choice (see `channel_divisor`) are 1.

        Raises:
            InvalidCandidate: The candidate has another value than a held decision.
        """
        self._check_held_values(candidate)
        weights = {path: torch.ones(n_options) for path, n_options in self._edges.items()}
        for path, n_options in self.options.items():
            if path in candidate.values:  # else it is inside an option that is not chosen
                weights[path] = torch.zeros(n_options)
                chosen = self._decisions[path].option_indices(candidate.values[path])
                weights[path][[*chosen]] = 1.0
        return weights

    @torch.no_grad()
    def is_feasible(self, candidate: Candidate) -> bool:
        """Return whether anything leads through the candidate's network.

        Args:
            candidate: A candidate of the space.

        Raises:
            InvalidCandidate: The candidate has another value than a held decision.
        """
        was_training = self.training
        self.eval()
        try:
            device = next(self.parameters()).device
            self(torch.zeros(1, *self._shape, device=device), self.one_hot(candidate))
        except InfeasibleCandidate:
            return False
        finally:
            self.train(was_training)
        return True

    def build_standalone(self, description: object) -> nn.Module:
        """Build the network of a filled description, with weights of its own.

        Args:
            description: A filled description of the space; the network is at its path `prefix`.

        Returns:
            The module that `build` makes of the network.

        Raises:
            InfeasibleCandidate: A layer cannot take its input.
            SpaceError: A choice is still open.
        """
        network: Any = description
        for step in self._prefix.split(".") if self._prefix else ():
            if is_dataclass(network):
                network = getattr(network, step)
            else:
                network = network[int(step) if isinstance(network, tuple) else step]
        return build(network, self._shape, **self._given)

    def inherit(self, candidate: Candidate, module: nn.Module) -> None:
        """Copy the supernet's weights into the module that `build` made of the candidate.

        Args:
            candidate: A candidate of the space.
            module: Its module, as of `build_standalone`; changed in place.

        Raises:
            InputError: The supernet has a `channel_divisor`: its weights fit no candidate.
            InvalidCandidate: The candidate has another value than a held decision.
        """
        if self.channel_divisor > 1:
            raise InputError(
                "weights must be of all channels to be inherited, got those of one in "
                f"{self.channel_divisor}. Use channel_divisor=1."
            )
        self._check_held_values(candidate)
        _copy_weights(self.module, module, candidate, self._decisions)

    def has_decision(self, path: str) -> bool:
        """Return whether the decision is one of the network's.

        Args:
            path: Path of a decision of the space.
        """
        return path in self._decisions

    def held_value(self, path: str) -> Value:
        """Return the value that a decision of the network has when it is held.

        Args:
            path: Path of one of the network's decisions.

        Returns:
            Its value in `held_values`; else its default, the first option or lowest number.
        """
        if path in self.held_values:
            return self.held_values[path]
        return self._decisions[path].from_unit(0.0)

    def _check_held_values(self, candidate: Candidate) -> None:
        for path, why in self.held.items():
            held_value = self.held_value(path)
            if path in candidate.values and candidate.values[path] != held_value:
                raise InvalidCandidate(
                    expected(path, f"{held_value!r} here", candidate.values[path], f"{why}."),
                    path,
                    candidate.values[path],
                )

    def _check_weights(self, weights: Mapping[str, Tensor]) -> None:
        for path, option_weights in weights.items():
            if path not in self.options:
                fix = closest(path, self.options) or f"It has: {', '.join(self.options)}."
                raise InputError(expected("weights", "of decisions that are mixed", path, fix))
            if option_weights.shape != (self.options[path],):
                rule = f"of shape ({self.options[path]},)"
                raise InputError(expected(f"weights of {path}", rule, tuple(option_weights.shape)))


def _fix_affine(module: nn.Module) -> None:
    """Fix scale and shift of the normalisations inside mixed operations at 1 and 0."""
    for built in module.modules():
        if isinstance(built, CompositeModule) and isinstance(built.layer, MixedOp):
            for submodule in built.modules():
                if isinstance(submodule, _NORMS):
                    for parameter in submodule.parameters(recurse=False):
                        parameter.requires_grad = False


_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def _copy_weights(
    source: nn.Module,
    target: nn.Module,
    candidate: Candidate,
    decisions: Mapping[str, Decision],
) -> None:
    """Copy weights from a supernet's module to a candidate's, in a parallel walk through both.

    In `source` a layer in place of a choice is replaced by what the candidate chooses.
    """
    layer = source.layer if isinstance(source, CompositeModule) else None
    if isinstance(source, CompositeModule) and isinstance(layer, MixedOp):
        indices = (
            decisions[path].option_indices(candidate.values[path])
            for path, _ in layer.selections[0]
        )
        chosen = [index for (index,) in indices]
        selections = [[index for _, index in selection] for selection in layer.selections]
        pairs = [(source.parts[str(selections.index(chosen))], target)]
    elif isinstance(source, CompositeModule) and isinstance(layer, EdgeGate):
        pairs = [(source.parts["body"], target)]
    elif isinstance(source, CompositeModule) and isinstance(layer, MixedDepth):
        pairs = [(source.parts[str(i)], copy) for i, copy in enumerate(target.children())]
    elif isinstance(source, CompositeModule) and isinstance(target, CompositeModule):
        # edges of weight 0 are not in the target
        pairs = [(source.parts[name], module) for name, module in target.parts.items()]
    elif any(isinstance(module, CompositeModule) for module in source.modules()):
        pairs = [*zip(source.children(), target.children(), strict=True)]
    else:
        pairs = []
        target.load_state_dict(source.state_dict())
    for source_part, target_part in pairs:
        _copy_weights(source_part, target_part, candidate, decisions)
