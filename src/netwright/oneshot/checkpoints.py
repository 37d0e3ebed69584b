"""The checkpoint that an epoch ends in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from netwright.errors import RunError

_FILE = "state.safetensors"


def record_in(folder: Path) -> Any:
    """The record of the checkpoint in a folder, without its numbers; None where there is none."""
    from safetensors import safe_open

    if not (folder / _FILE).exists():
        return None
    with safe_open(folder / _FILE, framework="pt") as file:
        return json.loads(file.metadata()["record"])


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
    more: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        return (self.folder / _FILE).exists()

    def save(self, record: object) -> None:
        """In one step: the file is whole or not there at all."""
        from safetensors.torch import save_file

        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"module.{k}": v for k, v in self.module.state_dict().items()}
        tensors |= self.more
        for name, optimizer in self.optimizers.items():
            for i, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{name}.{i}.{k}": v for k, v in state.items() if v is not None}
        text = {"record": json.dumps(record), "search": self.identity}
        tensors = {name: one.detach().cpu().clone().contiguous() for name, one in tensors.items()}
        new = self.folder / "state.new"
        save_file(tensors, new, metadata=text)
        new.replace(self.folder / _FILE)

    def load(self) -> Any:
        """Puts everything back where it was, and returns the record, tuples as lists.

        Raises RunError when the checkpoint is of another search.
        """
        from safetensors import safe_open

        with safe_open(self.folder / _FILE, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
            text = file.metadata()
        if text["search"] != self.identity:
            raise RunError(
                f"{self.folder} must hold a checkpoint of {self.identity}, got one of "
                f"{text['search']}. Use another folder."
            )
        module = {k.removeprefix("module."): v for k, v in tensors.items() if k[:7] == "module."}
        self.module.load_state_dict(module)
        with torch.no_grad():
            for name, one in self.more.items():
                one.copy_(tensors[name])
        for name, optimizer in self.optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(f"{name}."):
                    _, i, what = key.split(".", 2)
                    state.setdefault(int(i), {})[what] = value
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
        return json.loads(text["record"])
