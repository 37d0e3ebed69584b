"""The searches over shared weights that have a name, with the settings of their papers."""

from __future__ import annotations

from netwright.oneshot.gradient import relaxations
from netwright.oneshot.gradient.costs import CostTerm
from netwright.oneshot.gradient.settings import ArchitectureSteps, Gradient
from netwright.oneshot.single_path.samplers import ByPolicy, Sandwich, StrictlyFair
from netwright.oneshot.single_path.settings import SinglePath
from netwright.oneshot.single_path.training import Sampled
from netwright.strategies.oneshot import OneShot
from netwright.strategies.reinforcement.policy_gradient import Reinforce

DARTS = OneShot(Gradient(relaxations.DARTS()))
"""First order, 1806.09055."""
DARTS2 = OneShot(Gradient(relaxations.DARTS(), architecture=ArchitectureSteps(order=2)))
"""Second order: the gradient through a training step."""
PCDARTS = OneShot(
    Gradient(relaxations.DARTS(), partial=4, architecture=ArchitectureSteps(warm_up=0.3))
)
"""A quarter of the channels, weights for edges, and a warm-up: 1907.05737."""
BETADARTS = OneShot(Gradient(relaxations.BetaDARTS()))
"""2203.01665."""
GDAS = OneShot(Gradient(relaxations.GDAS()))
"""1910.04465."""
SNAS = OneShot(Gradient(relaxations.SNAS()))
"""1812.09926."""
DRNAS = OneShot(Gradient(relaxations.DrNAS()))
"""2006.10355."""
FAIRDARTS = OneShot(Gradient(relaxations.FairDARTS()))
"""1911.12126."""
FBNET = OneShot(
    Gradient(
        relaxations.SNAS(first=5.0, last=0.1),
        architecture=ArchitectureSteps(warm_up=0.1, cost=CostTerm()),
    )
)
"""With the measured latency in the loss, 1812.03443."""
SPOS = OneShot(SinglePath())
"""Uniform single paths, then evolution over inherited weights: 1904.00420."""
FAIRNAS = OneShot(SinglePath(Sampled(StrictlyFair())))
"""Every option as often as any other: 1907.01845."""
SANDWICH = OneShot(SinglePath(Sampled(Sandwich())))
"""The largest, the smallest and two others in each step, which the largest teaches: 1903.05134."""
ENAS = OneShot(SinglePath(Sampled(ByPolicy())), search=Reinforce())
"""The policy's own draws train the weights it is judged by: 1802.03268."""
PROXYLESS = OneShot(Gradient(relaxations.ProxylessNAS()))
"""1812.00332."""
