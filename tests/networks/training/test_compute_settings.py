"""Precision and threads: timed on a copy, and the fastest are chosen."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netwright.networks.training import compute_settings
from netwright.networks.training.compute_settings import (
    ComputeSettings,
    autocast,
    default_settings,
    fastest_settings,
    step_seconds,
    threads,
)

CPU = torch.device("cpu")
HALF = ComputeSettings(torch.bfloat16)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


class RecordingModule(nn.Module):
    """Records precision and threads of each forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.passes = nn.Linear(3, 2), []  # type: ignore[var-annotated]

    def __deepcopy__(self, memo: object) -> RecordingModule:
        module = RecordingModule()
        module.passes = self.passes
        return module

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.linear(x)
        self.passes.append((output.dtype, torch.get_num_threads()))
        return output


def test_timing_leaves_module_generator_and_threads_alone() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).eval()
    inputs = torch.randn(5, 3, 6, 6)
    before, generator_state = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    fastest_settings(module, inputs)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert not any(submodule.training for submodule in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert torch.equal(torch.get_rng_state(), generator_state)
    assert torch.get_num_threads() == 2


def choose(
    monkeypatch: pytest.MonkeyPatch, seconds: Mapping[tuple[ComputeSettings, int], float]
) -> ComputeSettings:
    """What is chosen where steps of so many rows take so long; others may not be timed."""
    monkeypatch.setattr(
        compute_settings,
        "step_seconds",
        lambda module, inputs, settings, ends_at: seconds[settings, len(inputs)],
    )
    return fastest_settings(nn.Linear(3, 2), torch.zeros(8, 3))


FULL, ALONE = ComputeSettings(), ComputeSettings(n_threads=1)
HALF_ALONE = ComputeSettings(torch.bfloat16, n_threads=1)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({(ALONE, 4): 1, (HALF_ALONE, 4): 2, (FULL, 8): 1, (ALONE, 8): 2}, FULL),
        ({(ALONE, 4): 1, (HALF_ALONE, 4): 2, (FULL, 8): 2, (ALONE, 8): 1}, ALONE),
        ({(ALONE, 4): 2, (HALF_ALONE, 4): 1, (HALF, 8): 1, (HALF_ALONE, 8): 2}, HALF),
        ({(ALONE, 4): 2, (HALF_ALONE, 4): 1, (HALF, 8): 2, (HALF_ALONE, 8): 1}, HALF_ALONE),
    ],
)
def test_precision_is_chosen_on_one_thread_and_then_the_threads(
    monkeypatch: pytest.MonkeyPatch,
    seconds: Mapping[tuple[ComputeSettings, int], float],
    expected: ComputeSettings,
) -> None:
    assert choose(monkeypatch, seconds) == expected


def test_threads_are_not_timed_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    assert choose(monkeypatch, {(FULL, 8): 1, (HALF, 8): 2}) == FULL


def test_each_option_runs_in_its_precision_and_threads() -> None:
    module = RecordingModule()
    chosen = fastest_settings(module, torch.zeros(4, 3))
    precision = chosen.autocast_dtype or torch.float32
    options = [(torch.float32, 1), (torch.bfloat16, 1), (precision, 2), (precision, 1)]
    assert module.passes == [option for option in options for _ in range(3)]


def test_no_step_begins_after_the_time_for_them() -> None:
    module = RecordingModule()
    assert fastest_settings(module, torch.zeros(4, 3), max_seconds=0.0) == ComputeSettings()
    assert module.passes == []


def test_options_that_were_not_timed_are_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {(ALONE, 4): 1.0, (HALF_ALONE, 4): math.inf}
    untimed = {(FULL, 8): math.inf, (ALONE, 8): math.inf}
    assert choose(monkeypatch, seconds | untimed) == FULL


class SinglePrecision(nn.Module):
    """A layer that refuses bfloat16, or both."""

    def __init__(self, *, refused: tuple[torch.dtype, ...]) -> None:
        super().__init__()
        self.linear, self.refused = nn.Linear(3, 2), refused

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.linear(x)
        if output.dtype in self.refused:
            raise RuntimeError(f"not implemented for {output.dtype}")
        return output


def test_precision_that_a_layer_refuses_is_not_chosen() -> None:
    module = SinglePrecision(refused=(torch.bfloat16,))
    assert fastest_settings(module, torch.zeros(4, 3)).autocast_dtype is None


def test_layer_that_cannot_run_at_all_raises_its_error() -> None:
    module = SinglePrecision(refused=(torch.float32, torch.bfloat16))
    with pytest.raises(RuntimeError, match=r"not implemented for torch\.float32"):
        fastest_settings(module, torch.zeros(4, 3))


def test_threads_are_restored_after_an_error() -> None:
    with threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(KeyError), threads(1):
        raise KeyError
    assert torch.get_num_threads() == 2


def test_zero_threads_leave_the_number_as_it_is() -> None:
    with threads(0):
        assert torch.get_num_threads() == 2


def test_autocast_computes_in_the_precision_of_the_settings() -> None:
    layer, x = nn.Linear(3, 2), torch.zeros(4, 3)
    with autocast(HALF, CPU):
        assert layer(x).dtype == torch.bfloat16
    with autocast(ComputeSettings(), CPU):
        assert layer(x).dtype == torch.float32


def test_settings_without_timing_are_float32_on_the_cpu() -> None:
    assert default_settings(CPU) == ComputeSettings()


def test_updates_of_the_weights_count_as_part_of_a_step() -> None:
    """Those of Muon may take longer than the passes."""
    module = nn.Linear(4, 2)

    class Slow(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            time.sleep(0.02)

    optimizer = Slow(module.parameters(), lr=0.1)
    settings = ComputeSettings()
    seconds = step_seconds(module, torch.ones(8, 4), settings, optimizer=optimizer)
    assert seconds >= 0.02 > step_seconds(module, torch.ones(8, 4), settings)
