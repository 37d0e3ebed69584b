"""The files of a run: what of its front was exported, checked and measured, one after another."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from netwright.automl.ensembling.average_trials import (
    BrokenTrial,
    average_of,
    candidate_of,
    cross_validation,
    judging_rows,
    known_average,
    parents_of,
    predictor,
)
from netwright.automl.ensembling.refits import choice_of, fit_again
from netwright.automl.ensembling.selection import Choice
from netwright.automl.export.plan import Offer
from netwright.automl.saved_run import DELIVERED, MODEL, Delivered, searched
from netwright.data.task import Task
from netwright.deploy.model import Model
from netwright.deploy.onnx import Parity, card_of, export, parity
from netwright.errors import BrokenFile, NetwrightError, wording
from netwright.evaluators.latency import example_feeds, measure
from netwright.files.folder import Folder
from netwright.files.json_files import from_plain, read_json
from netwright.pipelines.constant import fit_constant
from netwright.pipelines.pipeline import FittedPipeline
from netwright.pipelines.weighted_ensemble import Predictor
from netwright.report.tables import Row, row
from netwright.space.candidate import Candidate
from netwright.study.progress.events import Callback, StageStarted, ignore
from netwright.study.study import Study
from netwright.trials.metrics import METRICS, score
from netwright.trials.pareto import losses, nondominated
from netwright.trials.trial import CONSTANT, ENSEMBLE, Metrics, Proposal, Status, Trial

_CHECKED = 256
"""Held-out rows on which a file and what it was made from are compared."""
_FREE = ("parameters", "flops", "memory", "train_seconds")
"""Costs that a constant prediction does not have."""
_CHECKED_FILE = "checked.json"
"""Beside a trial's `model.onnx`: what was found when it was checked and measured."""
_MAX_NOTE_BYTES = 100_000
_MEASURED = frozenset({
    "latency", "latency_spread", "latency_threads", "batch_latency", "batch_latency_threads", "size",
})  # fmt: skip
"""What `measure` finds."""


