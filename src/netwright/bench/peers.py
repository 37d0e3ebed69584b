"""Searches of other packages beside ours: Optuna, SMAC, Nevergrad and pymoo, where installed.

Each with the defaults of its package, over the same space decision by decision, with the same seeds
and evaluations. Unlike a strategy of ours a peer changes when it is asked, so that it is fit for a
comparison and not for a study; and it may ask for a candidate again, which is evaluated again.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from netwright._optional import import_optional
from netwright.errors import InputError, expected
from netwright.interfaces.strategy import Problem, Strategy
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import NumberChoice
from netwright.space.decision import Decision
from netwright.trials.trial import Proposal, Status, Trial

Values = dict[str, Value]


class Engine(Protocol):
    """A search of another package, one candidate at a time."""

    def propose(self) -> Values | None:
        """The next candidate; None when there is no other."""
        ...

    def hear(self, losses: Sequence[float]) -> None:
        """What became of it."""
        ...


@dataclass(frozen=True)
class Peer:
    """A search of another package, to be compared with; `evaluations` is the budget it is told."""

    name: str
    version: str
    evaluations: int

    def __call__(self, problem: Problem) -> Strategy:
        if problem.limits:
            what = f"the problem of {self.name}"
            raise InputError(expected(what, "without limits", str(problem.limits[0])))
        conditional = [one.path for one in problem.space.decisions if one.conditions is not None]
        if conditional and not PEERS[self.name].conditional:
            rule = "without conditional decisions"
            fix = "It cannot express them."
            raise InputError(expected(f"the space of {self.name}", rule, conditional[0], fix))
        return _Asked(self, problem)


class _Asked:
    """The strategy of a `Peer`. Its `ask` is not pure: it goes on from where the engine stands.

    Of the infeasible a peer is told the worst so far, since most know no other way; while there is
    nothing yet, 0 of what is maximised and 1,000 of what is minimised.
    """

    def __init__(self, peer: Peer, problem: Problem) -> None:
        self.peer, self.problem = peer, problem
        self._engine: Engine | None = None
        self._worst: list[float] = []

    def ask(self, n: int, rng: np.random.Generator) -> Sequence[Proposal]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self._engine is None:
                make = PEERS[self.peer.name].make
                self._engine = make(self.problem, int(rng.integers(2**31)), self.peer.evaluations)
            values = self._engine.propose()
        return [] if values is None else [Proposal(Candidate(values), origin=self.peer.name)]

    def tell(self, trial: Trial) -> None:
        if trial.status is Status.RUNNING or self._engine is None:
            return
        objectives = self.problem.objectives
        if trial.status is Status.DONE:
            losses = [one.loss(trial.metrics) for one in objectives]
            self._worst = [*map(max, self._worst or losses, losses)]
        else:
            losses = self._worst or [0.0 if o.direction == "max" else 1e3 for o in objectives]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._engine.hear(losses)


class _Optuna:
    """Optuna's define-by-run: a decision is suggested when those before it ask for it."""

    def __init__(self, problem: Problem, sampler: Any) -> None:
        optuna = import_optional("optuna", "peers", "comparing with Optuna")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        directions = ["minimize"] * len(problem.objectives)
        self.study = optuna.create_study(directions=directions, sampler=sampler)
        self.decisions = problem.space.decisions

    def propose(self) -> Values:
        self.trial = self.study.ask()
        values: Values = {}
        for one in self.decisions:
            if one.is_active(values):
                values[one.path] = self._suggest(one)
        return values

    def _suggest(self, one: Decision) -> Value:
        number = _number(one)
        if number is None:
            places = range(len(one.values))
            return one.values[int(self.trial.suggest_categorical(one.path, places))]
        if number.integer:
            low, high = int(number.low), int(number.high)
            return int(self.trial.suggest_int(one.path, low, high, log=number.log))
        return float(self.trial.suggest_float(one.path, number.low, number.high, log=number.log))

    def hear(self, losses: Sequence[float]) -> None:
        self.study.tell(self.trial, list(losses))


def _optuna(sampler: str, **options: Any) -> Callable[[Problem, int, int], Engine]:
    def make(problem: Problem, seed: int, evaluations: int) -> Engine:
        samplers = import_optional("optuna.samplers", "peers", "comparing with Optuna")
        return _Optuna(problem, getattr(samplers, sampler)(seed=seed, **options))

    return make


