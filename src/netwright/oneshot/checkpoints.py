"""Checkpoints of supernet training, saved after each epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from netwright.errors import BrokenFile, Phrase, RunError, expected
from netwright.files.arrays import read_tensors
from netwright.files.folder import Folder
from netwright.files.json_files import from_plain, parse
from netwright.files.run_layout import CHECKPOINT
from netwright.networks.training.optimizer_state import (
    load_optimizer_tensors,
    optimizer_tensors,
    parameters_of,
)

T = TypeVar("T")


def read_history(folder: Path, epoch: type[T]) -> list[T]:
    """Read the history from the checkpoint in a folder, without its tensors.

    `epoch`: the named tuple of an epoch. Returns an empty list where there is no checkpoint. Raises
    BrokenFile where it is damaged.
    """
    if not _in_run(folder).has(CHECKPOINT):
        return []
    return _history(read_tensors(_in_run(folder), CHECKPOINT).metadata, folder, epoch)


def _in_run(folder: Path) -> Folder:
    """Return the supernet's folder as a subfolder of the run, which may not be a link."""
    absolute = folder.absolute()
    return Folder(absolute.parent) / absolute.name


def _history(metadata: Mapping[str, str], folder: Path, epoch: type[T]) -> list[T]:
    path = str(folder / CHECKPOINT)
    if metadata.keys() != {"record", "search"}:
        raise BrokenFile(expected(path, "the checkpoint of a supernet", Phrase("something else")))
    return list(from_plain(parse(metadata["record"], path), tuple[epoch, ...], path))  # type: ignore[valid-type]  # a type made at run time


@dataclass(frozen=True)
class Checkpoint:
    """State of a training: tensors as safetensors, the history as JSON, never a pickle.

    `identity`: description of the training; only a training of the same identity can resume.
    `extra_tensors`: tensors beside those of the module and the optimisers.
    """

    folder: Path
    identity: str
    module: nn.Module
    optimizers: Mapping[str, torch.optim.Optimizer]
    extra_tensors: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        """Whether there is a checkpoint in the folder."""
        return _in_run(self.folder).has(CHECKPOINT)

    def save(self, history: object) -> None:
        """Write the checkpoint atomically: the file is complete or absent."""
        from safetensors.torch import save

        tensors = {f"module.{k}": v for k, v in self.module.state_dict().items()}
        tensors |= self.extra_tensors
        for name, optimizer in self.optimizers.items():
            tensors |= {f"{name}.{k}": v for k, v in optimizer_tensors(optimizer).items()}
        metadata = {"record": json.dumps(history), "search": self.identity}
        tensors = {
            name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()
        }
        folder = _in_run(self.folder)
        folder.make()
        folder.write(CHECKPOINT, save(tensors, metadata=metadata))

    def load(self, epoch: type[T]) -> list[T]:
        """Restore all tensors in place, and return the history, a list of `epoch`.

        Raises RunError when the checkpoint is of another search, or damaged.
        """
        from safetensors.torch import load

        file = read_tensors(_in_run(self.folder), CHECKPOINT)
        history, metadata = _history(file.metadata, self.folder, epoch), file.metadata
        if metadata["search"] != self.identity:
            raise RunError(
                f"{self.folder} must hold a checkpoint of {self.identity}, got one of "
                f"{metadata['search']}. Use another folder."
            )
        try:
            self._restore(load(file.content))
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            rule = "the checkpoint of this supernet"
            got = Phrase("other tensors")
            raise BrokenFile(expected(str(self.folder / CHECKPOINT), rule, got)) from error
        return history

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        module = {k.removeprefix("module."): v for k, v in tensors.items() if k[:7] == "module."}
        self.module.load_state_dict(module)
        with torch.no_grad():
            for name, parameter in self.extra_tensors.items():
                if parameter.shape != tensors[name].shape:
                    raise ValueError(name)
                parameter.copy_(tensors[name])
        for name, optimizer in self.optimizers.items():
            prefix = f"{name}."
            state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            _check_shapes(optimizer, state)
            load_optimizer_tensors(optimizer, state)


def _check_shapes(optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless each tensor is of its parameter's shape, or a scalar."""
    shapes = [parameter.shape for parameter in parameters_of(optimizer)]
    for key, tensor in state.items():
        index = int(key.partition(".")[0])
        if not 0 <= index < len(shapes) or tensor.shape not in (shapes[index], ()):
            raise ValueError(key)
