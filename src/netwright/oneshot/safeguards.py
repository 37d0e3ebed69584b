"""What is watched while a supernet trains, and what an alarm switches on."""

from __future__ import annotations

from dataclasses import dataclass

from netwright.errors import InputError, check_whole, expected


@dataclass(frozen=True)
class SupernetSafeguards:
    """What is watched while a supernet trains, and what an alarm switches on.

    `every`: epochs between two looks at the eigenvalue, 0 for none; `power`: steps of its power
    iteration. `stop`: a sharp rise ends the search where it was five epochs before (Zela et al.
    2020, 1909.09656). `decay`: an alarm of skips multiplies the weights' decay by this, at most
    twice, as the same paper's adaptive regularisation does; 1 for not. `perturb`: after an alarm
    options are chosen by what their loss costs, with so many epochs of tuning in all (Wang et al.
    2021, 2108.04392); 0 for not. `networks`: so many drawn at random are trained alone at the end,
    for `epochs`, to see whether shared weights rank them; 0 for none.
    """

    eigenvalue_interval: int = 1
    power_iterations: int = 8
    stop_on_eigenvalue_growth: bool = True
    weight_decay_factor: float = 3.0
    perturbation_epochs: float = 2.0
    n_ranking_networks: int = 8
    ranking_epochs: int = 2

    def __post_init__(self) -> None:
        for name, least in (("every", 0), ("networks", 0), ("power", 1), ("epochs", 1)):
            check_whole(name, getattr(self, name), least)
        if not self.weight_decay_factor >= 1:
            raise InputError(expected("decay", "at least 1", self.weight_decay_factor))
        if not self.perturbation_epochs >= 0:
            raise InputError(expected("perturb", "0 or more", self.perturbation_epochs))


NO_SAFEGUARDS = SupernetSafeguards(
    eigenvalue_interval=0,
    stop_on_eigenvalue_growth=False,
    weight_decay_factor=1.0,
    perturbation_epochs=0.0,
    n_ranking_networks=0,
)
"""Nothing is measured and nothing is done: the bare algorithms of the papers."""
