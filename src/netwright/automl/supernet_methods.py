"""Searches over shared weights that are a relaxation or a sampler with settings of their papers."""

from __future__ import annotations

from netwright.oneshot.gradient import relaxations
from netwright.oneshot.gradient.costs import CostTerm
from netwright.oneshot.gradient.settings import ArchitectureSteps, Gradient
from netwright.oneshot.single_path.samplers import ByPolicy
from netwright.oneshot.single_path.settings import SinglePath
from netwright.oneshot.single_path.training import Sampled
from netwright.strategies.oneshot import OneShot
from netwright.strategies.reinforcement.policy_gradient import Reinforce

DARTS2 = OneShot(Gradient(relaxations.DARTS(), architecture=ArchitectureSteps(order=2)))
"""Second order: the gradient through a training step."""
PCDARTS = OneShot(
    Gradient(relaxations.DARTS(), partial=4, architecture=ArchitectureSteps(warm_up=0.3))
)
"""A quarter of the channels, weights for edges, and a warm-up: 1907.05737."""
FBNET = OneShot(
    Gradient(
        relaxations.SNAS(first=5.0, last=0.1),
        architecture=ArchitectureSteps(warm_up=0.1, cost=CostTerm()),
    )
)
"""With the measured latency in the loss, 1812.03443."""
ENAS = OneShot(SinglePath(Sampled(ByPolicy())), search=Reinforce())
"""The policy's own draws train the weights it is judged by: 1802.03268."""
