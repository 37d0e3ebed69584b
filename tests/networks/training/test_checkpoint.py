"""Checkpoints: a restored training goes on as if nothing had happened; others are ignored."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file
from torch import Tensor, nn

from netwright.files.run_layout import TRAINING_CHECKPOINT
from netwright.networks.training.checkpoint import (
    TrainingState,
    load_checkpoint,
    read_state,
    save_checkpoint,
)
from netwright.networks.training.muon import Muon
from netwright.networks.training.optimizers import SGD, AdamW, Optimizer

STATE = TrainingState(progress=0.25, step=3)
GENERATOR = torch.Generator().manual_seed(5)
IMAGES = torch.randn(8, 3, 6, 6, generator=GENERATOR).contiguous(memory_format=torch.channels_last)
OPTIMIZERS: list[Optimizer] = [AdamW(), SGD(), SGD(momentum=0.0), Muon(weight_decay=0.1)]


def network(seed: int, channels: int = 4) -> nn.Module:
    """A module as a training of images holds it in memory."""
    torch.manual_seed(seed)
    conv, norm = nn.Conv2d(3, channels, 3, bias=False), nn.BatchNorm2d(channels)
    dense = (nn.Linear(channels * 16, 6), nn.Linear(6, 2))
    module = nn.Sequential(conv, norm, nn.ReLU(), nn.Flatten(), *dense)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    return module


def take_steps(module: nn.Module, optimizer: torch.optim.Optimizer, n: int) -> None:
    for _ in range(n):
        optimizer.zero_grad()
        module(IMAGES).square().mean().backward()
        optimizer.step()


def trained(seed: int, optimizer: Optimizer, n: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    module = network(seed)
    torch_optimizer = optimizer.make(module, lr=0.05)
    take_steps(module, torch_optimizer, n)
    return module, torch_optimizer


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same_tensors(state: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return state.keys() == other.keys() and all(torch.equal(state[k], other[k]) for k in state)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_restored_training_continues_bit_by_bit(optimizer: Optimizer, tmp_path: Path) -> None:
    module, torch_optimizer = trained(0, optimizer, 3)
    save_checkpoint(tmp_path, module, torch_optimizer, STATE)
    take_steps(module, torch_optimizer, 3)
    restored = network(1)
    restored_optimizer = optimizer.make(restored, lr=0.05)
    assert load_checkpoint(tmp_path, restored, restored_optimizer) == STATE
    take_steps(restored, restored_optimizer, 3)
    assert same_tensors(restored.state_dict(), module.state_dict())


def test_state_of_the_optimizer_is_restored(tmp_path: Path) -> None:
    """Otherwise the momentum would have to build up again."""
    module, torch_optimizer = trained(0, Muon(), 3)
    save_checkpoint(tmp_path, module, torch_optimizer, STATE)
    restored = network(1)
    restored_optimizer = Muon().make(restored, lr=0.05)
    load_checkpoint(tmp_path, restored, restored_optimizer)
    expected, states = (o.state_dict()["state"] for o in (torch_optimizer, restored_optimizer))
    assert expected.keys() == states.keys() != set()
    assert all(same_tensors(states[index], expected[index]) for index in expected)


def test_state_lies_in_memory_as_its_parameter(tmp_path: Path) -> None:
    """Fused optimisers pair elements by their position in memory."""
    save_checkpoint(tmp_path, *trained(0, AdamW(), 2), STATE)
    module = network(1)
    optimizer = AdamW().make(module, lr=0.05)
    load_checkpoint(tmp_path, module, optimizer)
    for parameter, state in optimizer.state.items():
        assert state["exp_avg"].stride() == parameter.stride()
    assert not module.get_parameter("0.weight").is_contiguous()  # so this shows something


def test_numbers_of_a_checkpoint_can_be_read_alone(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    assert read_state(tmp_path / "missing") is None
    save_checkpoint(tmp_path, *trained(0, SGD(), 1), STATE)
    assert read_state(tmp_path) == STATE
    (tmp_path / TRAINING_CHECKPOINT).write_bytes(b"broken")
    assert read_state(tmp_path) is None


def rewrite(path: Path, change: Callable[[dict[str, Tensor], dict[str, str]], None]) -> None:
    """Change tensors and metadata of a safetensors file."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    tensors, metadata = load(content), header["__metadata__"]
    change(tensors, metadata)
    save_file(tensors, path, metadata)


def with_state(state: object) -> Callable[[Path], None]:
    return lambda path: rewrite(path, lambda _, meta: meta.update(state=json.dumps(state)))


def with_tensor(name: str) -> Callable[[Path], None]:
    return lambda path: rewrite(path, lambda tensors, _: tensors.update({name: torch.zeros(2)}))


def without_tensor(name: str) -> Callable[[Path], None]:
    def remove(tensors: dict[str, Tensor], _: dict[str, str]) -> None:
        del tensors[name]

    return lambda path: rewrite(path, remove)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "empty": lambda path: path.write_bytes(b""),
    "other bytes": lambda path: path.write_bytes(b"\xff" * 500),
    "no metadata": lambda path: save_file(load(path.read_bytes()), path),
    "state is no object": with_state([1]),
    "state with a text": with_state({"progress": "0.5", "step": 3}),
    "over": with_state({"progress": 1.0, "step": 3}),
    "progress is not a number": with_state({"progress": float("nan"), "step": 3}),
    "negative step": with_state({"progress": 0.5, "step": -3}),
    "unknown parameter": with_tensor("optimizer.99.exp_avg"),
    "parameter without a number": with_tensor("optimizer.x.exp_avg"),
    "additional weight": with_tensor("module.7.weight"),
    "missing weight": without_tensor("module.0.weight"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_checkpoint_changes_nothing(
    damage: Callable[[Path], object], tmp_path: Path
) -> None:
    save_checkpoint(tmp_path, *trained(0, AdamW(), 2), STATE)
    damage(tmp_path / TRAINING_CHECKPOINT)
    module, optimizer = trained(1, AdamW(), 1)
    before = copied(module)
    assert load_checkpoint(tmp_path, module, optimizer) is None
    assert same_tensors(module.state_dict(), before)
    assert {int(state["step"]) for state in optimizer.state.values()} == {1}


def test_checkpoint_of_another_training_changes_nothing(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, *trained(0, SGD(), 2), STATE)
    module, optimizer = trained(1, AdamW(), 1)
    before = copied(module)
    assert load_checkpoint(tmp_path, module, optimizer) is None
    wider = network(0, channels=5)
    assert load_checkpoint(tmp_path, wider, SGD().make(wider, lr=0.05)) is None
    assert same_tensors(module.state_dict(), before)
    take_steps(module, optimizer, 1)  # its state is still AdamW's


def test_checkpoint_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, optimizer = trained(0, SGD(), 1)
    save_checkpoint(tmp_path, module, optimizer, STATE)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, module, optimizer, TrainingState(0.5, 6))
    assert read_state(tmp_path) == STATE
    assert [path.name for path in tmp_path.iterdir()] == [TRAINING_CHECKPOINT]
