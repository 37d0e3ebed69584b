"""Optimizers of other packages to compare with: Optuna, SMAC, Nevergrad and pymoo.

Each runs with the defaults of its package, over the same space decision by decision, with the same
seeds and evaluations. Unlike a strategy of ours a peer changes when it is asked, so that it is fit
for a comparison and not for a study; and it may ask for a candidate again, which is evaluated again.
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
from types import ModuleType
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

_FIRST_LOSS = {"max": 0.0, "min": 1e3}
"""Told of an infeasible candidate before any loss is known, by direction."""


class Engine(Protocol):
    """An optimizer of another package, one candidate at a time."""

    def propose(self) -> Values | None:
        """Return the next candidate, or None if the optimizer has none left."""
        ...

    def tell(self, losses: Sequence[float]) -> None:
        """Report the losses of the proposed candidate."""
        ...


MakeEngine = Callable[[Problem, int, int], Engine]
"""Makes an engine from a problem, a seed and the budget in evaluations."""


@dataclass(frozen=True)
class Peer:
    """An optimizer of another package, as an algorithm.

    Args:
        name: a key of `PEERS`.
        version: of its package, for the record.
        evaluations: the budget that it is told.
    """

    name: str
    version: str
    evaluations: int

    def __call__(self, problem: Problem) -> Strategy:
        if problem.limits:
            what = f"the problem of {self.name}"
            raise InputError(expected(what, "without limits", str(problem.limits[0])))
        conditional = [
            decision.path for decision in problem.space.decisions if decision.conditions is not None
        ]
        if conditional and not PEERS[self.name].conditional:
            rule = "without conditional decisions"
            fix = "It cannot express them."
            raise InputError(expected(f"the space of {self.name}", rule, conditional[0], fix))
        return _PeerStrategy(self, problem)


class _PeerStrategy:
    """The strategy of a `Peer`; unlike others its `ask` is not pure, as the engine has state.

    Most peers know no infeasible candidates: they are told the worst losses so far, or
    `_FIRST_LOSS` before there are any.
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
            losses = [objective.loss(trial.metrics) for objective in objectives]
            self._worst = [*map(max, self._worst or losses, losses)]
        else:
            first = [_FIRST_LOSS[objective.direction] for objective in objectives]
            losses = self._worst or first
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._engine.tell(losses)


class _Optuna:
    """Adapter for Optuna that suggests only active decisions (define-by-run)."""

    def __init__(self, problem: Problem, sampler: object) -> None:
        optuna = import_optional("optuna", "peers", "comparing with Optuna")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        directions = ["minimize"] * len(problem.objectives)
        self.study = optuna.create_study(directions=directions, sampler=sampler)
        self.decisions = problem.space.decisions

    def propose(self) -> Values:
        self.trial = self.study.ask()
        values: Values = {}
        for decision in self.decisions:
            if decision.is_active(values):
                values[decision.path] = self._suggest(decision)
        return values

    def _suggest(self, decision: Decision) -> Value:
        path, bounds = decision.path, _open_number(decision)
        if bounds is None:
            indices = range(len(decision.values))
            return decision.values[int(self.trial.suggest_categorical(path, indices))]
        if bounds.integer:
            low, high = int(bounds.low), int(bounds.high)
            return int(self.trial.suggest_int(path, low, high, log=bounds.log))
        return float(self.trial.suggest_float(path, bounds.low, bounds.high, log=bounds.log))

    def tell(self, losses: Sequence[float]) -> None:
        self.study.tell(self.trial, list(losses))


def _optuna(sampler: str, **options: object) -> MakeEngine:
    def make(problem: Problem, seed: int, evaluations: int) -> Engine:
        samplers = import_optional("optuna.samplers", "peers", "comparing with Optuna")
        return _Optuna(problem, getattr(samplers, sampler)(seed=seed, **options))

    return make


