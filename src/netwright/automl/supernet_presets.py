"""Searches over shared weights that are a relaxation or a sampler with settings of their papers."""

from __future__ import annotations

from netwright.oneshot.gradient import relaxations
from netwright.oneshot.gradient.expected_cost import CostTerm
from netwright.oneshot.gradient.settings import ArchitectureTraining, DifferentiableNAS
from netwright.oneshot.single_path.samplers import PolicySampler
from netwright.oneshot.single_path.settings import SinglePathNAS
from netwright.oneshot.single_path.training import SampledPathTraining
from netwright.strategies.oneshot import OneShot
from netwright.strategies.reinforcement.policy_gradient import Reinforce

DARTS2 = OneShot(DifferentiableNAS(relaxations.DARTS(), architecture=ArchitectureTraining(order=2)))
"""Second order: the gradient through a training step."""
PCDARTS = OneShot(
    DifferentiableNAS(
        relaxations.DARTS(), channel_divisor=4, architecture=ArchitectureTraining(warmup=0.3)
    )
)
"""A quarter of the channels, weights for edges, and a warm-up: 1907.05737."""
FBNET = OneShot(
    DifferentiableNAS(
        relaxations.SNAS(initial_temperature=5.0, final_temperature=0.1),
        architecture=ArchitectureTraining(warmup=0.1, cost=CostTerm()),
    )
)
"""With the measured latency in the loss, 1812.03443."""
ENAS = OneShot(SinglePathNAS(SampledPathTraining(PolicySampler())), search=Reinforce())
"""The policy's own draws train the weights it is judged by: 1802.03268."""
