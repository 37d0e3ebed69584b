"""The contract of evaluators, and their optional capabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from netwright.errors import InputError, Phrase, expected
from netwright.interfaces.knowledge import Knowledge
from netwright.interfaces.preparation import Shortlist
from netwright.interfaces.strategy import MakeStrategy
from netwright.space.candidate import Candidate
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Job, Metrics


class Evaluator(Protocol):
    """Measures one candidate at one fidelity; sent to worker processes, so it must pickle.

    An evaluator may declare `capabilities` (see `CapableEvaluator`); without, it is taken to measure
    at any fidelity, and no more.

    Example:
        >>> def evaluate(job):
        ...     return {"loss": job.proposal.candidate.values["x"] ** 2}
        >>> evaluate.metrics = ("loss",)
    """

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics it returns; may be a plain attribute."""
        ...

    def __call__(self, job: Job) -> Metrics:
        """Return the metrics of the job's candidate, before `job.deadline`: later it is killed.

        Raises:
            InfeasibleCandidate: the candidate cannot be built, trained or afforded.
        """
        ...


class MakeSupernetSearch(Protocol):
    """Factory of supernet searches, declared by evaluators that train networks."""

    def __call__(
        self,
        method: Any,  # noqa: ANN401  # settings of another room
        folder: Path,
        seed: int,
        make: MakeStrategy,
        objectives: Sequence[Objective],
        limits: Sequence[Limit],
        start: Candidate | None = None,
        /,
    ) -> Shortlist:
        """Return a search by `method`.

        Args:
            method: settings of the supernet, as of `OneShot`.
            folder: takes the files of the search.
            seed: of the search.
            make: makes the strategy that searches among sub-networks, if the method has none.
            objectives: of the sub-networks.
            limits: of the sub-networks.
            start: a candidate with the decisions that the supernet cannot search; None: their
                defaults.
        """
        ...


def no_warm_up() -> None:
    """Do nothing: the default of `Capabilities.warm_up`."""


@dataclass(frozen=True)
class Capabilities:
    """Optional abilities of an evaluator, beyond measuring its `metrics`.

    Args:
        fidelities: the supported fidelities, ascending to 1; if empty, any in (0, 1].
        knowledge: what is known about candidates before their evaluation, or None.
        make_supernet_search: makes a search over shared weights; None if it trains no networks.
        leaves_files: whether it leaves files in a job's folder that others need, such as weights.
        keeps: number of best trials whose folders are kept, besides those of the strategy's
            potential parents, because children start from their parents' files.
        cost_metric: one of its metrics, such as ``"flops"``. In a study of one objective, trials
            that no other trial beats in both keep their folders, so that smaller models can be
            delivered beside the best.
        fingerprint: settings, as texts by name, that have to be equal to resume a run folder.
        warm_up: called once in each worker before its first job, so that no trial pays for imports.
    """

    fidelities: tuple[float, ...] = ()
    knowledge: Knowledge | None = None
    make_supernet_search: MakeSupernetSearch | None = None
    leaves_files: bool = False
    keeps: int = 0
    cost_metric: str = ""
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    warm_up: Callable[[], None] = no_warm_up

    def __post_init__(self) -> None:
        object.__setattr__(self, "fidelities", tuple(sorted(self.fidelities)))
        if self.fidelities and not (self.fidelities[0] > 0 and self.fidelities[-1] <= 1):
            raise InputError(expected("fidelities", "in (0, 1]", list(self.fidelities)))


class CapableEvaluator(Evaluator, Protocol):
    """An evaluator that declares what it can do beyond measuring."""

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities; each study and worker reads them once."""
        ...


def capabilities_of(evaluator: Evaluator) -> Capabilities:
    """Return an evaluator's capabilities, or the defaults if it declares none."""
    declared: Capabilities = getattr(evaluator, "capabilities", Capabilities())
    return declared


def merged(capabilities: Iterable[Capabilities]) -> Capabilities:
    """Merge the capabilities of evaluators that measure the same candidate one after the other.

    Fidelities are those that all evaluators with declared fidelities share; knowledge and supernet
    come from the first evaluator that has them.

    Raises:
        InputError: No fidelity is shared by all.
    """
    capabilities = tuple(capabilities)
    limited = [set(each.fidelities) for each in capabilities if each.fidelities]
    common = tuple(set.intersection(*limited)) if limited else ()
    if limited and not common:
        got = " and ".join(str(sorted(fidelities)) for fidelities in limited)
        raise InputError(expected("evaluators", "of fidelities in common", Phrase(got)))

    def warm_up() -> None:
        for each in capabilities:
            each.warm_up()

    return Capabilities(
        fidelities=common,
        knowledge=next(
            (each.knowledge for each in capabilities if each.knowledge is not None), None
        ),
        make_supernet_search=next(
            (
                each.make_supernet_search
                for each in capabilities
                if each.make_supernet_search is not None
            ),
            None,
        ),
        leaves_files=any(each.leaves_files for each in capabilities),
        keeps=max((each.keeps for each in capabilities), default=0),
        cost_metric=next((each.cost_metric for each in capabilities if each.cost_metric), ""),
        fingerprint={
            name: text for each in capabilities for name, text in each.fingerprint.items()
        },
        warm_up=warm_up,
    )
