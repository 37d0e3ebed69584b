"""The checkpoint that an epoch ends in."""

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

T = TypeVar("T")


def read_history(folder: Path, epoch: type[T]) -> list[T]:
    """The record of the checkpoint in a folder, without its numbers; empty where there is none.

    `epoch`: the named tuple of an epoch. Raises BrokenFile where the checkpoint is damaged.
    """
    if not _in_run(folder).has(CHECKPOINT):
        return []
    return _record(read_tensors(_in_run(folder), CHECKPOINT).metadata, folder, epoch)


def _in_run(folder: Path) -> Folder:
    """The supernet's folder as one of a run: it may not be a link."""
    whole = folder.absolute()
    return Folder(whole.parent) / whole.name


def _record(metadata: Mapping[str, str], folder: Path, epoch: type[T]) -> list[T]:
    what = str(folder / CHECKPOINT)
    if metadata.keys() != {"record", "search"}:
        raise BrokenFile(expected(what, "the checkpoint of a supernet", Phrase("something else")))
    return list(from_plain(parse(metadata["record"], what), tuple[epoch, ...], what))  # type: ignore[valid-type]  # a type made at run time


@dataclass(frozen=True)
class Checkpoint:
    """A search's numbers as safetensors, its record as JSON, never a pickle.

    `identity`: what a checkpoint has to share to be gone on with; `more`: tensors beside those of
    the module and the optimisers.
    """

    folder: Path
    identity: str
    module: nn.Module
    optimizers: Mapping[str, torch.optim.Optimizer]
    extra_tensors: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        return _in_run(self.folder).has(CHECKPOINT)

    def save(self, record: object) -> None:
        """In one step: the file is whole or not there at all."""
        from safetensors.torch import save

        tensors = {f"module.{k}": v for k, v in self.module.state_dict().items()}
        tensors |= self.extra_tensors
        for name, optimizer in self.optimizers.items():
            for i, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{name}.{i}.{k}": v for k, v in state.items() if v is not None}
        text = {"record": json.dumps(record), "search": self.identity}
        tensors = {name: one.detach().cpu().clone().contiguous() for name, one in tensors.items()}
        folder = _in_run(self.folder)
        folder.make()
        folder.write(CHECKPOINT, save(tensors, metadata=text))

    def load(self, epoch: type[T]) -> list[T]:
        """Put everything back where it was, and return the record, made of `epoch`.

        Raises RunError when the checkpoint is of another search, or damaged.
        """
        from safetensors.torch import load

        file = read_tensors(_in_run(self.folder), CHECKPOINT)
        record, text = _record(file.metadata, self.folder, epoch), file.metadata
        if text["search"] != self.identity:
            raise RunError(
                f"{self.folder} must hold a checkpoint of {self.identity}, got one of "
                f"{text['search']}. Use another folder."
            )
        try:
            self._put_back(load(file.content))
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            rule = "the checkpoint of this supernet"
            got = Phrase("other tensors")
            raise BrokenFile(expected(str(self.folder / CHECKPOINT), rule, got)) from error
        return record

    def _put_back(self, tensors: Mapping[str, Tensor]) -> None:
        module = {k.removeprefix("module."): v for k, v in tensors.items() if k[:7] == "module."}
        self.module.load_state_dict(module)
        with torch.no_grad():
            for name, parameter in self.extra_tensors.items():
                if parameter.shape != tensors[name].shape:
                    raise ValueError(name)
                parameter.copy_(tensors[name])
        for name, optimizer in self.optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(f"{name}."):
                    _, i, what = key.split(".", 2)
                    state.setdefault(int(i), {})[what] = value
            _check_shapes(optimizer, state)
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _check_shapes(
    optimizer: torch.optim.Optimizer, state: Mapping[int, Mapping[str, Tensor]]
) -> None:
    """ValueError unless what is known of each parameter has its shape, or is one number."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    for i, values in state.items():
        for name, value in values.items():
            if not 0 <= i < len(parameters) or value.shape not in (parameters[i].shape, ()):
                raise ValueError(name)
