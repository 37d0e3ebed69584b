"""The searches over shared weights that have a name, with the settings of their papers."""

from __future__ import annotations

from netwright.oneshot import relaxations
from netwright.oneshot.costs import CostTerm
from netwright.oneshot.settings import ArchitectureSteps, Gradient
from netwright.strategies.oneshot import OneShot

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
PROXYLESS = OneShot(Gradient(relaxations.ProxylessNAS()))
"""1812.00332."""
