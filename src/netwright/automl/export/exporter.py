"""Export the models of a run: write each file, check it against its model, and measure it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from netwright.automl.ensembling.models import BrokenTrial, build_ensemble, model_of
from netwright.automl.ensembling.out_of_fold import pruned_network
from netwright.automl.ensembling.refits import refit_spec, refit_trials
from netwright.automl.ensembling.selection import ProposedEnsemble
from netwright.automl.export.plan import (
    ExportItem,
    ExportKey,
    ExportPhase,
    ExportProgress,
    PrunedNetwork,
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
from netwright.trials.trial import CONSTANT, ENSEMBLE, FINAL, Metrics, Proposal, Status, Trial

_N_CHECKED_ROWS = 256
"""Validation rows on which the predictions of a file and of its model are compared."""
_MAX_RECORD_BYTES = 100_000
"""Size of a ``checked.json``, which is far smaller; a run folder may be damaged."""
_MEASURED = frozenset({
    "latency", "latency_spread", "latency_threads", "batch_latency", "batch_latency_threads", "size",
})  # fmt: skip
"""The metrics of `measure_latency`."""


class FrontExporter:
    """Carries out the steps of an export plan.

    Args:
        study: gets a trial for each ensemble that is exported.
        search: the finished search.
        progress: the state to start from.
        notify: called with an event at the start of each stage.

    Attributes:
        search: the search, including the ensembles that were exported.
        progress: what was exported so far.
        rows: trial id -> its row of the leaderboard, with the measurements of its file.
        left_out: sentences about models that were not exported.
        unexported: whether the export ended before all of the front was exported.
        broken_trials: ids of trials with a damaged file.
    """

    def __init__(
        self, study: Study[Any], search: FinishedSearch, progress: ExportProgress, notify: Callback
    ) -> None:
        self._study, self._notify = study, notify
        self.search, self.progress = search, progress
        self._feeds: dict[str, NDArray[Any]] | None = None
        self._parity: dict[int, Parity] = {}
        self.rows: dict[int, Row] = {}
        self.left_out: list[str] = []
        self.unexported = False
        self.broken_trials: set[int] = set()

    def leave_unexported(self, reason: str) -> None:
        """Note that there is more to export."""
        self.unexported = True
        fix = wording(
            python="Call fit again with the same run folder to export the rest.",
            shell="Run the same command again to export the rest.",
        )
        self.note(f"Some models of the front were not exported: {reason}. {fix}")

    def stop(self) -> None:
        """Export no more than the best, because the user has stopped the export."""
        self.progress = replace(self.progress, stopped=True)
        self.leave_unexported("it was stopped")

    def note(self, sentence: str) -> None:
        """Add a sentence about what is left out, unless it is there already."""
        if sentence not in self.left_out:
            self.left_out.append(sentence)

    def export(self, export_item: ExportItem, phase: ExportPhase) -> None:
        """Export one item; the first that succeeds becomes the model of the run."""
        start = time.monotonic()
        trial_id = self._try_export(export_item)
        seconds = time.monotonic() - start
        progress, keys = self.progress, {key_of(export_item)}
        if trial_id is not None:
            keys = {*keys, trial_id}
        phase_seconds = (*progress.export_seconds.get(phase, ()), seconds)
        self.progress = replace(
            progress,
            attempted=progress.attempted | keys,
            export_seconds={**progress.export_seconds, phase: phase_seconds},
        )
        if progress.chosen is not None:
            return
        self.progress = replace(
            self.progress, chosen=trial_id, best_seconds=progress.best_seconds + seconds
        )
        if trial_id is not None and (best := self.best()):
            self.write_model(best[0], self.front(), unexported=True)

    def refit(self, step: RefitStep, deadline: float, n_threads: int) -> None:
        """Refit the trials' candidates on all rows, and export the refits before the deadline."""
        refit_rounds = self.progress.refit_rounds | {step.round}
        self.progress = replace(self.progress, refit_rounds=refit_rounds)
        attempted = {key.trials[0] for key in self._attempted_refits()}
        trial_ids = [trial_id for trial_id in step.trial_ids if trial_id not in attempted]
        if trial_ids:
            self._notify(StageStarted("refitting", "on all rows"))
        refit_deadline = deadline - step.reserved_seconds
        for trial, fitted in refit_trials(self.search, trial_ids, refit_deadline, n_threads):
            spec = refit_spec(trial)
            self._mark_attempted(spec)
            if not self.progress.has_time(step.reserved_seconds, deadline - time.monotonic()):
                return
            if isinstance(fitted, str):
                self.left_out.append(fitted)
                continue
            refit_id = self._try_export(ProposedEnsemble(spec, trial.metrics), fitted)
            if refit_id is not None:
                self._mark_attempted(refit_id)

    def _attempted_refits(self) -> list[EnsembleSpec]:
        return [
            key for key in self.progress.attempted if isinstance(key, EnsembleSpec) and key.refit
        ]

    def _mark_attempted(self, key: ExportKey) -> None:
        self.progress = replace(self.progress, attempted=self.progress.attempted | {key})

    def export_constant(self) -> None:
        """Export a constant prediction, for a search without a finished trial."""
        search, task = self.search, self.search.task
        model = fit_constant_predictor(task, search.objectives[0].metric)
        rows = search.validation_rows
        predictions, target = model.predict(task.features.take(rows)), task.target[rows]
        scores = score(task.kind, target, predictions, weights=task.weights_of(rows))
        metrics = dict(scores) | dict.fromkeys([*network_costs(METRICS), "train_seconds"], 0.0)
        trial, measured = self._add_trial(Proposal(Candidate({}), origin=CONSTANT), model, metrics)
        self.rows[trial.id] = row(trial, search.space.fill, on_front=True, measured=measured)
        self.progress = replace(self.progress, chosen=trial.id)
        self.write_model(trial, self.front(), unexported=False)

    def _try_export(
        self, export_item: ExportItem, refitted: FittedPipeline | None = None
    ) -> int | None:
        """Export, check and measure an item.

        Args:
            export_item: what to export.
            refitted: the model, if the item is a refit.

        Returns:
            The id of the item's trial; None if the export failed, with the reason in `left_out`.
        """
        name = f"trial {export_item.id}" if isinstance(export_item, Trial) else "an ensemble"
        try:
            if isinstance(export_item, PrunedNetwork):
                export_item = pruned_network(
                    self.search, self.search.by_id[export_item.trial_id], export_item.n_members
                )
            if isinstance(export_item, ProposedEnsemble):
                trial, measured = self._export_ensemble(export_item, refitted)
            else:
                trial, measured = export_item, self._export_trial(export_item)
        except Exception as error:  # a failure costs this file alone
            if isinstance(error, OSError) and not self.rows:  # no file at all can be written
                raise
            if isinstance(error, BrokenTrial):
                self.broken_trials.add(error.trial_id)
            kind = "" if isinstance(error, NetwrightError) else f"{type(error).__name__}: "
            self.left_out.append(f"{name} is left out: {kind}{error}")
            return None
        if trial.status is not Status.DONE:
            return None
        self.rows[trial.id] = row(trial, self.search.space.fill, on_front=True, measured=measured)
        return trial.id

    def _export_ensemble(
        self, ensemble: ProposedEnsemble, refitted: FittedPipeline | None
    ) -> tuple[Trial, Metrics]:
        """Export an ensemble, and record it as a trial of the study."""
        n_folds = self.search.n_folds
        fidelity = ensemble.metrics.get("folds", n_folds) / n_folds
        proposal = Proposal(Candidate({}), fidelity, ENSEMBLE, parents=ensemble.spec.trials)
        model = refitted or build_ensemble(self.search, ensemble.spec)
        return self._add_trial(proposal, model, ensemble.metrics, ensemble.spec)

    def _add_trial(
        self,
        proposal: Proposal,
        model: Predictor,
        metrics: Metrics,
        ensemble: EnsembleSpec | None = None,
    ) -> tuple[Trial, Metrics]:
        """Add a trial to the study and return it with the measurements of its file.

        Only a pipeline is saved beside the file; the members of an ensemble belong to other trials.
        """
        measured: dict[str, float] = {}

        def write_files(folder: Path) -> Metrics:
            if isinstance(model, FittedPipeline):
                model.save(folder)
            measured.update(self._write_file(model, folder, int(folder.name), metrics))
            return dict(metrics) | measured

        trial = self._study.add_trial(proposal, write_files, ensemble)
        self.search = self.search.with_trial(trial)
        return trial, measured

    def _export_trial(self, trial: Trial) -> Metrics:
        """Write the trial's file, unless an earlier run has, and return its measurements."""
        folder = self.search.trial_folder(trial.id)
        if record := _read_check_record(folder):
            self._parity[trial.id] = record.parity
            if self.progress.is_resumed:
                return dict(record.measured)
            folder.check(MODEL)
            return self._measure(Model(folder.path / MODEL), record.parity)
        model: Predictor
        if trial.proposal.origin == CONSTANT:
            model = fit_constant_predictor(self.search.task, self.search.objectives[0].metric)
        else:
            model = model_of(self.search, trial)
        folder.make(replaces_links=True)  # the study deletes folders that can be made again
        return self._write_file(model, folder.path, trial.id, trial.metrics)

    def _write_file(
        self, model: Predictor, folder: Path, trial_id: int, metrics: Metrics
    ) -> Metrics:
        """Write and check the file in the trial's folder, and return its measurements."""
        task = self.search.task
        card = make_card(task) | {"trial": trial_id, "validation": scores_of(metrics)}
        self._notify(StageStarted("exporting", f"trial {trial_id}"))
        file = export_onnx(model, card, folder / MODEL)
        self._notify(StageStarted("checking", f"trial {trial_id}"))
        rows = task.validation[:_N_CHECKED_ROWS]
        parity = self._parity[trial_id] = check_parity(file, model, task.features.take(rows))
        return self._measure(file, parity)

    def _measure(self, file: Model, parity: Parity) -> Metrics:
        """Measure the file's latencies and size, and record them beside it."""
        if self._feeds is None:
            self._feeds = example_feeds(file, self.search.task)
        self._notify(StageStarted("measuring", f"trial {file.path.parent.name}"))
        measured = measure_latency(file, self._feeds)
        record = _CheckRecord(version("netwright"), parity, measured)
        Folder(file.path.parent).write(CHECKED, json.dumps(asdict(record)))
        return measured

    def best(self) -> tuple[Trial, Parity] | None:
        """Return the trial to deliver (see `best_of`); None if every file breaks a limit."""
        trial_id = best_of(self.rows, self.search, self.progress.chosen)
        return None if trial_id is None else (self.search.by_id[trial_id], self._parity[trial_id])

    def front(self) -> list[Row]:
        """Return the rows of the exported front, see `front_of`."""
        return front_of(self.rows, self.search, self.progress.chosen)

    def write_model(self, trial: Trial, front: Sequence[Row], *, unexported: bool) -> Model:
        """Copy the trial's file to the run folder as ``model.onnx``, and record the delivery.

        Each write is atomic and survives a power cut.

        Args:
            trial: the best.
            front: rows of the exported front.
            unexported: whether there is more to export.
        """
        run = Folder(self.search.folder)
        self.search.trial_folder(trial.id).copy(MODEL, run, MODEL, sync=True)
        front_ids = tuple(member.trial for member in front)
        record = DeliveryRecord(trial.id, n_searched(self.search.trials), front_ids, unexported)
        run.write(DELIVERED, json.dumps(asdict(record)), sync=True)
        return Model(run.path / MODEL)


