"""The doors for search algorithms: settings that make a strategy, and a strategy of two functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, InvalidCandidate, Phrase, expected
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Job, Metrics, Proposal, Trial

RNG: TypeAlias = np.random.Generator


class Knowledge(Protocol):
    """What is known of a candidate before it is paid for. Cheap, and always the same."""

    def canonical(self, candidate: Candidate) -> str:
        """Equal for candidates that are the same network (or pipeline) under another writing."""
        ...

    def features(self, candidates: Sequence[Candidate]) -> Sequence[NDArray[np.float64]]:
        """Groups of features, (n, d) each: paths, subtrees, sizes. The same groups at every call;
        within a group columns may be scaled as they like."""
        ...

    def metrics(self, candidate: Candidate) -> Metrics:
        """Metrics known without evaluating, such as parameters: exactly what an evaluation gives."""
        ...

    def scores(self, candidate: Candidate) -> Metrics:
        """Hints, which good candidates tend to have much of: size, zero-cost scores. They may err."""
        ...


class OnlyTheSpace:
    """The knowledge of one who knows the space and nothing else."""

    def canonical(self, candidate: Candidate) -> str:
        return candidate.key

    def features(self, candidates: Sequence[Candidate]) -> Sequence[NDArray[np.float64]]:
        return ()

    def metrics(self, candidate: Candidate) -> Metrics:
        return {}

    def scores(self, candidate: Candidate) -> Metrics:
        return {}


class Preparation(Protocol):
    """Long work that has to be over before a strategy proposes.

    A strategy that needs some has it as its `preparation`. The study runs it in a worker, with a
    job like any evaluation's; what it leaves behind lies on disk, so that a study that was killed
    goes on with it.
    """

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what a call returns."""
        ...

    def __call__(self, job: Job, /) -> Metrics:
        """Does the work, or what is left of it; over before the job's deadline."""
        ...

    @property
    def over(self) -> bool:
        """Whether it is done, or was given up."""
        ...

    def give_up(self, reason: str) -> None:
        """Ends it without a result, for a reason that is told."""
        ...

    def progress(self) -> str:
        """How far it is, in a few words; may be empty."""
        ...

    def report(self) -> Sequence[str]:
        """What it came to, in sentences; asked for when it is over."""
        ...


class Shortlist(Preparation, Protocol):
    """Candidates that a search over shared weights found, best first."""

    @property
    def held(self) -> Mapping[str, str]:
        """Paths of decisions that it could not search -> why."""
        ...

    @property
    def trusted(self) -> bool:
        """Whether what was measured on the way lets shared weights decide."""
        ...

    @property
    def shortfall(self) -> str:
        """Why the work did not come to its end, in a sentence; empty where it did."""
        ...

    def candidates(self, number: int) -> Sequence[Candidate]:
        """At most `number` of them; none where the work was given up and nothing is known."""
        ...


MakeStrategy: TypeAlias = "Callable[[Space[Any], Sequence[Objective], Sequence[Limit]], Strategy]"
MakeShortlist: TypeAlias = Callable[[Any, MakeStrategy], Shortlist]
"""From a method of shared weights, and who searches where the method leaves that open."""


@dataclass(frozen=True)
class Problem:
    """What is searched and for what: all that an algorithm is given.

    `fidelities`: the only ones that can be evaluated, rising to 1; empty when any in (0, 1] can.
    `supernet`: makes a shortlist by a method of shared weights, where the evaluator trains networks.
    """

    space: Space[Any]
    objectives: Sequence[Objective]
    limits: Sequence[Limit] = ()
    knowledge: Knowledge = OnlyTheSpace()  # noqa: RUF009  # it has no state
    fidelities: Sequence[float] = ()
    supernet: MakeShortlist | None = None