class _Smac:
    """SMAC with its random forest (HyperparameterOptimizationFacade), one seed a configuration."""

    def __init__(self, problem: Problem, seed: int, evaluations: int) -> None:
        smac = import_optional("smac", "peers", "comparing with SMAC")
        self.value = importlib.import_module("smac.runhistory").TrialValue
        self.decisions = problem.space.decisions
        self.names = {one.path: f"d{i}" for i, one in enumerate(self.decisions)}
        self._folder = tempfile.TemporaryDirectory(prefix="netwright-smac-")
        costs = [one.metric for one in problem.objectives]
        scenario = smac.Scenario(
            self._space(), objectives=costs if len(costs) > 1 else costs[0], deterministic=True,
            n_trials=max(evaluations, 2), seed=seed, output_directory=Path(self._folder.name),
        )  # fmt: skip
        self.facade = smac.HyperparameterOptimizationFacade(
            scenario, lambda config, seed=0: 0.0, logging_level=False, overwrite=True
        )

    def _space(self) -> Any:
        space_of = importlib.import_module("ConfigSpace")
        space, made = space_of.ConfigurationSpace(), {}
        for one in self.decisions:
            made[one.path] = _hyperparameter(space_of, self.names[one.path], one)
        space.add(list(made.values()))
        decisions = {one.path: one for one in self.decisions}
        for one in self.decisions:
            parts = []
            for path, switching in one.conditions or ():
                values = [_code(decisions[path], value) for value in switching]
                parts.append(space_of.InCondition(made[one.path], made[path], values))
            if parts:
                space.add(parts[0] if len(parts) == 1 else space_of.OrConjunction(*parts))
        return space

    def propose(self) -> Values | None:
        exhausted = importlib.import_module("smac.main.exceptions")
        try:
            self.info = self.facade.ask()
        except (StopIteration, exhausted.ConfigurationSpaceExhaustedException):
            return None  # it asks for nothing twice
        config = dict(self.info.config)
        return {
            one.path: _decode(one, config[self.names[one.path]])
            for one in self.decisions
            if self.names[one.path] in config
        }

    def hear(self, losses: Sequence[float]) -> None:
        cost = list(losses) if len(losses) > 1 else losses[0]
        self.facade.tell(self.info, self.value(cost=cost), save=False)


def _hyperparameter(space_of: Any, name: str, one: Decision) -> Any:
    """A decision as ConfigSpace has it."""
    number = _number(one)
    if number is None:
        return space_of.CategoricalHyperparameter(name, [*range(len(one.values))])
    if number.integer:
        low, high = int(number.low), int(number.high)
        return space_of.UniformIntegerHyperparameter(name, low, high, log=number.log)
    return space_of.UniformFloatHyperparameter(name, number.low, number.high, log=number.log)


class _Nevergrad:
    """One of Nevergrad's optimizers, told the budget that it plans with."""

    def __init__(self, problem: Problem, seed: int, evaluations: int, optimizer: str) -> None:
        ng = import_optional("nevergrad", "peers", "comparing with Nevergrad")
        self.decisions = problem.space.decisions
        space = ng.p.Dict(**{str(i): self._part(ng, one) for i, one in enumerate(self.decisions)})
        space.random_state = np.random.RandomState(seed)  # what it takes
        self.optimizer = ng.optimizers.registry[optimizer](space, budget=evaluations)
        self.optimizer.num_objectives = len(problem.objectives)

    @staticmethod
    def _part(ng: Any, one: Decision) -> Any:
        number = _number(one)
        if number is None:
            # drawn from weights, as is its default, it learns next to nothing in 150 evaluations
            return ng.p.Choice([*range(len(one.values))], deterministic=True)
        if number.log:
            part = ng.p.Log(lower=number.low, upper=number.high)
        else:
            part = ng.p.Scalar(lower=number.low, upper=number.high)
        return part.set_integer_casting() if number.integer else part

    def propose(self) -> Values:
        self.asked = self.optimizer.ask()
        found = self.asked.value
        return {one.path: _decode(one, found[str(i)]) for i, one in enumerate(self.decisions)}

    def hear(self, losses: Sequence[float]) -> None:
        self.optimizer.tell(self.asked, list(losses) if len(losses) > 1 else losses[0])


def _nevergrad(optimizer: str) -> Callable[[Problem, int, int], Engine]:
    return lambda problem, seed, evaluations: _Nevergrad(problem, seed, evaluations, optimizer)


