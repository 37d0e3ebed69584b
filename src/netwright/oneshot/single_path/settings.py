"""What a single-path search is told: how weights are trained, and how many networks are judged."""

from __future__ import annotations

from dataclasses import dataclass

from netwright.errors import check_whole
from netwright.oneshot.safeguards import SupernetSafeguards
from netwright.oneshot.single_path.training import SampledPathTraining


@dataclass(frozen=True)
class SinglePathNAS:
    """Shared weights trained by sampled paths, then a search among their sub-networks.

    A strategy judges `evaluations` of them by the weights they inherit; where paths are drawn by the
    strategy itself (`ByPolicy`: ENAS, 1802.03268), it judges its share of these after each epoch. Of
    `honesty` only the ranking applies.
    """

    training: SampledPathTraining = SampledPathTraining()  # noqa: RUF009  # frozen
    evaluations: int = 500
    safeguards: SupernetSafeguards = SupernetSafeguards()  # noqa: RUF009  # frozen

    def __post_init__(self) -> None:
        check_whole("evaluations", self.evaluations, 1)
