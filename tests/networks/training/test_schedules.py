"""Schedules at the points that define them."""

from __future__ import annotations

import pytest

from netwright.networks.training.schedules import CosLog4, FlatCosine, LinearDecay


def test_coslog4_has_four_waves_of_doubling_length() -> None:
    ends = [(2**i - 1) / 15 for i in range(5)]  # log2(1 + 15 t) is whole
    assert [CosLog4().factor(t) for t in ends] == pytest.approx([0] * 5, abs=1e-9)
    tops = [(2 ** (i + 0.5) - 1) / 15 for i in range(4)]
    assert [CosLog4().factor(t) for t in tops] == pytest.approx([1] * 4)


def test_flat_cosine_is_flat_then_half_a_cosine() -> None:
    factors = [FlatCosine().factor(t) for t in (0.0, 0.3, 0.5, 0.75, 1.0)]
    assert factors == pytest.approx([1, 1, 1, 0.5, 0])
    assert [FlatCosine(flat=1.0).factor(t) for t in (0.0, 1.0)] == [1, 1]
    assert FlatCosine(flat=0.0).factor(0.5) == pytest.approx(0.5)


def test_linear_decay_rises_to_its_peak_then_falls_to_almost_nothing() -> None:
    factors = [LinearDecay(0.2).factor(t) for t in (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.9, 1.0)]
    assert factors == pytest.approx([0.001, 0.25, 0.5, 1, 0.75, 0.5, 0.125, 0.001])


def test_linear_decay_without_warm_up_starts_at_its_peak() -> None:
    assert [LinearDecay(0.0).factor(t) for t in (0.0, 0.5, 1.0)] == pytest.approx([1, 0.5, 0.001])


def test_no_step_of_linear_decay_is_without_effect() -> None:
    assert min(LinearDecay().factor(t / 1000) for t in range(1001)) > 0
