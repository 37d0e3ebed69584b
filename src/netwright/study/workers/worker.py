"""The worker process: receives the evaluator once, then one job after the other.

Jobs arrive pickled over a private pipe; answers leave as JSON, so that the study unpickles nothing.
Torch and the like are imported only by the evaluator itself.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import NamedTuple

from netwright.errors import InfeasibleCandidate, OutOfTime
from netwright.interfaces.evaluator import capabilities_of
from netwright.study.workers.pipes import read_message, write_message
from netwright.trials.trial import Job, Metrics, Status

ALONE_GRANTED = b"go"
"""The study's message that the worker runs alone now."""
_MAX_ERROR_LENGTH = 2000
"""Characters of an error that are kept."""


class EvaluationResult(NamedTuple):
    """Outcome of an evaluation, in JSON types."""

    status: str
    metrics: Metrics
    error: str


def evaluate(evaluator: Callable[[Job], Metrics], job: Job) -> EvaluationResult:
    """Run the evaluator; whatever it raises becomes a status and an error text."""
    try:
        metrics = evaluator(job)
        return EvaluationResult(
            Status.DONE, {str(name): float(metrics[name]) for name in metrics}, ""
        )
    except OutOfTime as error:
        return EvaluationResult(Status.RUNNING, {}, str(error))
    except InfeasibleCandidate as error:
        return EvaluationResult(Status.INFEASIBLE, {}, str(error))
    except MemoryError as error:
        return EvaluationResult(Status.INFEASIBLE, {}, f"ran out of memory: {error}".rstrip(": "))
    except (Exception, SystemExit) as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, on an accelerator
            return EvaluationResult(
                Status.INFEASIBLE, {}, f"ran out of memory: {error}"[:_MAX_ERROR_LENGTH]
            )
        return EvaluationResult(Status.FAILED, {}, describe_error(error))


def describe_error(error: BaseException) -> str:
    """Format an error: ``ValueError: the message (train.py, line 12, in fit)``."""
    message = "".join(traceback.format_exception_only(error)).strip()[:_MAX_ERROR_LENGTH]
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return message
    last = frames[-1]
    file = os.path.basename(last.filename)  # noqa: PTH119  # pathlib is not needed otherwise
    return f"{message} ({file}, line {last.lineno}, in {last.name})"


class _Worker:
    """The worker's side of `WorkerPipes`: reads requests and writes answers (descriptors)."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = requests, answers
        self._alone_depth = 0
        """How many `alone` contexts are open, one in the other."""

    def run(self, warm_up: str = "") -> None:
        """Call `warm_up` (``module:function``), then evaluate jobs until the study closes the pipe."""
        if warm_up:
            with suppress(Exception):  # the evaluator will fail with a better message
                module, _, function = warm_up.partition(":")
                getattr(importlib.import_module(module), function)()
        pickled_evaluator = read_message(self._requests)
        if pickled_evaluator is None:
            return
        try:
            evaluator = pickle.loads(pickled_evaluator)
            capabilities_of(evaluator).warm_up()
        except BaseException as error:
            self._answer("broken", describe_error(error))
            raise
        self._answer("ready", os.getpid())
        while (request := read_message(self._requests)) is not None:
            job = replace(pickle.loads(request), alone=self.alone)
            self._answer("ended", *evaluate(evaluator, job))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A context in which the study's other workers are paused."""
        self._alone_depth += 1
        if self._alone_depth == 1:
            self._answer("alone", True)  # noqa: FBT003  # a message
            if read_message(self._requests) != ALONE_GRANTED:
                raise SystemExit("the study is gone")
        try:
            yield
        finally:
            self._alone_depth -= 1
            if not self._alone_depth:
                self._answer("alone", False)  # noqa: FBT003  # a message

    def _answer(self, *message: object) -> None:
        write_message(self._answers, json.dumps(message).encode())


def main(requests: int, answers: int, warm_up: str = "") -> None:
    """Run the worker; prints go to standard error, so that they cannot break the guard's pipe."""
    os.set_inheritable(requests, False)
    os.set_inheritable(answers, False)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a plain text stream
    faulthandler.enable()
    _Worker(requests, answers).run(warm_up)
