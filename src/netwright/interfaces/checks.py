"""Whether what users pass keeps the contracts, and what the log calls it."""

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


def is_strategy(given: object) -> TypeGuard[Strategy]:
    """Whether this is a strategy itself, and not the settings (or the class) that make one."""
    return callable(getattr(given, "ask", None)) and not isinstance(given, type)


def check_strategy_methods(strategy: object) -> None:
    """InputError unless it has `ask` and `tell`."""
    missing = [name for name in ("ask", "tell") if not callable(getattr(strategy, name, None))]
    if missing:
        got = Phrase(f"{type(strategy).__name__} without {' and '.join(missing)}")
        raise InputError(expected("a strategy", "an object with ask and tell", got))


def checked_proposals(strategy: Strategy, space: Space[Any], n: int, rng: RNG) -> list[Proposal]:
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


def check_evaluator(evaluator: object) -> None:
    """InputError unless it can be called with a job and has the names of its metrics."""
    name = Phrase(getattr(evaluator, "__qualname__", type(evaluator).__name__))
    if isinstance(evaluator, type):
        got = Phrase(f"the class {name}")
        raise InputError(expected("evaluator", "an object", got, f"Make one: {name}(...)."))
    metrics = getattr(evaluator, "metrics", None)
    named = isinstance(metrics, Sequence) and not isinstance(metrics, str)
    if not callable(evaluator) or not named or not all(isinstance(one, str) for one in metrics):  # type: ignore[union-attr]  # named
        rule = "called with a job, and have `metrics`, a tuple of the names of what it measures"
        fix = 'Of a function f: f.metrics = ("loss",).'
        got = Phrase(f"{name} with metrics {metrics!r}" if metrics is not None else name)
        raise InputError(expected("evaluator", rule, got, fix))
    loose = [one.name for one in fields(Capabilities) if hasattr(evaluator, one.name)]
    if loose and not hasattr(evaluator, "capabilities"):
        rule = "said by the evaluator in its `capabilities`"
        fix = f"Write capabilities = Capabilities({loose[0]}=...)."
        raise InputError(expected(loose[0], rule, Phrase("an attribute of its own"), fix))