class Points:
    """What has been exported so far."""

    def __init__(
        self, study: Study[Any], task: Task, already: bool, end: float, threads: int,
        notify: Callback = ignore,
    ) -> None:  # fmt: skip
        self._study, self._task, self._already, self._end = study, task, already, end
        self._threads, self._notify = threads, notify
        self._tried: set[int] = set()
        """Trials whose candidates were fitted again, or could not be."""
        self._feeds: dict[str, Any] | None = None
        self.rows: dict[int, Row] = {}
        self._agreed: dict[int, Parity] = {}
        self.left_out: list[str] = []
        self.unexported = False
        """Whether time or patience ended before the front was exported."""
        self.broken: set[int] = set()
        """Trials of which a file could not be read."""
        self._chosen: int | None = None
        self._took = 0.0
        """Seconds that the best took to be exported, checked and measured."""
        self._stopped = False

    def first_of(self, offers: Iterator[Offer]) -> Iterator[Offer]:
        """Exports until one succeeds, which is the best and becomes the run's model; the others are
        given back."""
        begun = time.monotonic()
        for offer in offers:
            number = self._try(offer)
            if number is not None:
                self._chosen = number
                if best := self.best():
                    as_final(self._study, best[0], self.front(), unexported=True)
                break
        self._took = time.monotonic() - begun
        return offers

    def rest_of(self, offers: Iterator[Offer], part: float = 1.0) -> None:
        """Exports them for as long as there is time: there always is where nothing else was to do.

        `part`: of the time that the best took, what each of these is expected to take.
        """
        took = part * self._took
        with self._stoppable():
            for offer in offers:
                if self.rows and self._late(took):
                    self._leave_unexported("the time was up")
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
        if self._stopped or self._study.interrupted:
            return
        end = self._end - reserved
        if new:
            self._notify(StageStarted("refitting", "on all rows"))
        with self._stoppable():
            for trial, fitted in fit_again(self._study, self._task, new, end, self._threads):
                self._tried.add(trial.id)
                if self._late(reserved):
                    return
                if isinstance(fitted, str):
                    self.left_out.append(fitted)
                else:
                    self._try(choice_of(trial), fitted)

    def constant(self) -> None:
        """Exports the constant prediction, where no trial has finished."""
        study, task = self._study, self._task
        model = fit_constant(task, study.objectives[0].metric)
        rows = judging_rows(study, task)
        predictions, truth = model.predict(task.features.take(rows)), task.target[rows]
        scores = score(task.kind, truth, predictions, weights=task.weights_of(rows))
        metrics = dict(scores) | dict.fromkeys(_FREE, 0.0)
        trial, measured = self._add(Proposal(Candidate({}), origin=CONSTANT), model, metrics)
        self.rows[trial.id] = row(trial, study.space.fill, on_front=True, measured=measured)
        self._chosen = trial.id
        as_final(study, trial, self.front(), unexported=False)

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Ctrl-C costs what is made here, and what would come after the best."""
        try:
            yield
        except KeyboardInterrupt:
            self._stopped = True
            self._leave_unexported("it was stopped")

    def _leave_unexported(self, why: str) -> None:
        """Said once."""
        self.unexported = True
        if (sentence := _unexported(why)) not in self.left_out:
            self.left_out.append(sentence)

    def has_time(self, seconds: float) -> bool:
        """Whether so many are left until the end; always, where nothing was searched for."""
        return self._already or time.monotonic() + seconds <= self._end

    def _late(self, seconds: float) -> bool:
        """Whether there is no time for so many more; there is none for whoever has stopped it."""
        return self._stopped or not self.has_time(seconds)

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
        except Exception as error:  # a file's trouble costs this file alone
            if isinstance(error, OSError) and not self.rows:  # none can be written
                raise
            if isinstance(error, BrokenTrial):
                self.broken.add(error.trial)
            ours = isinstance(error, NetwrightError)
            self.left_out.append(
                f"{name} is left out: {'' if ours else type(error).__name__ + ': '}{error}"
            )
            return None
        if trial.status is not Status.DONE:
            return None
        self.rows[trial.id] = row(trial, self._study.space.fill, on_front=True, measured=measured)
        return trial.id

    def _record(self, choice: Choice, fitted: FittedPipeline | None) -> tuple[Trial, Metrics]:
        """The average as a trial of the study; `fitted`: of a candidate fitted again."""
        study, task = self._study, self._task
        candidate = candidate_of(choice)
        folds = cross_validation(study)
        share = choice.metrics["folds"] / (len(folds.tasks) if folds else 1)
        proposal = Proposal(candidate, share, ENSEMBLE, parents=parents_of(candidate))
        model = fitted or average_of(study, task, candidate)
        return self._add(proposal, model, choice.metrics)

    def _add(self, proposal: Proposal, model: Predictor, metrics: Metrics) -> tuple[Trial, Metrics]:
        """What was made, as a trial of the study, and the figures of its file.

        Of models that are parts of other trials nothing but the file is kept.
        """
        measured: dict[str, float] = {}

        def make(folder: Path) -> Metrics:
            if isinstance(model, FittedPipeline):
                model.save(folder)
            measured.update(self._write(model, folder, int(folder.name), metrics))
            return dict(metrics) | measured

        return self._study.add(proposal, make), measured

    def _export(self, trial: Trial) -> Metrics:
        """The figures of the trial's file, which is written unless an earlier run has done so."""
        kept = self._study.kept_folder(trial.id)
        if known := _checked(kept):
            self._agreed[trial.id] = known.parity
            if self._already:
                return dict(known.measured)
            kept.check(MODEL)
            return self._measured(Model(kept.path / MODEL), known.parity)
        model: Predictor
        if trial.proposal.origin == CONSTANT:
            model = fit_constant(self._task, self._study.objectives[0].metric)
        else:
            model = predictor(self._study, self._task, trial)
        kept.make(replaces_links=True)  # a study tidies those that can be made again
        return self._write(model, kept.path, trial.id, trial.metrics)

    def _write(self, model: Predictor, folder: Path, number: int, metrics: Metrics) -> Metrics:
        """The file in the trial's folder; its latencies and size."""
        task = self._task
        card = card_of(task) | {"trial": number, "validation": scores_of(metrics)}
        self._notify(StageStarted("exporting", f"trial {number}"))
        file = export(model, card, folder / MODEL)
        self._notify(StageStarted("checking", f"trial {number}"))
        rows = task.validation[:_CHECKED]
        agreed = self._agreed[number] = parity(file, model, task.features.take(rows))
        return self._measured(file, agreed)

    def _measured(self, file: Model, agreed: Parity) -> Metrics:
        """Latencies and size, which are noted beside the file."""
        if self._feeds is None:
            self._feeds = example_feeds(file, self._task)
        self._notify(StageStarted("measuring", f"trial {file.path.parent.name}"))
        measured = measure(file, self._feeds)
        checked = _Checked(version("netwright"), agreed, measured)
        Folder(file.path.parent).write(_CHECKED_FILE, json.dumps(asdict(checked)))
        return measured

    def best(self) -> tuple[Trial, Parity] | None:
        """The first that was exported; where it breaks a limit, the best that breaks none.

        Figures alone do not say it: some are of more rows than others, and those of most come
        first. None where all break limits.
        """
        known = {trial.id: trial for trial in self._study.trials}
        kept = self._kept()
        if not kept:
            return None
        first = self._study.objectives[0]
        number = min(
            kept,
            key=lambda n: (
                n != self._chosen, -kept[n].metrics.get("folds", 0), first.loss(kept[n].metrics),
            ),
        )  # fmt: skip
        return known[number], self._agreed[number]

    def _kept(self) -> dict[int, Row]:
        """What was exported and keeps the limits."""
        limits = self._study.limits
        return {n: r for n, r in self.rows.items() if all(one.keeps(r.metrics) for one in limits)}

    def front(self) -> list[Row]:
        """Best first: those that nothing else beats in all objectives, as the files were measured.

        Of a single objective, in it and in latency: those of fewer folds are not among them, their
        figures are of other rows. What is delivered is among them whatever the figures say.
        """
        first, *others = self._study.objectives
        rows = sorted(self._kept().values(), key=lambda row: first.loss(row.metrics))
        best = self.best()
        if best is None:
            return rows
        if others:
            measured = losses([row.metrics for row in rows], self._study.objectives)
            unbeaten = set(nondominated(measured))
            return [r for i, r in enumerate(rows) if i in unbeaten or r.trial == best[0].id]
        kept = [one for one in rows if one.trial == best[0].id]
        folds = kept[0].metrics.get("folds")
        for one in (one for one in rows if one.metrics.get("folds") == folds):
            if one.metrics["latency"] < kept[-1].metrics["latency"]:
                kept.append(one)
        return kept


