"""The files of a run: each exported, checked against what it was made of, and measured."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from netwright.automl.ensembling.models import BrokenTrial, ensemble_of, model_of
from netwright.automl.ensembling.out_of_fold import few_members
from netwright.automl.ensembling.refits import fit_again, refit_of
from netwright.automl.ensembling.selection import ProposedEnsemble
from netwright.automl.export.plan import (
    ExportItem,
    ExportPhase,
    ExportProgress,
    FewMembers,
    RefitStep,
    key_of,
)
from netwright.automl.finished_search import FinishedSearch
from netwright.automl.saved_run import DeliveryRecord, n_searched
from netwright.deploy.export import Parity, check_parity, export_onnx, make_card
from netwright.deploy.model import Model
from netwright.errors import BrokenFile, NetwrightError, wording
from netwright.evaluators.latency import example_feeds, measure_latency
from netwright.files.folder import Folder
from netwright.files.json_files import from_plain, read_json
from netwright.files.run_layout import CHECKED, DELIVERED, MODEL
from netwright.pipelines.constant_predictor import fit_constant_predictor
from netwright.pipelines.pipeline import FittedPipeline
from netwright.pipelines.weighted_ensemble import Predictor
from netwright.report.tables import Row, row
from netwright.space.candidate import Candidate
from netwright.study.progress.events import Callback, StageStarted
from netwright.study.study import Study
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.metrics import METRICS, network_costs, score
from netwright.trials.pareto import losses, nondominated
from netwright.trials.trial import CONSTANT, ENSEMBLE, Metrics, Proposal, Status, Trial

_CHECKED_ROWS = 256
"""Held-out rows on which a file and what it was made from are compared."""
_MAX_NOTE_BYTES = 100_000
_MEASURED = frozenset({
    "latency", "latency_spread", "latency_threads", "batch_latency", "batch_latency_threads", "size",
})  # fmt: skip
"""What `measure` finds."""


class FrontExporter:
    """Exports what the plan says, and keeps what came of it."""

    def __init__(
        self, study: Study[Any], search: FinishedSearch, progress: ExportProgress, notify: Callback
    ) -> None:
        self._study, self._notify = study, notify
        self.search, self.progress = search, progress
        self._feeds: dict[str, Any] | None = None
        self._agreed: dict[int, Parity] = {}
        self.rows: dict[int, Row] = {}
        """Trial id -> its row with the figures of its file."""
        self.left_out: list[str] = []
        """Sentences on what could not be exported."""
        self.unexported = False
        """Whether time or patience ended before the front was exported."""
        self.broken: set[int] = set()
        """Trials of which a file could not be read."""

    def leave_unexported(self, why: str) -> None:
        """Say once that there is more."""
        self.unexported = True
        line, call = "The same line exports it.", "With a run folder, the same call exports it."
        fix = wording(python=call, shell=line)
        self.note(f"more of the front is not exported: {why}. {fix}")

    def stop(self) -> None:
        """Export no more than the best: the user wants to go."""
        self.progress = replace(self.progress, stopped=True)
        self.leave_unexported("it was stopped")

    def note(self, sentence: str) -> None:
        """Say once what is left out."""
        if sentence not in self.left_out:
            self.left_out.append(sentence)

    def export(self, item: ExportItem, phase: ExportPhase) -> None:
        """Export one item; the first that succeeds becomes the model of the run."""
        begun = time.monotonic()
        number = self._try(item)
        took = time.monotonic() - begun
        progress, keys = self.progress, {key_of(item)} | ({number} if number else set())
        seconds = {**progress.seconds, phase: (*progress.seconds.get(phase, ()), took)}
        attempted = progress.attempted | keys
        self.progress = replace(progress, attempted=attempted, seconds=seconds)
        if progress.chosen is not None:
            return
        best_seconds = progress.best_seconds + took
        self.progress = replace(self.progress, chosen=number, best_seconds=best_seconds)
        if number is not None and (best := self.best()):
            self.as_final(best[0], self.front(), unexported=True)

    def refit(self, step: RefitStep, end: float, threads: int) -> None:
        """Fit the trials' candidates on all rows, and export them; over at `end`."""
        self.progress = replace(self.progress, refits=self.progress.refits | {step.round})
        tried = {key.trials[0] for key in self._refit_keys()}
        numbers = [number for number in step.trials if number not in tried]
        if numbers:
            self._notify(StageStarted("refitting", "on all rows"))
        for trial, fitted in fit_again(self.search, numbers, end - step.reserved, threads):
            spec = refit_of(trial)
            self._attempted(spec)
            if not self.progress.has_time(step.reserved, end - time.monotonic()):
                return
            if isinstance(fitted, str):
                self.left_out.append(fitted)
            elif number := self._try(ProposedEnsemble(spec, trial.metrics), fitted):
                self._attempted(number)

    def _refit_keys(self) -> list[EnsembleSpec]:
        return [
            key for key in self.progress.attempted if isinstance(key, EnsembleSpec) and key.refit
        ]

    def _attempted(self, key: int | EnsembleSpec) -> None:
        self.progress = replace(self.progress, attempted=self.progress.attempted | {key})

    def constant(self) -> None:
        """Export the constant prediction, where no trial has finished."""
        search, task = self.search, self.search.task
        model = fit_constant_predictor(task, search.objectives[0].metric)
        rows = search.validation_rows
        predictions, truth = model.predict(task.features.take(rows)), task.target[rows]
        scores = score(task.kind, truth, predictions, weights=task.weights_of(rows))
        metrics = dict(scores) | dict.fromkeys([*network_costs(METRICS), "train_seconds"], 0.0)
        trial, measured = self._add(Proposal(Candidate({}), origin=CONSTANT), model, metrics)
        self.rows[trial.id] = row(trial, search.space.fill, on_front=True, measured=measured)
        self.progress = replace(self.progress, chosen=trial.id)
        self.as_final(trial, self.front(), unexported=False)

    def _try(self, item: ExportItem, fitted: FittedPipeline | None = None) -> int | None:
        """The trial that was exported, checked and measured; None where the reason is noted."""
        name = f"trial {item.id}" if isinstance(item, Trial) else "an average"
        try:
            if isinstance(item, FewMembers):
                item = few_members(self.search, self.search.by_id[item.trial], item.n_members)
            if isinstance(item, ProposedEnsemble):
                trial, measured = self._record(item, fitted)
            else:
                trial, measured = item, self._export(item)
        except Exception as error:  # a file's trouble costs this file alone
            if isinstance(error, OSError) and not self.rows:  # none can be written
                raise
            if isinstance(error, BrokenTrial):
                self.broken.add(error.trial)
            ours = isinstance(error, NetwrightError)
            kind = "" if ours else f"{type(error).__name__}: "
            self.left_out.append(f"{name} is left out: {kind}{error}")
            return None
        if trial.status is not Status.DONE:
            return None
        self.rows[trial.id] = row(trial, self.search.space.fill, on_front=True, measured=measured)
        return trial.id

    def _record(
        self, ensemble: ProposedEnsemble, fitted: FittedPipeline | None
    ) -> tuple[Trial, Metrics]:
        """The ensemble as a trial of the study; `fitted`: of a candidate fitted again."""
        share = ensemble.metrics["folds"] / self.search.n_folds
        proposal = Proposal(Candidate({}), share, ENSEMBLE, parents=ensemble.spec.trials)
        model = fitted or ensemble_of(self.search, ensemble.spec)
        return self._add(proposal, model, ensemble.metrics, ensemble.spec)

    def _add(
        self, proposal: Proposal, model: Predictor, metrics: Metrics,
        ensemble: EnsembleSpec | None = None,
    ) -> tuple[Trial, Metrics]:  # fmt: skip
        """What was made, as a trial of the study, and the figures of its file.

        Of models that are parts of other trials nothing but the file is kept.
        """
        measured: dict[str, float] = {}

        def make(folder: Path) -> Metrics:
            if isinstance(model, FittedPipeline):
                model.save(folder)
            measured.update(self._write(model, folder, int(folder.name), metrics))
            return dict(metrics) | measured

        trial = self._study.add_trial(proposal, make, ensemble)
        self.search = self.search.with_trial(trial)
        return trial, measured

    def _export(self, trial: Trial) -> Metrics:
        """The figures of the trial's file, which is written unless an earlier run has done so."""
        kept = self.search.trial_folder(trial.id)
        if known := _checked(kept):
            self._agreed[trial.id] = known.parity
            if self.progress.is_resumed:
                return dict(known.measured)
            kept.check(MODEL)
            return self._measured(Model(kept.path / MODEL), known.parity)
        model: Predictor
        if trial.proposal.origin == CONSTANT:
            model = fit_constant_predictor(self.search.task, self.search.objectives[0].metric)
        else:
            model = model_of(self.search, trial)
        kept.make(replaces_links=True)  # a study tidies those that can be made again
        return self._write(model, kept.path, trial.id, trial.metrics)

    def _write(self, model: Predictor, folder: Path, number: int, metrics: Metrics) -> Metrics:
        """The file in the trial's folder; its latencies and size."""
        task = self.search.task
        card = make_card(task) | {"trial": number, "validation": scores_of(metrics)}
        self._notify(StageStarted("exporting", f"trial {number}"))
        file = export_onnx(model, card, folder / MODEL)
        self._notify(StageStarted("checking", f"trial {number}"))
        rows = task.validation[:_CHECKED_ROWS]
        agreed = self._agreed[number] = check_parity(file, model, task.features.take(rows))
        return self._measured(file, agreed)

    def _measured(self, file: Model, agreed: Parity) -> Metrics:
        """Latencies and size, which are noted beside the file."""
        if self._feeds is None:
            self._feeds = example_feeds(file, self.search.task)
        self._notify(StageStarted("measuring", f"trial {file.path.parent.name}"))
        measured = measure_latency(file, self._feeds)
        checked = _Checked(version("netwright"), agreed, measured)
        Folder(file.path.parent).write(CHECKED, json.dumps(asdict(checked)))
        return measured

    def best(self) -> tuple[Trial, Parity] | None:
        """The first that was exported; where it breaks a limit, the best that breaks none.

        Figures alone do not say it: some are of more rows than others, and those of most come
        first. None where all break limits.
        """
        number = best_of(self.rows, self.search, self.progress.chosen)
        return None if number is None else (self.search.by_id[number], self._agreed[number])

    def front(self) -> list[Row]:
        """The rows of `front_of`."""
        return front_of(self.rows, self.search, self.progress.chosen)

    def as_final(self, trial: Trial, front: Sequence[Row], unexported: bool) -> Model:
        """The trial's file as that of the run; each write is whole or not at all, power cuts too.

        `unexported`: more of the front may be worth exporting than there was time for.
        """
        run = Folder(self.search.folder)
        self.search.trial_folder(trial.id).copy(MODEL, run, MODEL, sync=True)
        numbers = tuple(row.trial for row in front)
        note = DeliveryRecord(trial.id, n_searched(self.search.trials), numbers, unexported)
        run.write(DELIVERED, json.dumps(asdict(note)), sync=True)
        return Model(run.path / MODEL)


