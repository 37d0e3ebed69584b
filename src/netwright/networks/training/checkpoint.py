"""Checkpoints of a training, so that it goes on after a kill: safetensors, no pickles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from netwright.errors import BrokenFile, expected
from netwright.files.arrays import read_tensors
from netwright.files.folder import Folder
from netwright.files.json_files import from_plain, parse
from netwright.files.run_layout import TRAINING_CHECKPOINT
from netwright.networks.training.optimizer_state import (
    load_optimizer_tensors,
    optimizer_tensors,
    parameters_of,
)

_STATE = "state"
"""Key of the numbers in the file's metadata."""
_OPTIMIZER = "optimizer"
"""Key of the optimiser's class and of the shapes of its parameters."""


@dataclass(frozen=True)
class TrainingState:
    """Numbers of a training that is not over.

    Args:
        progress: Share of the training that is over, in [0, 1).
        step: Optimisation steps so far.
    """

    progress: float
    step: int

    def __post_init__(self) -> None:
        if not (0 <= self.progress < 1 and self.step >= 0):
            raise ValueError(expected("a training's state", "of a training that is not over", self))


def read_state(folder: Path) -> TrainingState | None:
    """Return the numbers of the checkpoint in a folder; None if there is none, or it is damaged."""
    if not Folder(folder).has_file(TRAINING_CHECKPOINT):
        return None
    try:
        return _state_of(read_tensors(Folder(folder), TRAINING_CHECKPOINT).metadata)
    except BrokenFile:
        return None


def _state_of(metadata: Mapping[str, str]) -> TrainingState:
    return from_plain(
        parse(metadata.get(_STATE, ""), TRAINING_CHECKPOINT), TrainingState, TRAINING_CHECKPOINT
    )


def save_checkpoint(
    folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState
) -> None:
    """Replace the checkpoint in a folder: the file is complete, or as it was."""
    from safetensors.torch import save

    tensors = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    of_optimizer = optimizer_tensors(optimizer)
    tensors |= {f"optimizer.{name}": tensor for name, tensor in of_optimizer.items()}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {_STATE: json.dumps(asdict(state)), _OPTIMIZER: _signature(optimizer)}
    content = save(plain, metadata=metadata)
    Folder(folder).write(TRAINING_CHECKPOINT, content)


def load_checkpoint(
    folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer
) -> TrainingState | None:
    """Set module and optimiser to the checkpoint in a folder.

    Returns:
        Its numbers; None, with nothing set, if there is no checkpoint of this network and this kind
        of optimiser. One that is damaged is no reason not to train.
    """
    from safetensors import SafetensorError
    from safetensors import torch as safetensors_torch

    if not Folder(folder).has_file(TRAINING_CHECKPOINT):
        return None
    try:
        file = read_tensors(Folder(folder), TRAINING_CHECKPOINT)
        state = _state_of(file.metadata)
        tensors = safetensors_torch.load(file.content)
    except (BrokenFile, SafetensorError):
        return None
    module_state = _with_prefix("module.", tensors)
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    has_same_module = {name: tensor.shape for name, tensor in module_state.items()} == shapes
    if not has_same_module or file.metadata.get(_OPTIMIZER) != _signature(optimizer):
        return None
    try:
        load_optimizer_tensors(optimizer, _with_prefix("optimizer.", tensors))
    except ValueError:
        return None
    module.load_state_dict(module_state)
    return state


def _signature(optimizer: torch.optim.Optimizer) -> str:
    """Return the optimiser's class and the shapes of its parameters: who can read its state."""
    optimizer_type = type(optimizer)
    shapes = [tuple(parameter.shape) for parameter in parameters_of(optimizer)]
    return json.dumps([f"{optimizer_type.__module__}.{optimizer_type.__qualname__}", shapes])


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with the prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
