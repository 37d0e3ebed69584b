"""Settings of a single-path one-shot search."""

from __future__ import annotations

from dataclasses import dataclass

from netwright.errors import check_whole
from netwright.oneshot.safeguards import SupernetSafeguards
from netwright.oneshot.single_path.training import SampledPathTraining


@dataclass(frozen=True)
class SinglePathNAS:
    """Single-path one-shot NAS: train shared weights by sampled paths, then search sub-networks.

    The search is that of `OneShot`: a strategy scores sub-networks by the weights they inherit.

    Args:
        training: How the shared weights are trained.
        evaluations: Sub-networks that the strategy evaluates. Where the strategy itself draws the
            paths (`PolicySampler`: ENAS, 1802.03268), it evaluates an equal share of them after
            each epoch.
        safeguards: Only the rank check applies: `n_ranking_networks` and `ranking_epochs`.

    Raises:
        InputError: `evaluations` is below 1.

    Example:
        >>> training = nw.SampledPathTraining(nw.SandwichSampler(), epochs=30)
        >>> nw.OneShot(nw.SinglePathNAS(training, evaluations=500))
    """

    training: SampledPathTraining = SampledPathTraining()  # noqa: RUF009  # frozen
    evaluations: int = 500
    safeguards: SupernetSafeguards = SupernetSafeguards()  # noqa: RUF009  # frozen

    def __post_init__(self) -> None:
        check_whole("evaluations", self.evaluations, 1)
