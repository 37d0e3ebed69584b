"""A search over shared weights, as long work that a study has done before its first proposal."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from netwright.data.task import Task
from netwright.errors import InputError, Phrase, expected
from netwright.networks.layers import Network
from netwright.networks.training import Examples, Training
from netwright.oneshot.conclusion import Conclusion, conclude
from netwright.oneshot.measuring import step_costs
from netwright.oneshot.relaxations import Relaxation
from netwright.oneshot.search import EpochRecord, GradientSearch, halves
from netwright.oneshot.settings import Gradient
from netwright.oneshot.steps import Feed
from netwright.oneshot.supernet import Supernet
from netwright.pipelines.models import Inputs, Standardise
from netwright.pipelines.pipeline import as_pipeline, prepared, target_of
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.trials.trial import Job, Metrics

_TRAINING = 0.75
"""Share of the time for training; the rest is for the end: what is watched, and remedies."""
_RESERVE = 0.05
_RESULT, _PROGRESS = "shortlist.json", "progress.json"
_MOST = 20
"""Candidates in a shortlist."""


@dataclass(frozen=True)
class SupernetSearch:
    """Trains a supernet of the space's network on the task's training rows, by `method`.

    Called like an evaluator, with a job: it goes on where it was killed, and ends before the
    deadline. All it leaves lies in `folder`; what it came to is what `candidates` reads there.
    Raises InputError when the description has not one network in it, SpaceError when there is
    nothing to mix.
    """

    space: Space[Any]
    task: Task
    method: Gradient | Relaxation
    folder: Path
    seed: int = 0

    def __post_init__(self) -> None:
        assert self.held is not None  # refused now, not when a worker runs it

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("supernet_epochs", "supernet_loss")

    @cached_property
    def settings(self) -> Gradient:
        """The method with its settings; a relaxation by itself has the usual ones."""
        if isinstance(self.method, Gradient):
            return self.method
        if not hasattr(self.method, "penalty"):
            rule = "the settings of a search over shared weights, such as Gradient(DrNAS())"
            raise InputError(expected("method", rule, Phrase(repr(self.method))))
        return Gradient(self.method)

    @cached_property
    def held(self) -> Mapping[str, str]:
        """Paths of decisions that have their default while the supernet trains -> why."""
        with torch.device("meta"):
            supernet = self._supernet()
        return {
            one.path: supernet.held.get(one.path, "it is no part of the network")
            for one in self.space.decisions if one.path not in supernet.options
        }  # fmt: skip

    # What it came to

    @property
    def over(self) -> bool:
        """Whether it is done, or was given up."""
        return (self.folder / _RESULT).exists()

    def candidates(self, number: int) -> list[Candidate]:
        """At most `number` of those found, best first. None where it was given up."""
        return [Candidate.from_json(text) for text in self._result["candidates"][:number]]

    @property
    def trusted(self) -> bool:
        """Whether what was watched lets shared weights decide."""
        return bool(self._result["trusted"])

    def report(self) -> list[str]:
        """What it came to, in sentences."""
        return [str(one) for one in self._result["says"]]

    def give_up(self, reason: str) -> None:
        """Ends it without a result."""
        says = [f"the supernet came to nothing: {reason}"]
        _write(self.folder / _RESULT, {"candidates": [], "trusted": False, "says": says})

    def progress(self) -> str:
        """How far it is, in a few words; empty before there is anything to say."""
        try:
            return str(json.loads((self.folder / _PROGRESS).read_text())["says"])
        except (OSError, ValueError, KeyError):
            return ""

    @cached_property
    def _result(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads((self.folder / _RESULT).read_text())
        return found

    # The work

    def __call__(self, job: Job) -> Metrics:
        begun = time.monotonic()
        left = job.deadline - begun
        search = self._search()
        watch = _Watch(
            self.folder / _PROGRESS, begun, begun + _TRAINING * left, self.settings.epochs
        )
        watch.says(str(step_costs(search)))
        search.train(watch.end, watch)
        watch.says("supernet trained, looking at it")
        conclusion = conclude(search, _MOST, job.deadline - _RESERVE * left)
        _write(self.folder / _RESULT, _as_json(search, conclusion, self.held))
        last = search.record[-1]
        return {"supernet_epochs": float(len(search.record)), "supernet_loss": last.train_loss}

    def _search(self) -> GradientSearch:
        """The search as it was left, or a new one."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            supernet = self._supernet()
        if torch.cuda.is_available():
            supernet.to("cuda")
        feed = Feed(self._recipe.augment, _scale(self._inputs, next(supernet.parameters()).device))
        rows = halves(self._rows(), self.seed)
        return GradientSearch(
            self.space, supernet, rows, self.settings, self.seed, self.folder, feed
        )

    def _supernet(self) -> Supernet:
        prefix, network = _network_in(self.space.description)
        return Supernet(
            network, self._inputs.shape, prefix, partial=self.settings.partial,
            affine=self.settings.weights.affine, **self._inputs.given,
        )  # fmt: skip

    @property
    def _recipe(self) -> Training:
        return as_pipeline(self.space.fill(self.space.default()), self.task).model

    @property
    def _inputs(self) -> Inputs:
        pipeline = as_pipeline(self.space.fill(self.space.default()), self.task)
        return prepared(pipeline, self.task).for_network(target_of(self.task).outputs)

    def _rows(self) -> Examples:
        pipeline, task = as_pipeline(self.space.fill(self.space.default()), self.task), self.task
        inputs = prepared(pipeline, task).inputs(task.features.take(task.train))
        targets = target_of(task).examples(task.target[task.train])
        return Examples(torch.from_numpy(inputs), targets)


