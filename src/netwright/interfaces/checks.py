"""Check that users' strategies and evaluators keep the contracts; their names in the log."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, TypeGuard, cast

from netwright.errors import InputError, InvalidCandidate, Phrase, expected
from netwright.interfaces.evaluator import Capabilities
from netwright.interfaces.strategy import RNG, Algorithm, Problem, Strategy
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.trials.trial import Proposal


def is_strategy(candidate: object) -> TypeGuard[Strategy]:
    """Return whether an object is a strategy, and not the settings (or the class) that make one."""
    return callable(getattr(candidate, "ask", None)) and not isinstance(candidate, type)


def check_strategy_methods(strategy: object) -> None:
    """Raise InputError unless a strategy has `ask` and `tell`."""
    missing = [name for name in ("ask", "tell") if not callable(getattr(strategy, name, None))]
    if missing:
        got = Phrase(f"{type(strategy).__name__} without {' and '.join(missing)}")
        raise InputError(expected("a strategy", "an object with ask and tell", got))


def checked_proposals(strategy: Strategy, space: Space[Any], n: int, rng: RNG) -> list[Proposal]:
    """Ask a strategy for `n` proposals; raise InputError unless they are legal candidates."""
    answer: object = strategy.ask(n, rng)
    if not isinstance(answer, Iterable) or isinstance(answer, str | Mapping):
        got = Phrase("None" if answer is None else type(answer).__name__)
        raise InputError(expected("what ask gives", "a list of Proposals", got))
    proposals: list[Proposal] = []
    for proposal in answer:
        candidate = getattr(proposal, "candidate", proposal)
        if not isinstance(candidate, Candidate):
            got = Phrase(f"{type(candidate).__name__} {str(candidate)[:100]}")
            fix = "Wrap the decisions: Proposal(Candidate({path: value, ...}))."
            raise InputError(expected("what ask proposes", "a Candidate", got, fix))
        if not isinstance(proposal, Proposal):
            got = Phrase(f"a {type(proposal).__name__}")
            fix = "Wrap it: Proposal(candidate)."
            raise InputError(expected("what ask gives", "Proposals", got, fix))
        try:
            space.check(candidate)
        except InvalidCandidate as error:
            raise InputError(f"a strategy must propose candidates of its space: {error}") from None
        proposals.append(proposal)
    return proposals


def as_algorithm(strategy: object) -> Algorithm:
    """Return an algorithm as it is, and a class of settings with its defaults.

    Raises:
        InputError: the object is neither.
    """
    if isinstance(strategy, type) and any("__call__" in base.__dict__ for base in strategy.__mro__):
        strategy = strategy()  # a class of settings
    if not callable(strategy):
        rule = "an object with ask and tell, or what makes one of a Problem"
        fix = "Wrap the settings of a supernet: OneShot(...)."
        raise InputError(expected("strategy", rule, Phrase(type(strategy).__name__), fix))
    signature = inspect.signature(strategy)
    try:
        signature.bind(Problem)  # does it take exactly one argument?
    except TypeError:
        got = Phrase(f"{name_of(strategy)}{signature}")
        raise InputError(expected("strategy", "made of one argument, a Problem", got)) from None
    return cast("Algorithm", strategy)


def name_of(algorithm: object) -> str:
    """Return an algorithm's name for the log: a class's name, or an instance's repr."""
    if isinstance(algorithm, partial):
        settings = ", ".join(f"{name}={setting!r}" for name, setting in algorithm.keywords.items())
        return f"{name_of(algorithm.func)}({settings})"
    if name := getattr(algorithm, "__qualname__", ""):
        return str(name)
    has_default_repr = type(algorithm).__repr__ is object.__repr__  # with an address in it
    return type(algorithm).__qualname__ if has_default_repr else repr(algorithm)


def check_evaluator(evaluator: object) -> None:
    """Raise InputError unless an evaluator is callable and has the names of its metrics."""
    name = Phrase(getattr(evaluator, "__qualname__", type(evaluator).__name__))
    if isinstance(evaluator, type):
        got = Phrase(f"the class {name}")
        raise InputError(expected("evaluator", "an object", got, f"Make one: {name}(...)."))
    metrics = getattr(evaluator, "metrics", None)
    are_named = (
        isinstance(metrics, Sequence)
        and not isinstance(metrics, str)
        and all(isinstance(metric, str) for metric in metrics)
    )
    if not callable(evaluator) or not are_named:
        rule = "called with a job, and have `metrics`, a tuple of the names of what it measures"
        fix = 'Of a function f: f.metrics = ("loss",).'
        got = Phrase(f"{name} with metrics {metrics!r}" if metrics is not None else name)
        raise InputError(expected("evaluator", rule, got, fix))
    misplaced = [field.name for field in fields(Capabilities) if hasattr(evaluator, field.name)]
    if misplaced and not hasattr(evaluator, "capabilities"):
        rule = "declared in the evaluator's `capabilities`"
        fix = f"Write capabilities = Capabilities({misplaced[0]}=...)."
        raise InputError(expected(misplaced[0], rule, Phrase("an attribute of its own"), fix))
