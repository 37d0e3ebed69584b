"""Checkpoints of supernets in training: numbers as safetensors, the record as JSON, no pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from netwright.errors import RunError

_FILE = "state.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Everything in training that a checkpoint holds; loading writes into it.

    `identity`: what a checkpoint has to share to be gone on with, in words; the rows are the
    caller's to keep. `parameters`: those beside the module's.
    """

    identity: str
    module: nn.Module
    parameters: Mapping[str, Tensor]
    optimizers: Mapping[str, torch.optim.Optimizer]

    def save(self, folder: Path, record: Sequence[Sequence[Any]]) -> None:
        """Whole or not at all; `record` is plain numbers, texts, lists and mappings."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"module.{name}": one for name, one in self.module.state_dict().items()}
        tensors |= {f"parameter.{name}": one.detach() for name, one in self.parameters.items()}
        for name, optimizer in self.optimizers.items():
            for i, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{name}.{i}.{k}": v for k, v in state.items() if v is not None}
        text = {"record": json.dumps(record), "search": self.identity}
        tensors = {name: one.detach().cpu().clone().contiguous() for name, one in tensors.items()}
        new = folder / f"{_FILE}.new"
        save_file(tensors, new, metadata=text)
        os.replace(new, folder / _FILE)  # noqa: PTH105  # one step: whole or not at all

    def load(self, folder: Path) -> list[Any]:
        """The record, with everything as it was then; empty where there is no checkpoint.

        Raises RunError when it is of another search.
        """
        from safetensors import safe_open

        if not (folder / _FILE).exists():
            return []
        with safe_open(folder / _FILE, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
            text = file.metadata()
        if text["search"] != self.identity:
            raise RunError(
                f"{folder} must hold a checkpoint of {self.identity}, got one of "
                f"{text['search']}. Use another folder."
            )
        self.module.load_state_dict(_under("module.", tensors))
        with torch.no_grad():
            for name, one in _under("parameter.", tensors).items():
                self.parameters[name].copy_(one)
        for name, optimizer in self.optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(f"{name}.", tensors).items():
                i, what = key.split(".", 1)
                state.setdefault(int(i), {})[what] = value
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
        record: list[Any] = json.loads(text["record"])
        return record


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
