"""Networks as models of a pipeline: trained by a `Training`, exported to ONNX by torch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from netwright.networks.training.compute_settings import (
    default_settings,
    fastest_settings,
    step_seconds,
    threads,
)
from netwright.networks.training.data_dependent_init import initialize_from_data
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.loop import LearningCurve, predict, train
from netwright.networks.training.recipe import Training
from netwright.pipelines.interfaces import Arrays, InputSpec
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.onnx.torch_export import onnx_graph

PREPROCESSING_DIFFERS = "its inputs are preprocessed differently"
"""Reason why a network that inherited all weights may still not compute what its parent did."""


class MirrorAverage(nn.Module):
    """The mean scores of an image and of its mirror image; in training those of the image alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.network(x)  # (batch, outputs)
        if self.training:
            return scores
        mirrored = x.flip(-1).contiguous(memory_format=torch.channels_last)
        mirror_scores: Tensor = self.network(mirrored)
        return (scores + mirror_scores) / 2


class Standardise(nn.Module):
    """Standardize each channel of images (batch, c, h, w) with levels of 0 to 255."""

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
    """A trained network, in evaluation mode on the CPU.

    Args:
        module: the network, behind its `Standardise` for images.
        input_spec: the shape of its inputs and the sizes that the task dictates.
        curve: its learning curve; None if it was loaded or pruned.
        validation_outputs: raw scores (validation rows, outputs) of the weights that were kept,
            which the training has computed; None if it was loaded or pruned.
    """

    module: nn.Module
    input_spec: InputSpec
    curve: LearningCurve | None = None
    validation_outputs: NDArray[np.float32] | None = None

    def outputs(self, inputs: Arrays) -> NDArray[np.float32]:
        """Return raw scores (rows, outputs)."""
        scores: NDArray[np.float32] = predict(self.module, torch.from_numpy(inputs)).numpy()
        return scores

    def to_onnx(self, builder: OnnxGraphBuilder, name: str) -> str:
        """As `FittedModel.to_onnx`; the nodes are those of torch's exporter."""
        graph = onnx_graph(self.module, self.input_spec.shape)
        return builder.inline(graph, {graph.input[0].name: name})[0]

    def save(self, folder: Path) -> None:
        """Write the weights as safetensors."""
        from safetensors.torch import save_file

        state = {name: tensor.contiguous() for name, tensor in self.module.state_dict().items()}
        save_file(state, folder / WEIGHTS)


def build_module(recipe: Training, input_spec: InputSpec) -> nn.Module:
    """Build the untrained network, behind a `Standardise` for images."""
    network = build(recipe.network, input_spec.shape, **input_spec.given)
    return _complete_module(network, recipe, input_spec)


def inherit(
    recipe: Training,
    input_spec: InputSpec,
    parent_recipe: Training,
    parent: FittedNetwork,
    calibration_inputs: Arrays,
    *,
    seed: int,
) -> tuple[nn.Module, Inheritance]:
    """Build the network with the weights of a parent's.

    Args:
        recipe: the child's network and training.
        input_spec: the child's inputs; if the parent's differ, nothing is inherited.
        parent_recipe: the network and training of the parent.
        parent: the fitted parent.
        calibration_inputs: some training inputs, on which inserted layers are calibrated.
        seed: draws what is not inherited.

    Returns:
        The untrained module and what it has inherited.
    """
    if parent.input_spec != input_spec:
        module = _build_seeded(recipe, input_spec, seed)
        return module, Inheritance(0.0, (PREPROCESSING_DIFFERS,))
    calibration_rows, parent_module = torch.from_numpy(calibration_inputs), parent.module
    if input_spec.mean:
        calibration_rows = parent_module.get_submodule("scale")(calibration_rows)
        parent_module = parent_module.get_submodule("network")
    if isinstance(parent_module, MirrorAverage):
        parent_module = parent_module.network
    network, inheritance = morph(
        parent_module,
        parent_recipe.network,
        recipe.network,
        input_spec.shape,
        seed=seed,
        calibration_rows=calibration_rows,
        **input_spec.given,
    )
    return _complete_module(network, recipe, input_spec), inheritance


def _complete_module(network: nn.Module, recipe: Training, input_spec: InputSpec) -> nn.Module:
    """Add what a network of images needs: standardised channels and the recipe's views."""
    if not input_spec.mean:
        return network
    if recipe.averages_mirror_image:
        network = MirrorAverage(network)
    module = nn.Sequential()
    module.add_module("scale", Standardise(input_spec.mean, input_spec.std))
    module.add_module("network", network)
    return module