class _Smac:
    """SMAC with its random forest (HyperparameterOptimizationFacade), one seed per configuration."""

    def __init__(self, problem: Problem, seed: int, evaluations: int) -> None:
        smac = import_optional("smac", "peers", "comparing with SMAC")
        self.trial_value = importlib.import_module("smac.runhistory").TrialValue
        self.decisions = problem.space.decisions
        self.names = {decision.path: f"d{i}" for i, decision in enumerate(self.decisions)}
        self._folder = tempfile.TemporaryDirectory(prefix="netwright-smac-")
        costs = [objective.metric for objective in problem.objectives]
        scenario = smac.Scenario(
            self._configuration_space(),
            objectives=costs if len(costs) > 1 else costs[0],
            deterministic=True,
            n_trials=max(evaluations, 2),
            seed=seed,
            output_directory=Path(self._folder.name),
        )
        self.facade = smac.HyperparameterOptimizationFacade(
            scenario, lambda config, seed=0: 0.0, logging_level=False, overwrite=True
        )

    def _configuration_space(self) -> object:
        package = importlib.import_module("ConfigSpace")
        space, hyperparameters = package.ConfigurationSpace(), {}
        for decision in self.decisions:
            name = self.names[decision.path]
            hyperparameters[decision.path] = _hyperparameter(package, name, decision)
        space.add(list(hyperparameters.values()))
        decision_at = {decision.path: decision for decision in self.decisions}
        for decision in self.decisions:
            conditions = []
            for path, activating in decision.conditions or ():
                values = [_encode(decision_at[path], value) for value in activating]
                child, parent = hyperparameters[decision.path], hyperparameters[path]
                conditions.append(package.InCondition(child, parent, values))
            if conditions:
                single = len(conditions) == 1
                space.add(conditions[0] if single else package.OrConjunction(*conditions))
        return space

    def propose(self) -> Values | None:
        exceptions = importlib.import_module("smac.main.exceptions")
        try:
            self.info = self.facade.ask()
        except (StopIteration, exceptions.ConfigurationSpaceExhaustedException):
            return None  # it asks for nothing twice
        config = dict(self.info.config)
        return {
            decision.path: _decode(decision, config[self.names[decision.path]])
            for decision in self.decisions
            if self.names[decision.path] in config
        }

    def tell(self, losses: Sequence[float]) -> None:
        cost = list(losses) if len(losses) > 1 else losses[0]
        self.facade.tell(self.info, self.trial_value(cost=cost), save=False)


def _hyperparameter(package: ModuleType, name: str, decision: Decision) -> object:
    """Return a decision as a hyperparameter of ConfigSpace."""
    bounds = _open_number(decision)
    if bounds is None:
        return package.CategoricalHyperparameter(name, [*range(len(decision.values))])
    if bounds.integer:
        low, high = int(bounds.low), int(bounds.high)
        return package.UniformIntegerHyperparameter(name, low, high, log=bounds.log)
    return package.UniformFloatHyperparameter(name, bounds.low, bounds.high, log=bounds.log)


class _Nevergrad:
    """An optimizer of Nevergrad, which plans with the number of evaluations."""

    def __init__(self, problem: Problem, seed: int, evaluations: int, optimizer: str) -> None:
        ng = import_optional("nevergrad", "peers", "comparing with Nevergrad")
        self.decisions = problem.space.decisions
        parameters = {str(i): self._parameter(ng, each) for i, each in enumerate(self.decisions)}
        space = ng.p.Dict(**parameters)
        space.random_state = np.random.RandomState(seed)  # the type that Nevergrad takes
        self.optimizer = ng.optimizers.registry[optimizer](space, budget=evaluations)
        self.optimizer.num_objectives = len(problem.objectives)

    @staticmethod
    def _parameter(ng: ModuleType, decision: Decision) -> object:
        bounds = _open_number(decision)
        if bounds is None:
            # with the default, options drawn from weights, it learns next to nothing in 150
            # evaluations
            return ng.p.Choice([*range(len(decision.values))], deterministic=True)
        if bounds.log:
            parameter = ng.p.Log(lower=bounds.low, upper=bounds.high)
        else:
            parameter = ng.p.Scalar(lower=bounds.low, upper=bounds.high)
        return parameter.set_integer_casting() if bounds.integer else parameter

    def propose(self) -> Values:
        self.asked = self.optimizer.ask()
        parameters = self.asked.value
        return {
            decision.path: _decode(decision, parameters[str(i)])
            for i, decision in enumerate(self.decisions)
        }

    def tell(self, losses: Sequence[float]) -> None:
        self.optimizer.tell(self.asked, list(losses) if len(losses) > 1 else losses[0])