def _network_in(description: Any) -> tuple[str, Network]:
    """Where the one network of a description stands, and the network."""
    recipe, prefix = description, "network"
    if not isinstance(description, Training):
        recipe, prefix = getattr(description, "model", None), "model.network"
    if not isinstance(recipe, Training):
        rule = "a Training, or a pipeline around one, to be searched by shared weights"
        raise InputError(expected("description", rule, Phrase(type(description).__name__)))
    return prefix, recipe.network


def _scale(inputs: Inputs, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    return Standardise(inputs.mean, inputs.std).to(device) if inputs.mean else nn.Identity()


class _Watch:
    """Writes down how far the training is, for those who look on."""

    def __init__(self, path: Path, begun: float, end: float, epochs: int) -> None:
        self.path, self.begun, self.end, self.epochs = path, begun, end, epochs
        self.started: tuple[float, float] | None = None
        self.number = 0

    def says(self, text: str) -> None:
        _write(self.path, {"says": text})

    def __call__(self, epoch: EpochRecord) -> None:
        self.number += 1
        now = time.monotonic()
        if self.started is None:  # the first epoch after a start tells how fast it goes
            self.started = now, epoch.progress
            pace = (now - self.begun) / max(epoch.progress, 1e-9)
        else:
            done = epoch.progress - self.started[1]
            pace = (now - self.started[0]) / max(done, 1e-9)
        left = max(0.0, min((1 - epoch.progress) * pace, self.end - now))
        minutes, seconds = divmod(round(left), 60)
        self.says(
            f"{epoch.progress:.0%}, loss {epoch.train_loss:.3f}, {minutes}:{seconds:02d} left"
        )


def _as_json(
    search: GradientSearch, conclusion: Conclusion, held: Mapping[str, str]
) -> dict[str, Any]:
    says = [
        f"supernet: {len(search.record)} epochs, options chosen by {conclusion.by}, "
        f"{len(conclusion.candidates)} candidates",
        *(f"epoch {i}, {one.remedy}" for i, one in enumerate(search.record, 1) if one.remedy),
        *(one.says for one in conclusion.findings),
    ]
    if held:
        paths = ", ".join([*held][:4]) + (f" and {len(held) - 4} more" if len(held) > 4 else "")
        says.append(f"held at their defaults, and searched from here on: {paths}")
    return {
        "candidates": [one.json() for one in conclusion.candidates],
        "trusted": conclusion.trusted,
        "says": says,
        "findings": [asdict(one) for one in conclusion.findings],
        "held": dict(held),
        "scores": {path: [*scores] for path, scores in conclusion.scores.items()},
        "record": [one._asdict() for one in search.record],
    }


def _write(path: Path, found: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(found))
    os.replace(new, path)  # noqa: PTH105  # one step