def _within_limits(rows: Mapping[int, Row], search: FinishedSearch) -> dict[int, Row]:
    return {
        trial_id: row
        for trial_id, row in rows.items()
        if all(limit.keeps(row.metrics) for limit in search.limits)
    }


def best_of(rows: Mapping[int, Row], search: FinishedSearch, chosen: int | None) -> int | None:
    """Return the id of the best exported trial within the limits.

    That is the chosen one, unless its file breaks a limit. Otherwise trials scored on more folds
    come first, as scores on different rows cannot be compared.

    Args:
        rows: trial id -> its row, with the measurements of its file.
        search: for objectives and limits.
        chosen: id of the trial that was exported first.
    """
    feasible = _within_limits(rows, search)
    first = search.objectives[0]

    def order(trial_id: int) -> tuple[bool, float, float]:
        metrics = feasible[trial_id].metrics
        return trial_id != chosen, -metrics.get("folds", 0.0), first.loss(metrics)

    return min(feasible, key=order) if feasible else None


def front_of(rows: Mapping[int, Row], search: FinishedSearch, chosen: int | None) -> list[Row]:
    """Return the Pareto front of the exported files within the limits, best first.

    With a single objective, latency is the second one, and only trials scored on the same rows as
    the best can be on the front: on as many folds, or in a final training. The best trial is always
    on it.

    Args:
        rows: trial id -> its row, with the measurements of its file.
        search: for objectives and limits.
        chosen: see `best_of`.
    """
    first, *others = search.objectives
    feasible = _within_limits(rows, search)
    ordered = sorted(feasible.values(), key=lambda row: first.loss(row.metrics))
    best = best_of(rows, search, chosen)
    if best is None:
        return ordered
    if others:
        measured = losses([row.metrics for row in ordered], search.objectives)
        unbeaten = set(nondominated(measured))
        return [row for i, row in enumerate(ordered) if i in unbeaten or row.trial == best]
    front = [feasible[best]]

    def scored_rows(row: Row) -> tuple[float | None, bool]:
        return row.metrics.get("folds"), _is_of_finals(search, row.trial)

    for candidate in ordered:
        same_rows = scored_rows(candidate) == scored_rows(front[0])
        if same_rows and candidate.metrics["latency"] < front[-1].metrics["latency"]:
            front.append(candidate)
    return front


