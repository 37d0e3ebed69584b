"""The worker process: takes the evaluator once, then one job after the other, and answers.

Jobs arrive pickled over a private pipe; answers leave as JSON, so the study unpickles nothing.
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

GO = b"go"
"""The study's permission to be alone."""


_MOST = 2000
"""Characters of an error that are kept."""


class Verdict(NamedTuple):
    """How an evaluation ended, in plain types."""

    status: str
    metrics: Metrics
    error: str


def evaluate(evaluator: Callable[[Job], Metrics], job: Job) -> Verdict:
    """Runs the evaluator; whatever it raises becomes a status and a sentence."""
    try:
        metrics = evaluator(job)
        return Verdict(Status.DONE, {str(name): float(metrics[name]) for name in metrics}, "")
    except OutOfTime as error:
        return Verdict(Status.RUNNING, {}, str(error))
    except InfeasibleCandidate as error:
        return Verdict(Status.INFEASIBLE, {}, str(error))
    except MemoryError as error:
        return Verdict(Status.INFEASIBLE, {}, f"ran out of memory: {error}".rstrip(": "))
    except (Exception, SystemExit) as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, on an accelerator
            return Verdict(Status.INFEASIBLE, {}, f"ran out of memory: {error}"[:_MOST])
        return Verdict(Status.FAILED, {}, describe_error(error))


def describe_error(error: BaseException) -> str:
    """``ValueError: the message (train.py, line 12, in fit)``."""
    said = "".join(traceback.format_exception_only(error)).strip()[:_MOST]
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return said
    last = frames[-1]
    return f"{said} ({os.path.basename(last.filename)}, line {last.lineno}, in {last.name})"  # noqa: PTH119  # pathlib is not needed otherwise


class _Worker:
    """The far end of a `Mailbox`."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = requests, answers
        self._alone = 0

    def run(self, warm_up: str = "") -> None:
        """Until the study closes the pipe; `warm_up`: ``module:function``, called before all else."""
        if warm_up:
            with suppress(Exception):  # the evaluator will say what is wrong
                module, _, function = warm_up.partition(":")
                getattr(importlib.import_module(module), function)()
        load = read_message(self._requests)
        if load is None:
            return
        try:
            evaluator = pickle.loads(load)
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
        """A context in which the study's other workers stand still."""
        self._alone += 1
        if self._alone == 1:
            self._answer("alone", True)
            if read_message(self._requests) != GO:
                raise SystemExit("the study is gone")
        try:
            yield
        finally:
            self._alone -= 1
            if not self._alone:
                self._answer("alone", False)

    def _answer(self, *parts: object) -> None:
        write_message(self._answers, json.dumps(parts).encode())


def main(requests: int, answers: int, warm_up: str = "") -> None:
    """The worker's process: prints go to standard error, so that they cannot break the pipe."""
    os.set_inheritable(requests, False)
    os.set_inheritable(answers, False)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a plain text stream
    faulthandler.enable()
    _Worker(requests, answers).run(warm_up)
