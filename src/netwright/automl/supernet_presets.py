"""Supernet strategies with the settings of their papers."""

from __future__ import annotations

from netwright.oneshot.gradient import relaxations
from netwright.oneshot.gradient.expected_cost import CostTerm
from netwright.oneshot.gradient.settings import ArchitectureTraining, DifferentiableNAS
from netwright.oneshot.single_path.samplers import PolicySampler
from netwright.oneshot.single_path.settings import SinglePathNAS
from netwright.oneshot.single_path.training import SampledPathTraining
from netwright.strategies.oneshot import OneShot
from netwright.strategies.reinforcement.policy_gradient import Reinforce

DARTS2 = OneShot(
    DifferentiableNAS(relaxations.DARTS(), architecture_training=ArchitectureTraining(order=2))
)
"""DARTS with the second-order gradient, through a training step (Liu et al., 1806.09055)."""
PCDARTS = OneShot(
    DifferentiableNAS(
        relaxations.DARTS(),
        channel_divisor=4,
        architecture_training=ArchitectureTraining(warmup=0.3),
    )
)
"""PC-DARTS: a quarter of the channels, edge weights and a warm-up (Xu et al., 1907.05737)."""
FBNET = OneShot(
    DifferentiableNAS(
        relaxations.SNAS(initial_temperature=5.0, final_temperature=0.1),
        architecture_training=ArchitectureTraining(warmup=0.1, cost=CostTerm()),
    )
)
"""FBNet: Gumbel-softmax with the measured latency in the loss (Wu et al., 1812.03443)."""
ENAS = OneShot(SinglePathNAS(SampledPathTraining(PolicySampler())), search=Reinforce())
"""ENAS: the weights are trained on the policy's own samples (Pham et al., 1802.03268)."""