def _is_of_finals(search: FinishedSearch, trial_id: int) -> bool:
    """Return whether a trial is a final training, or the mean of several."""
    trial = search.by_id.get(trial_id)
    if trial is None or trial.proposal.origin != ENSEMBLE:
        return trial is not None and trial.proposal.origin == FINAL
    parents = [search.by_id[parent] for parent in trial.proposal.parents if parent in search.by_id]
    return bool(parents) and all(parent.proposal.origin == FINAL for parent in parents)


@dataclass(frozen=True)
class _CheckRecord:
    """Record beside a trial's file.

    Args:
        netwright: version that checked the file.
        parity: how far the file's predictions differ from the model's.
        measured: latencies and size of the file.
    """

    netwright: str
    parity: Parity
    measured: Mapping[str, float]


def _read_check_record(folder: Folder) -> _CheckRecord | None:
    """Read the record beside a trial's file; None if it is missing, damaged or of another version."""
    try:
        state = read_json(folder, CHECKED, _MAX_RECORD_BYTES)
        record = from_plain(state, _CheckRecord, str(folder.path / CHECKED))
    except BrokenFile:
        return None
    numbers = [*record.measured.values(), record.parity.rows, record.parity.difference]
    if not all(map(math.isfinite, numbers)) or not record.measured.keys() >= _MEASURED:
        return None
    is_complete = record.measured["size"] == folder.size(MODEL) > 0
    return record if is_complete and record.netwright == version("netwright") else None


def scores_of(metrics: Metrics) -> dict[str, float]:
    """Return the metrics of predictions, without costs such as latency."""
    return {
        name: metric for name, metric in metrics.items() if name in METRICS and METRICS[name].kinds
    }
