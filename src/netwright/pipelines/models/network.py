"""Networks as models of a pipeline: built and trained by a `Training`, written as ONNX by torch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netwright.errors import BrokenFile, InfeasibleCandidate, Phrase, expected
from netwright.files.arrays import read_tensors
from netwright.files.folder import Folder
from netwright.files.run_layout import WEIGHTS
from netwright.networks.build import build
from netwright.networks.morphism.morph import Inheritance, morph
from netwright.networks.tabular.batch_ensemble import predict_members, select_members
from netwright.networks.tabular.batch_ensemble import prune_members as prune_module
from netwright.networks.training.data_dependent_init import initialize_from_data as start_from_data
from netwright.networks.training.loop import LabelledData, LearningCurve, predict, train
from netwright.networks.training.recipe import Training
from netwright.pipelines.interfaces import Arrays, InputSpec
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.onnx.torch_export import onnx_graph

OTHERWISE = "its inputs are prepared otherwise"
"""Why a network may not compute what its parent did, though it could."""


class Standardise(nn.Module):
    """Scales each channel of images (batch, c, h, w) of 0 to 255 to mean 0 and deviation 1."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[None, :, None, None])
        self.register_buffer("std", torch.tensor(std)[None, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return (x.float() - self.mean) / self.std


@dataclass(frozen=True)
class FittedNetwork:
    """A trained network, in evaluation mode on the CPU."""

    module: nn.Module
    inputs: InputSpec
    curve: LearningCurve | None = None

    def outputs(self, inputs: Arrays) -> NDArray[np.float32]:
        """(rows, outputs) raw scores."""
        scores: NDArray[np.float32] = predict(self.module, torch.from_numpy(inputs)).numpy()
        return scores

    def to_onnx(self, nodes: OnnxGraphBuilder, name: str) -> str:
        """The network's nodes, written by torch; `name` is its float32 input."""
        graph = onnx_graph(self.module, self.inputs.shape)
        return nodes.inline(graph, {graph.input[0].name: name})[0]

    def save(self, folder: Path) -> None:
        """The weights, as safetensors."""
        from safetensors.torch import save_file

        state = {name: tensor.contiguous() for name, tensor in self.module.state_dict().items()}
        save_file(state, folder / WEIGHTS)


def build_module(recipe: Training, inputs: InputSpec) -> nn.Module:
    """The untrained module: scaling of the channels, where there is any, and the network."""
    return _scaled(build(recipe.network, inputs.shape, **inputs.given), inputs)


def inherit(
    recipe: Training, inputs: InputSpec, old: Training, parent: FittedNetwork, rows: Arrays, *,
    seed: int,
) -> tuple[nn.Module, Inheritance]:  # fmt: skip
    """As `assemble`, with the weights of the network that was fitted by the recipe `old`.

    `rows`: some of the training inputs. Where the parent was told other inputs nothing is inherited.
    """
    if parent.inputs != inputs:
        return _drawn(recipe, inputs, seed), Inheritance(0.0, (OTHERWISE,))
    seen, module = torch.from_numpy(rows), parent.module
    if inputs.mean:
        seen = module.get_submodule("scale")(seen)
        module = module.get_submodule("network")
    network, found = morph(
        module,
        old.network,
        recipe.network,
        inputs.shape,
        seed=seed,
        calibration_rows=seen,
        **inputs.given,
    )
    return _scaled(network, inputs), found


def _scaled(network: nn.Module, inputs: InputSpec) -> nn.Module:
    if not inputs.mean:
        return network
    scale = Standardise(inputs.mean, inputs.std)
    module = nn.Sequential()
    module.add_module("scale", scale)
    module.add_module("network", network)
    return module


def fit(
    recipe: Training,
    inputs: InputSpec,
    rows: LabelledData,
    held_out: Arrays,
    score: Callable[[Arrays], float],
    *,
    seed: int,
    fidelity: float = 1.0,
    deadline: float = math.inf,
    initial_module: nn.Module | None = None,
) -> FittedNetwork:
    """Builds and trains; `score` judges raw outputs (rows, outputs) for `held_out`, less is better.

    `start`: the module to be trained, in place of a new one. Raises InfeasibleCandidate when the
    network cannot be built, diverges or does not fit in memory.
    """
    module = initial_module
    if module is None:
        module = _drawn(recipe, inputs, seed)
        start_from_data(module, rows, seed)
    try:
        curve = train(
            recipe, module, rows, torch.from_numpy(held_out), lambda out: score(out.numpy()),
            seed=seed, fidelity=fidelity, deadline=deadline,
        )  # fmt: skip
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise InfeasibleCandidate(f"training did not fit in memory: {error}") from error
        raise
    return FittedNetwork(module, inputs, curve)


def prune_members(
    model: FittedNetwork, rows: Arrays, score: Callable[[Arrays], float], keep: int
) -> FittedNetwork:
    """The network with `keep` of its members, those with the least `score` of their raw outputs."""
    each = predict_members(model.module, torch.from_numpy(rows))
    chosen = select_members(each, keep, lambda out: score(out.numpy()))
    module = copy.deepcopy(model.module)
    prune_module(module, chosen)
    return FittedNetwork(module, model.inputs)


def _drawn(recipe: Training, inputs: InputSpec, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # weights are drawn from the global generator
        torch.manual_seed(seed)
        return build_module(recipe, inputs)


def load(recipe: Training, inputs: InputSpec, folder: Path) -> FittedNetwork:
    """The network that `FittedNetwork.save` wrote, for the same recipe and inputs."""
    from safetensors import torch as safetensors_torch

    module = build_module(recipe, inputs)
    state = safetensors_torch.load(read_tensors(Folder(folder), WEIGHTS).content)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:  # a line for each tensor that does not fit
        rule = "the weights of the trial's network"
        raise BrokenFile(
            expected(str(folder / WEIGHTS), rule, Phrase("those of another one"))
        ) from error
    return FittedNetwork(module.eval(), inputs)