class Strategy(Protocol):
    """Proposes candidates. Never evaluates, never stores, never sees networks or data.

    A strategy's whole state is what it has been told: a study is resumed by telling a new strategy
    the log. So `ask` must be pure: it depends on what was told, on `n` and on `rng` alone.

    It may say its `breeders`: the ids of the trials that the next proposals may have as parents.
    """

    def ask(self, n: int, rng: RNG) -> Sequence[Proposal]:
        """At most `n` proposals; never changes the strategy.

        None while trials run: wait until one ends. None while none run: the search is over.
        """
        ...

    def tell(self, trial: Trial) -> None:
        """Hears that a trial started (its status is RUNNING) or ended. The only way to learn."""
        ...


def breeders(strategy: Strategy) -> Iterable[int]:
    """The trials that a strategy may still propose children of, as far as it says."""
    found: Iterable[int] = getattr(strategy, "breeders", ())
    return found


class Algorithm(Protocol):
    """A search algorithm with its settings: called with a problem, it makes a strategy.

    What ships is a frozen dataclass of settings, ``RegularizedEvolution(population=50)``, whose
    repr tells a run folder which search it holds. A class that takes a problem and has `ask` and
    `tell` is one, too.
    """

    def __call__(self, problem: Problem, /) -> Strategy: ...


def proposed(strategy: Strategy, space: Space[Any], n: int, rng: RNG) -> list[Proposal]:
    """What a strategy proposes when asked for `n`: legal candidates of the space.

    Raises InputError for anything else.
    """
    given: object = strategy.ask(n, rng)
    if not isinstance(given, Iterable) or isinstance(given, str | Mapping):
        got = Phrase("None" if given is None else type(given).__name__)
        raise InputError(expected("what ask gives", "a list of Proposals", got))
    found: list[Proposal] = []
    for one in given:
        candidate = getattr(one, "candidate", one)
        if not isinstance(candidate, Candidate):
            got = Phrase(f"{type(candidate).__name__} {str(candidate)[:100]}")
            fix = "Wrap the decisions: Proposal(Candidate({path: value, ...}))."
            raise InputError(expected("what ask proposes", "a Candidate", got, fix))
        if not isinstance(one, Proposal):
            fix = "Wrap it: Proposal(candidate)."
            raise InputError(
                expected("what ask gives", "Proposals", Phrase(f"a {type(one).__name__}"), fix)
            )
        try:
            space.check(candidate)
        except InvalidCandidate as error:
            raise InputError(f"a strategy must propose candidates of its space: {error}") from None
        found.append(one)
    return found


def check_has_both(strategy: object) -> None:
    """InputError unless it has `ask` and `tell`."""
    missing = [name for name in ("ask", "tell") if not callable(getattr(strategy, name, None))]
    if missing:
        got = Phrase(f"{type(strategy).__name__} without {' and '.join(missing)}")
        raise InputError(expected("a strategy", "an object with ask and tell", got))


def as_algorithm(given: object) -> Algorithm:
    """What may be passed for an algorithm: one, or the class of its settings for their defaults.

    Raises InputError for anything else.
    """
    if isinstance(given, type) and any("__call__" in one.__dict__ for one in given.__mro__):
        given = given()  # a class of settings: their defaults
    if not callable(given):
        rule = "an object with ask and tell, or what makes one of a Problem"
        fix = "What says how a supernet is trained goes into OneShot(...)."
        raise InputError(expected("strategy", rule, Phrase(type(given).__name__), fix))
    signature = inspect.signature(given)
    try:
        signature.bind(Problem)  # anything: is there room for one argument, and for no more?
    except TypeError:
        got = Phrase(f"{name_of(given)}{signature}")
        raise InputError(expected("strategy", "made of one argument, a Problem", got)) from None
    return cast("Algorithm", given)


def name_of(algorithm: object) -> str:
    """What the log says of it: a class by its name, an object by its repr, settings included."""
    if isinstance(algorithm, partial):
        settings = ", ".join(f"{name}={value!r}" for name, value in algorithm.keywords.items())
        return f"{name_of(algorithm.func)}({settings})"
    if name := getattr(algorithm, "__qualname__", ""):
        return str(name)
    plain = type(algorithm).__repr__ is object.__repr__  # with an address in it
    return type(algorithm).__qualname__ if plain else repr(algorithm)
