"""From a finished search to files: the front exported, checked, measured, and the best of it."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from netwright.automl.averages import (
    average_of,
    candidate_of,
    cross_validation,
    held_out_of,
    judging_rows,
    known_average,
    parents_of,
    predictor,
    threshold_of,
)
from netwright.automl.ensembles import Choice
from netwright.automl.front import Offer, Wanted, faster, first, front, wanted_of
from netwright.automl.refits import choice_of, fit_again
from netwright.automl.reopen import DELIVERED, delivered
from netwright.automl.trust import interval, no_better
from netwright.data.task import Task
from netwright.deploy.model import Model
from netwright.deploy.onnx import Parity, card_of, export, parity
from netwright.errors import ExportError, RunError
from netwright.evaluators.latency import example_feeds, measure
from netwright.pipelines.blend import Predictor
from netwright.pipelines.pipeline import FittedPipeline
from netwright.report.tables import Row, row
from netwright.study.study import Study
from netwright.trials.metrics import METRICS, score
from netwright.trials.trial import ENSEMBLE, Metrics, Proposal, Status, Trial

_CHECKED = 256
"""Held-out rows on which a file and what it was made from are compared."""
_TO_WRITE, _A_BYTE = 1.0, 2.5e-7
"""Seconds to write, check and measure a file; and for each byte of what an average has fitted."""
_LESS = 0.25
"""The part of that for one model in place of one for each fold."""
_NO_TIME = "more of the front is not exported: the time was up. The same line exports it."
_CHECKED_FILE = "checked.json"
"""Beside a trial's `model.onnx`: what was found when it was checked and measured."""


@dataclass(frozen=True)
class Outcome:
    """What a search came to; everything in it is on disk in the run folder.

    `front` has one row for each delivered point, measured when the run ended; `test` is
    empty without a test part. `judged`: the rows that validation metrics are of. `already`: earlier
    runs of the same line had used up the budget.
    """

    run: Path
    task: Task
    study: Study[Any]
    best: Trial
    front: list[Row]
    model: Model
    parity: Parity
    test: Metrics
    already: bool
    judged: int
    left_out: tuple[str, ...] = ()
    """Sentences on members of the front that could not be exported."""
    doubts: tuple[str, ...] = ()
    """Sentences that speak against the scores."""

    def sure(self) -> tuple[float, float] | None:
        """The 95 % interval of the best's first objective, where that judges predictions.

        Counted when it is asked for: 200 scores of all rows.
        """
        held_out = held_out_of(self.study, self.task, self.best)
        if held_out is None:
            return None
        rows = judging_rows(self.study, self.task)
        name = self.study.objectives[0].metric
        return interval(self.task, rows, held_out, name, threshold_of(self.best))


def deliver(
    study: Study[Any], task: Task, already: bool = False, end: float = math.inf, threads: int = 1
) -> Outcome:
    """Exports and measures the front, and writes its best as `model.onnx` in the run folder.

    Of a search over folds also averages of trials are made and recorded. A member that cannot be
    exported exactly is left out, with its reason; so are those for which no time is left at `end`,
    but never the best. Trees of what is delivered are fitted again on all rows, `threads` at a time,
    where there is time. Raises RunError when there is nothing to deliver, KeyboardInterrupt when
    that is because the study was stopped.
    """
    before = _delivered(study) if already else None
    points = _Points(study, task, before is not None, end, threads)
    wanted = wanted_of(study, task)
    if wanted is None:
        points.rest_of(points.first_of(front(study)))
    else:
        _averages(points, study, task, wanted, before)
    best = points.best()
    if best is None:
        if study.interrupted:
            raise KeyboardInterrupt
        raise RunError(_nothing(study, points.left_out))
    trial, agreed = best
    model = _as_final(study, trial)
    test = score_part(model, task)
    rows, held_out = judging_rows(study, task), held_out_of(study, task, trial)
    if held_out is not None:  # those of some folds only, where it was fitted on no others
        rows = rows[np.isfinite(held_out.reshape(len(rows), -1)).all(1)]
    return Outcome(
        study.folder, task, study, trial, points.front(), model, agreed, test, already, len(rows),
        tuple(points.left_out),
        tuple(no_better(study.objectives[0].metric, trial.metrics, task, rows)),
    )  # fmt: skip


def _averages(
    points: _Points, study: Study[Any], task: Task, wanted: Wanted, before: Trial | None
) -> None:
    """Of a search over folds the best, then what is faster, then the rest, while there is time.

    `before`: nothing was searched for since this was delivered, and so it is again.
    """
    if before is None:
        points.fit_again(wanted.averages[0].shares, _TO_WRITE + _A_BYTE * wanted.bytes)
    others = points.first_of(chain([before] if before else [], first(study, wanted)))
    points.fit_again(wanted.singles, _TO_WRITE)
    points.rest_of(faster(study, task, wanted), _LESS)
    points.rest_of(others)