class _Pymoo:
    """pymoo's genetic algorithm for mixed variables; NSGA-II's survival for several objectives.

    It asks a generation at a time: the generation is evaluated one by one, then told.
    """

    def __init__(self, problem: Problem, seed: int, evaluations: int) -> None:
        import_optional("pymoo", "peers", "comparing with pymoo")
        load = importlib.import_module
        self.decisions, m = problem.space.decisions, len(problem.objectives)
        kinds = load("pymoo.core.variable")
        variables = {one.path: self._variable(kinds, one) for one in self.decisions}
        self.problem = load("pymoo.core.problem").Problem(vars=variables, n_obj=m)
        survival = {}
        if m > 1:
            crowding = load("pymoo.operators.survival.rank_and_crowding").RankAndCrowding
            survival = {"survival": crowding()}
        self.algorithm = load("pymoo.core.mixed").MixedVariableGA(**survival)
        never = load("pymoo.core.termination").NoTermination()
        self.algorithm.setup(self.problem, termination=never, seed=seed, verbose=False)
        self.evaluate = load("pymoo.core.evaluator").Evaluator()
        self.known = load("pymoo.problems.static").StaticProblem
        self.generation: Any = None
        self.losses: list[list[float]] = []

    @staticmethod
    def _variable(kinds: Any, one: Decision) -> Any:
        number = _number(one)
        if number is None:
            return kinds.Choice(options=[*range(len(one.values))])
        if number.integer:
            return kinds.Integer(bounds=(int(number.low), int(number.high)))
        low, high = (0.0, 1.0) if number.log else (number.low, number.high)
        return kinds.Real(bounds=(low, high))  # it knows no logarithms: a place in [0, 1]

    def propose(self) -> Values:
        if self.generation is None or len(self.losses) == len(self.generation):
            if self.generation is not None:
                self.evaluate.eval(
                    self.known(self.problem, F=np.array(self.losses)), self.generation
                )
                self.algorithm.tell(infills=self.generation)
            self.generation, self.losses = self.algorithm.ask(), []
        found = self.generation[len(self.losses)].X
        return {one.path: self._value(one, found[one.path]) for one in self.decisions}

    @staticmethod
    def _value(one: Decision, found: Any) -> Value:
        number = _number(one)
        if number is not None and number.log and not number.integer:
            return float(number.from_unit(float(found)))
        return _decode(one, found)

    def hear(self, losses: Sequence[float]) -> None:
        self.losses.append(list(losses))


def _number(one: Decision) -> NumberChoice | None:
    """The decision as a number; None where it is one of some options, or fixed."""
    numeric = isinstance(one.choice, NumberChoice) and len(one.values) != 1 and not one.fixed
    return one.choice if numeric and isinstance(one.choice, NumberChoice) else None


def _code(one: Decision, value: Value) -> Any:
    """A decided value as it is written for a peer: a number, or the place of an option."""
    return value if _number(one) else one.index(value)


def _decode(one: Decision, found: Any) -> Value:
    number = _number(one)
    if number is None:
        return one.values[int(found)]
    return int(found) if number.integer else float(found)


@dataclass(frozen=True)
class PeerSpec:
    """How a peer is made: the package to install, and whether it knows conditional decisions."""

    package: str
    make: Callable[[Problem, int, int], Engine]
    conditional: bool = False


PEERS: Mapping[str, PeerSpec] = {
    "optuna-random": PeerSpec("optuna", _optuna("RandomSampler"), conditional=True),
    "optuna-tpe": PeerSpec("optuna", _optuna("TPESampler", multivariate=False), conditional=True),
    "optuna-mtpe": PeerSpec("optuna", _optuna("TPESampler", multivariate=True), conditional=True),
    "optuna-gp": PeerSpec("optuna", _optuna("GPSampler"), conditional=True),
    "optuna-nsga2": PeerSpec("optuna", _optuna("NSGAIISampler"), conditional=True),
    "smac": PeerSpec("smac", _Smac, conditional=True),
    "nevergrad-ngopt": PeerSpec("nevergrad", _nevergrad("NGOpt")),
    "nevergrad-1plus1": PeerSpec("nevergrad", _nevergrad("DiscreteOnePlusOne")),
    "pymoo-ga": PeerSpec("pymoo", _Pymoo),
}
"""Name -> how it is made."""


def peer(name: str, evaluations: int) -> Peer:
    """The peer of that name. MissingExtra when its package is not installed."""
    import_optional(PEERS[name].package, "peers", f"the peer {name}")
    return Peer(name, importlib.metadata.version(PEERS[name].package), evaluations)


def missing_packages() -> list[str]:
    """The packages of peers that are not installed, by the names that pip knows."""
    packages = dict.fromkeys(kind.package for kind in PEERS.values())
    return [name for name in packages if importlib.util.find_spec(name) is None]