def _within_limits(rows: Mapping[int, Row], search: FinishedSearch) -> dict[int, Row]:
    limits = search.limits
    return {n: r for n, r in rows.items() if all(one.keeps(r.metrics) for one in limits)}


def best_of(rows: Mapping[int, Row], search: FinishedSearch, chosen: int | None) -> int | None:
    """The chosen trial; where its file breaks a limit, the best that breaks none."""
    kept = _within_limits(rows, search)
    first = search.objectives[0]

    def order(number: int) -> tuple[bool, float, float]:
        metrics = kept[number].metrics
        return number != chosen, -metrics.get("folds", 0.0), first.loss(metrics)

    return min(kept, key=order) if kept else None


def front_of(rows: Mapping[int, Row], search: FinishedSearch, chosen: int | None) -> list[Row]:
    """Best first: those that nothing else beats in all objectives, as the files were measured.

    Of a single objective, in it and in latency: those of fewer folds are not among them, their
    figures are of other rows. What is delivered is among them whatever the figures say.
    """
    first, *others = search.objectives
    kept = _within_limits(rows, search)
    ordered = sorted(kept.values(), key=lambda row: first.loss(row.metrics))
    best = best_of(rows, search, chosen)
    if best is None:
        return ordered
    if others:
        measured = losses([row.metrics for row in ordered], search.objectives)
        unbeaten = set(nondominated(measured))
        return [r for i, r in enumerate(ordered) if i in unbeaten or r.trial == best]
    front = [kept[best]]
    folds = front[0].metrics.get("folds")
    for one in (one for one in ordered if one.metrics.get("folds") == folds):
        if one.metrics["latency"] < front[-1].metrics["latency"]:
            front.append(one)
    return front


@dataclass(frozen=True)
class _Checked:
    """What is noted beside a trial's file: the version that checked it, and what was found."""

    netwright: str
    parity: Parity
    measured: Mapping[str, float]


def _checked(folder: Folder) -> _Checked | None:
    """What this version has noted beside a trial's file; None where there is nothing to rely on."""
    try:
        state = read_json(folder, CHECKED, _MAX_NOTE_BYTES)
        noted = from_plain(state, _Checked, str(folder.path / CHECKED))
    except BrokenFile:
        return None
    numbers = [*noted.measured.values(), noted.parity.rows, noted.parity.difference]
    if not all(map(math.isfinite, numbers)) or not noted.measured.keys() >= _MEASURED:
        return None
    whole = noted.measured["size"] == folder.size(MODEL) > 0
    return noted if whole and noted.netwright == version("netwright") else None


def scores_of(metrics: Metrics) -> dict[str, float]:
    """The metrics that judge predictions, without the costs."""
    return {
        name: value for name, value in metrics.items() if name in METRICS and METRICS[name].kinds
    }
