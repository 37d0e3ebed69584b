"""Checkpoints of a training, so that it goes on after a kill: safetensors, no pickles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from netwright.errors import BrokenFile
from netwright.files.arrays import read_tensors
from netwright.files.folder import Folder
from netwright.files.json_files import from_plain, parse
from netwright.files.run_layout import TRAINING_CHECKPOINT

_STATE = "state"
"""Key of the numbers in the file's metadata."""


@dataclass(frozen=True)
class TrainingState:
    """Numbers of a training that is not over.

    Args:
        progress: Share of the training that is over, in [0, 1).
        step: Optimisation steps so far.
        seconds: Wall time so far.
    """

    progress: float
    step: int
    seconds: float


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
    for index, entries in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in entries.items()}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(plain, metadata={_STATE: json.dumps(asdict(state))})
    Folder(folder).write(TRAINING_CHECKPOINT, content)


def load_checkpoint(
    folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer
) -> TrainingState | None:
    """Set module and optimiser to the checkpoint in a folder.

    Returns:
        Its numbers; None, with nothing set, if there is no checkpoint of this network. One that is
        damaged is no reason not to train.
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
    if {name: tensor.shape for name, tensor in module_state.items()} != shapes:
        return None
    entries: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _with_prefix("optimizer.", tensors).items():
        index, _, name = key.partition(".")
        entries.setdefault(int(index), {})[name] = tensor
    module.load_state_dict(module_state)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": entries, "param_groups": groups})
    return state


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with the prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
