"""Settings of the checks on a supernet, and of the remedies that an alarm triggers."""

from __future__ import annotations

from dataclasses import dataclass

from netwright.errors import InputError, check_whole, expected


@dataclass(frozen=True)
class SupernetSafeguards:
    """Checks made while a supernet trains, and the remedies that an alarm triggers.

    Args:
        eigenvalue_interval: Epochs between two measurements of the largest eigenvalue of the
            validation loss's Hessian with respect to the architecture parameters; 0 for none.
        power_iterations: Steps of power iteration in each measurement.
        stop_on_eigenvalue_growth: Whether a sharp rise of the eigenvalue stops the search, which
            then goes back to the architecture of five epochs before (Zela et al., 2020,
            1909.09656).
        weight_decay_factor: Factor on the weight decay after each alarm of skip dominance, applied
            at most twice (the adaptive regularisation of the same paper); 1 for none.
        perturbation_epochs: Epochs of tuning, in all, during the perturbation-based selection that
            follows an alarm (Wang et al., 2021, 2108.04392); 0 to select by the architecture
            parameters in any case.
        n_ranking_networks: Random networks trained by themselves at the end, to test whether the
            shared weights rank them alike; 0 for none.
        ranking_epochs: Epochs for which each of them is trained.

    Raises:
        InputError: A setting is out of its range.

    Example:
        >>> safeguards = nw.SupernetSafeguards(n_ranking_networks=4, ranking_epochs=1)
        >>> nw.DifferentiableNAS(nw.DrNAS(), safeguards=safeguards)
    """

    eigenvalue_interval: int = 1
    power_iterations: int = 8
    stop_on_eigenvalue_growth: bool = True
    weight_decay_factor: float = 3.0
    perturbation_epochs: float = 2.0
    n_ranking_networks: int = 8
    ranking_epochs: int = 2

    def __post_init__(self) -> None:
        minimums = (
            ("eigenvalue_interval", 0),
            ("n_ranking_networks", 0),
            ("power_iterations", 1),
            ("ranking_epochs", 1),
        )
        for name, minimum in minimums:
            check_whole(name, getattr(self, name), minimum)
        if not self.weight_decay_factor >= 1:
            raise InputError(
                expected("weight_decay_factor", "at least 1", self.weight_decay_factor)
            )
        if not self.perturbation_epochs >= 0:
            raise InputError(expected("perturbation_epochs", "0 or more", self.perturbation_epochs))


NO_SAFEGUARDS = SupernetSafeguards(
    eigenvalue_interval=0,
    stop_on_eigenvalue_growth=False,
    weight_decay_factor=1.0,
    perturbation_epochs=0.0,
    n_ranking_networks=0,
)
"""No checks and no remedies: the bare algorithms of the papers."""