def _nevergrad(optimizer: str) -> MakeEngine:
    return lambda problem, seed, evaluations: _Nevergrad(problem, seed, evaluations, optimizer)


class _Pymoo:
    """pymoo's genetic algorithm for mixed variables; NSGA-II's survival for several objectives.

    It asks for a generation at a time, which is evaluated one by one and then told.
    """

    def __init__(self, problem: Problem, seed: int, evaluations: int) -> None:
        import_optional("pymoo", "peers", "comparing with pymoo")
        load = importlib.import_module
        self.decisions, n_objectives = problem.space.decisions, len(problem.objectives)
        types = load("pymoo.core.variable")
        variables = {decision.path: self._variable(types, decision) for decision in self.decisions}
        self.problem = load("pymoo.core.problem").Problem(vars=variables, n_obj=n_objectives)
        survival = {}
        if n_objectives > 1:
            crowding = load("pymoo.operators.survival.rank_and_crowding").RankAndCrowding
            survival = {"survival": crowding()}
        self.algorithm = load("pymoo.core.mixed").MixedVariableGA(**survival)
        never = load("pymoo.core.termination").NoTermination()
        self.algorithm.setup(self.problem, termination=never, seed=seed, verbose=False)
        self.evaluator = load("pymoo.core.evaluator").Evaluator()
        self.static_problem = load("pymoo.problems.static").StaticProblem
        self.generation: Any = None  # a pymoo Population
        self.losses: list[list[float]] = []

    @staticmethod
    def _variable(types: ModuleType, decision: Decision) -> object:
        bounds = _open_number(decision)
        if bounds is None:
            return types.Choice(options=[*range(len(decision.values))])
        if bounds.integer:
            return types.Integer(bounds=(int(bounds.low), int(bounds.high)))
        low, high = (0.0, 1.0) if bounds.log else (bounds.low, bounds.high)
        return types.Real(bounds=(low, high))  # pymoo has no log scale: a coordinate in [0, 1]

    def propose(self) -> Values:
        if self.generation is None or len(self.losses) == len(self.generation):
            if self.generation is not None:
                evaluated = self.static_problem(self.problem, F=np.array(self.losses))
                self.evaluator.eval(evaluated, self.generation)
                self.algorithm.tell(infills=self.generation)
            self.generation, self.losses = self.algorithm.ask(), []
        variables = self.generation[len(self.losses)].X
        return {
            decision.path: self._decode(decision, variables[decision.path])
            for decision in self.decisions
        }

    @staticmethod
    def _decode(decision: Decision, encoded: float) -> Value:
        bounds = _open_number(decision)
        if bounds is not None and bounds.log and not bounds.integer:
            return float(bounds.from_unit(float(encoded)))
        return _decode(decision, encoded)

    def tell(self, losses: Sequence[float]) -> None:
        self.losses.append(list(losses))


def _open_number(decision: Decision) -> NumberChoice | None:
    """Return the number choice of a decision; None for options and fixed decisions."""
    choice = decision.choice
    is_open = len(decision.values) != 1 and not decision.fixed
    return choice if isinstance(choice, NumberChoice) and is_open else None


def _encode(decision: Decision, value: Value) -> Value:
    """Encode a value for a peer: a number as it is, an option by its index."""
    return value if _open_number(decision) else decision.index(value)


def _decode(decision: Decision, encoded: float) -> Value:
    bounds = _open_number(decision)
    if bounds is None:
        return decision.values[int(encoded)]
    return int(encoded) if bounds.integer else float(encoded)


@dataclass(frozen=True)
class PeerSpec:
    """Specification of a peer.

    Args:
        package: to install.
        make: its engine.
        conditional: whether it can express conditional decisions.
    """

    package: str
    make: MakeEngine
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
"""Name on the command line -> how to make the peer."""


def peer(name: str, evaluations: int) -> Peer:
    """Return the peer of that name; raise MissingExtra if its package is not installed."""
    import_optional(PEERS[name].package, "peers", f"the peer {name}")
    return Peer(name, importlib.metadata.version(PEERS[name].package), evaluations)


def missing_packages() -> list[str]:
    """Return the packages of peers that are not installed, by the names that pip knows."""
    packages = dict.fromkeys(spec.package for spec in PEERS.values())
    return [name for name in packages if importlib.util.find_spec(name) is None]