def _delivered(study: Study[Any]) -> Trial | None:
    """What the folder's `model.onnx` is of, where that is known."""
    number = delivered(study.folder)
    return next((one for one in study.trials if one.id == number), None)


def _as_final(study: Study[Any], trial: Trial) -> Model:
    """The trial's file as that of the run; each write is whole or not at all."""
    final = study.folder / "model.onnx"
    part = final.with_name(".model.onnx.part")
    shutil.copyfile(study.trial_folder(trial.id) / "model.onnx", part)
    part.replace(final)
    part.write_text(json.dumps({"trial": trial.id}))
    part.replace(study.folder / DELIVERED)
    return Model(final)


class _Points:
    """What has been exported so far."""

    def __init__(
        self, study: Study[Any], task: Task, already: bool, end: float, threads: int
    ) -> None:
        self._study, self._task, self._already, self._end = study, task, already, end
        self._threads = threads
        self._tried: set[int] = set()
        """Trials whose candidates were fitted again, or could not be."""
        self._feeds: dict[str, Any] | None = None
        self.rows: dict[int, Row] = {}
        self._agreed: dict[int, Parity] = {}
        self.left_out: list[str] = []
        self._chosen: int | None = None
        self._took = 0.0
        """Seconds that the best took to be exported, checked and measured."""

    def first_of(self, offers: Iterator[Offer]) -> Iterator[Offer]:
        """Exports until one succeeds, which is the best; the others are given back."""
        begun = time.monotonic()
        for offer in offers:
            number = self._try(offer)
            if number is not None:
                self._chosen = number
                break
        self._took = time.monotonic() - begun
        return offers

    def rest_of(self, offers: Iterator[Offer], part: float = 1.0) -> None:
        """Exports them for as long as there is time: there always is where nothing else was to do.

        `part`: of the time that the best took, what each of these is expected to take.
        """
        took = part * self._took
        for offer in offers:
            if self.rows and self._late(took):
                self.left_out += [_NO_TIME] if _NO_TIME not in self.left_out else []
                return
            begun = time.monotonic()
            self._try(offer)
            took = max(took / 2, time.monotonic() - begun)

    def fit_again(self, numbers: Iterable[int], reserved: float) -> None:
        """Fits the trials' candidates on all rows and exports them.

        `reserved`: seconds for what comes after. Nothing is done where the study was stopped:
        whoever stops it does not want to wait.
        """
        new = [number for number in dict.fromkeys(numbers) if number not in self._tried]
        if self._study.interrupted:
            return
        end = self._end - reserved
        for trial, fitted in fit_again(self._study, self._task, new, end, self._threads):
            self._tried.add(trial.id)
            if self._late(reserved):
                return
            if isinstance(fitted, str):
                self.left_out.append(fitted)
            else:
                self._try(choice_of(trial), fitted)

    def _late(self, seconds: float) -> bool:
        """Whether there is no time for so many more; there is where nothing was searched for."""
        return not self._already and time.monotonic() + seconds > self._end

    def _try(self, offer: Offer, fitted: FittedPipeline | None = None) -> int | None:
        """The trial that was exported, checked and measured; None where the reason is noted."""
        name = f"trial {offer.id}" if isinstance(offer, Trial) else "an average"
        try:
            if callable(offer):
                offer = offer()
            if isinstance(offer, Choice):
                offer = known_average(self._study, offer) or offer
            if isinstance(offer, Choice):
                trial, measured = self._record(offer, fitted)
            elif offer.id in self.rows:
                return offer.id
            else:
                trial, measured = offer, self._export(offer)
        except (ExportError, RunError) as error:
            self.left_out.append(f"{name} is left out: {error}")
            return None
        if trial.status is not Status.DONE:
            return None
        self.rows[trial.id] = row(trial, self._study.space.fill, on_front=True, measured=measured)
        return trial.id

    def _record(self, choice: Choice, fitted: FittedPipeline | None) -> tuple[Trial, Metrics]:
        """The average as a trial of the study; `fitted`: of a candidate fitted again."""
        study, task = self._study, self._task
        candidate = candidate_of(choice)
        measured: dict[str, float] = {}
        folds = cross_validation(study)
        share = choice.metrics["folds"] / (len(folds.tasks) if folds else 1)
        proposal = Proposal(candidate, share, ENSEMBLE, parents=parents_of(candidate))
        model = fitted or average_of(study, task, candidate)

        def make(folder: Path) -> Metrics:
            number = int(folder.name)
            if fitted:
                fitted.save(folder)
            measured.update(self._write(model, folder, number, choice.metrics))
            return dict(choice.metrics) | measured

        return study.add(proposal, make), measured

    def _export(self, trial: Trial) -> Metrics:
        """The figures of the trial's file, which is written unless an earlier run has done so."""
        folder = self._study.trial_folder(trial.id)
        if known := _checked(folder):
            self._agreed[trial.id] = Parity(**known["parity"])
            if self._already:
                return dict(known["measured"])
            return self._measured(Model(folder / "model.onnx"), known["parity"])
        model = predictor(self._study, self._task, trial)
        return self._write(model, folder, trial.id, trial.metrics)

    def _write(self, model: Predictor, folder: Path, number: int, metrics: Metrics) -> Metrics:
        """The file in the trial's folder; its latencies and size."""
        task = self._task
        folder.mkdir(parents=True, exist_ok=True)  # a study tidies those that can be made again
        card = card_of(task) | {"trial": number, "validation": scores_of(metrics)}
        file = export(model, card, folder / "model.onnx")
        rows = task.validation[:_CHECKED]
        agreed = self._agreed[number] = parity(file, model, task.features.take(rows))
        return self._measured(file, asdict(agreed))

    def _measured(self, file: Model, agreed: dict[str, Any]) -> Metrics:
        """Latencies and size, which are noted beside the file."""
        if self._feeds is None:
            self._feeds = example_feeds(file, self._task)
        measured = measure(file, self._feeds)
        told = {"netwright": version("netwright"), "parity": agreed, "measured": measured}
        part = file.path.with_name(f".{_CHECKED_FILE}.part")
        part.write_text(json.dumps(told))
        part.replace(file.path.with_name(_CHECKED_FILE))
        return measured

    def best(self) -> tuple[Trial, Parity] | None:
        """The first that was exported; where it breaks a limit, the best that breaks none.

        Figures alone do not say it: some are of more rows than others. None where all break limits.
        """
        known = {trial.id: trial for trial in self._study.trials}
        kept = self._kept()
        if not kept:
            return None
        first = self._study.objectives[0]
        number = min(kept, key=lambda n: (n != self._chosen, first.loss(kept[n].metrics)))
        return known[number], self._agreed[number]

    def _kept(self) -> dict[int, Row]:
        """What was exported and keeps the limits."""
        limits = self._study.limits
        return {n: r for n, r in self.rows.items() if all(one.keeps(r.metrics) for one in limits)}

    def front(self) -> list[Row]:
        """Best first; of a single objective those that nothing else beats in it and in latency.

        What is delivered is among them whatever the figures say. Those of fewer folds are not: their
        figures are of other rows.
        """
        first, *others = self._study.objectives
        rows = sorted(self._kept().values(), key=lambda one: first.loss(one.metrics))
        best = self.best()
        if others or best is None:
            return rows
        kept = [one for one in rows if one.trial == best[0].id]
        folds = kept[0].metrics.get("folds")
        for one in (one for one in rows if one.metrics.get("folds") == folds):
            if one.metrics["latency"] < kept[-1].metrics["latency"]:
                kept.append(one)
        return kept