def _unexported(why: str) -> str:
    line, call = "The same line exports it.", "With a run folder, the same call exports it."
    fix = wording(python=call, shell=line)
    return f"more of the front is not exported: {why}. {fix}"


@dataclass(frozen=True)
class _Checked:
    """What is noted beside a trial's file: the version that checked it, and what was found."""

    netwright: str
    parity: Parity
    measured: Mapping[str, float]


def _checked(folder: Folder) -> _Checked | None:
    """What this version has noted beside a trial's file; None where there is nothing to rely on."""
    try:
        state = read_json(folder, _CHECKED_FILE, _MAX_NOTE_BYTES)
        noted = from_plain(state, _Checked, str(folder.path / _CHECKED_FILE))
    except BrokenFile:
        return None
    numbers = [*noted.measured.values(), noted.parity.rows, noted.parity.difference]
    if not all(map(math.isfinite, numbers)) or not noted.measured.keys() >= _MEASURED:
        return None
    whole = noted.measured["size"] == folder.size(MODEL) > 0
    return noted if whole and noted.netwright == version("netwright") else None


def as_final(study: Study[Any], trial: Trial, front: Sequence[Row], unexported: bool) -> Model:
    """The trial's file as that of the run; each write is whole or not at all, power cuts included.

    `unexported`: more of the front may be worth exporting than there was time for.
    """
    run = Folder(study.folder)
    study.kept_folder(trial.id).copy(MODEL, run, MODEL, sync=True)
    numbers = tuple(row.trial for row in front)
    note = Delivered(trial.id, searched(study.trials), numbers, unexported)
    run.write(DELIVERED, json.dumps(asdict(note)), sync=True)
    return Model(run.path / MODEL)


def scores_of(metrics: Metrics) -> dict[str, float]:
    """The metrics that judge predictions, without the costs."""
    return {
        name: value for name, value in metrics.items() if name in METRICS and METRICS[name].kinds
    }