def fit(
    recipe: Training,
    input_spec: InputSpec,
    train_set: LabelledData,
    validation_inputs: Arrays,
    validation_loss: Callable[[Arrays], float],
    *,
    seed: int,
    fidelity: float = 1.0,
    deadline: float = math.inf,
    initial_module: nn.Module | None = None,
    checkpoint_folder: Path | None = None,
) -> FittedNetwork:
    """Build and train a network.

    Args:
        recipe: the network and how it is trained.
        input_spec: the shape of its inputs and the sizes that the task dictates.
        train_set: the training rows.
        validation_inputs: the inputs of the validation rows.
        validation_loss: loss of raw scores (rows, outputs) for these.
        seed: draws the initial weights, batches and dropout.
        fidelity: share of the epochs, in (0, 1].
        deadline: seconds of `time.monotonic()` by which the training ends.
        initial_module: the module to train; None to build a new one.
        checkpoint_folder: see `train`.

    Raises:
        InfeasibleCandidate: The network cannot be built, diverges or does not fit in memory.
    """
    module = initial_module
    if module is None:
        module = _build_seeded(recipe, input_spec, seed)
        initialize_from_data(module, train_set, seed)
    loss = _RememberingLoss(validation_loss)
    try:
        curve = train(
            recipe,
            module,
            train_set,
            torch.from_numpy(validation_inputs),
            loss,
            seed=seed,
            fidelity=fidelity,
            deadline=deadline,
            checkpoint_folder=checkpoint_folder,
        )
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise InfeasibleCandidate(f"training did not fit in memory: {error}") from error
        raise
    outputs = loss.last if recipe.select == "last" else loss.best
    return FittedNetwork(module, input_spec, curve, outputs)


def training_rows_per_second(
    recipe: Training, input_spec: InputSpec, inputs: Arrays, n_threads: int
) -> float:
    """Measure how many rows of images a second a network trains on, by timing a few steps.

    Args:
        recipe: the network and its batch size.
        input_spec: the shape of its inputs and the sizes that the task dictates.
        inputs: pixels (n, channels, height, width) of some training images.
        n_threads: threads of PyTorch on the CPU.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = _build_seeded(recipe, input_spec, seed=0).to(device).train()
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    batch = torch.from_numpy(inputs[: recipe.batch_size]).to(device)
    settings = default_settings(device)
    if device.type == "cpu":
        with threads(n_threads):
            settings = fastest_settings(module, batch)
        settings = replace(settings, n_threads=settings.n_threads or n_threads)
    optimizer = recipe.optimizer.make(module, recipe.lr)
    return len(batch) / step_seconds(module, batch, settings, optimizer=optimizer)


class _RememberingLoss:
    """A validation loss that keeps the outputs of the last call, and of the smallest loss."""

    def __init__(self, loss: Callable[[Arrays], float]) -> None:
        self._loss, self._best_loss = loss, math.inf
        self.last: NDArray[np.float32] | None = None
        self.best: NDArray[np.float32] | None = None

    def __call__(self, outputs: Tensor) -> float:
        self.last = outputs.numpy()
        loss = self._loss(self.last)
        if self.best is None or loss < self._best_loss:  # the first of equals, as in `train`
            self.best, self._best_loss = self.last, loss
        return loss


def prune_members(
    model: FittedNetwork, inputs: Arrays, loss: Callable[[Arrays], float], keep: int
) -> FittedNetwork:
    """Return the network with `keep` of its members, chosen greedily by the loss of their scores.

    Args:
        model: a network of members (TabM); it is not changed.
        inputs: the rows to choose by.
        loss: loss of raw scores (rows, outputs) for these rows.
        keep: number of members to keep.
    """
    outputs = predict_members(model.module, torch.from_numpy(inputs))
    selected = select_members(outputs, keep, lambda scores: loss(scores.numpy()))
    module = copy.deepcopy(model.module)
    prune_module(module, selected)
    return FittedNetwork(module, model.input_spec)


def _build_seeded(recipe: Training, input_spec: InputSpec, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # weights are drawn from the global generator
        torch.manual_seed(seed)
        return build_module(recipe, input_spec)


def load(recipe: Training, input_spec: InputSpec, folder: Path) -> FittedNetwork:
    """Load what `FittedNetwork.save` wrote, for the same recipe and inputs.

    Raises:
        BrokenFile: The file is damaged, or its weights do not fit the network.
    """
    from safetensors import torch as safetensors_torch

    module = build_module(recipe, input_spec)
    state = safetensors_torch.load(read_tensors(Folder(folder), WEIGHTS).content)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:  # torch writes a line for each tensor that does not fit
        rule, got = "the weights of the trial's network", Phrase("those of another network")
        raise BrokenFile(expected(str(folder / WEIGHTS), rule, got)) from error
    return FittedNetwork(module.eval(), input_spec)