def _checked(folder: Path) -> dict[str, Any] | None:
    """What this version has noted beside a trial's file; None where there is nothing to rely on."""
    try:
        told: dict[str, Any] = json.loads((folder / _CHECKED_FILE).read_text())
        whole = told["measured"]["size"] == (folder / "model.onnx").stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return told if whole and told["netwright"] == version("netwright") else None


def scores_of(metrics: Metrics) -> dict[str, float]:
    """The metrics that judge predictions, without the costs."""
    return {
        name: value for name, value in metrics.items() if name in METRICS and METRICS[name].kinds
    }


def score_part(model: Model, task: Task) -> Metrics:
    """The delivered file on the task's test part; empty when there is none."""
    if task.test is None:
        return {}
    scores, threshold = model.scores(task.test.features), model.card.get("threshold", 0.5)
    return score(task.kind, task.test.target, scores, threshold)


def _nothing(study: Study[Any], left_out: list[str]) -> str:
    """Why there is no model, from what the trials say."""
    if left_out:
        return left_out[0]
    done = [trial for trial in study.trials if trial.status is Status.DONE]
    if done and study.limits:
        limits = ", ".join(str(limit) for limit in study.limits)
        return f"no trial kept the limits {limits}. Loosen them, or give the search more time."
    reasons = [trial.error for trial in study.trials if trial.error]
    if reasons and "is broken" in reasons[-1]:
        limits = ", ".join(str(limit) for limit in study.limits)
        return (
            f"no candidate kept the limits {limits}; the last one says: {reasons[-1]}. Loosen them."
        )
    if reasons:
        return f"no trial finished; the last one says: {reasons[-1]}. Give the search more time."
    return "no trial finished in time. Use a larger --time."
