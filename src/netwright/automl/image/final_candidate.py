"""Which candidate of an image search is trained to the end, and how wide it becomes."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from netwright.automl.finished_search import FinishedSearch
from netwright.automl.image.default_configs import SEARCH_WIDTH
from netwright.automl.image.rungs import EDIT_OF, have_same_epochs
from netwright.automl.image.space import WIDTHS
from netwright.automl.image.validation_scores import PairedGain, paired_gain
from netwright.data.task import Task
from netwright.pipelines.models.network import training_rows_per_second
from netwright.pipelines.pipeline import (
    as_pipeline,
    cached_preprocessor,
    recipe_of,
    target_transform_of,
)
from netwright.space.candidate import Candidate
from netwright.trials.metrics import scored
from netwright.trials.pareto import pareto_front
from netwright.trials.trial import BASELINE, MADE, Status, Trial

_MIN_Z = 3.0
"""Standard errors by which another candidate must beat the default on the same rows. With one, a
lead by chance was trusted that cost .23 of accuracy on MultNIST."""
_MIN_Z_OF_CORRECT = 2.0
"""Standard errors by which it must also predict more rows correctly. Near chance the log loss alone may
tell only who has learnt first how uncertain to be: on MultNIST a tower led by nine standard errors,
with as many correct predictions, and ended .15 of accuracy lower."""
_MIN_Z_OF_EDIT = 2.0
"""Standard errors by which a change of the winner must be better than it."""
_MIN_EPOCHS_TO_DECIDE = 4.0
"""Passes over the rows below which the order of candidates tells nothing: fast learners lead."""
_MIN_FINAL_EPOCHS = 12.0
"""A network is as wide as lets it pass over the rows so often. On CIFAR-10 9 to 18 epochs in the same
time, at widths 48 to 24, were equally good; other data need more epochs."""
_MIN_FINAL_EPOCHS_OF_SLOW = 25.0
"""The same for data on which nothing much is learnt at first: a plateau has to be left."""
_MIN_FINAL_STEPS = 800
"""Updates of the weights that must remain, too, so that few rows do not get a handful of those of a huge
network. On Flowers-17 (680 images) 240 updates at width 96 and 900 at width 48, which predicts in a
quarter of the time, were as good (.71 to .74, standard error .024)."""
_MIN_EPOCHS_OF_SLOW, _SLOW_SHARE, _SLOW_SHARE_OF_FEW_EPOCHS = 2.0, 0.3, 0.1
"""Epochs after which data count as slow if the accuracy has covered less than a share of the way from
that of the most frequent class to 1; and that share, after so many epochs and after fewer."""
_WIDTH_EXPONENT = 1.4
"""Images per second are proportional to width ** -1.4 (width 16 to 64)."""
_PREDICTION_EXPONENT = 1.6
"""The same for predictions of the exported file (width 16 to 64: 8.7 times the time, 4 ** 1.56)."""
_FINAL_WIDTHS = (16, 24, 32, 48, 64, 96)
_REFERENCE_WIDTH = 48
"""Width of the network whose epochs tell whether there is time for more than one."""
_MAX_TIMED_WIDTHS = 3
"""Networks whose steps are timed: one that the search has trained, then those that should fit."""
_MAX_TIMING_SHARE = 0.05
"""Share of the final training's time after which no other width is timed."""


def choose_trial(search: FinishedSearch) -> Trial | None:
    """Return the trial whose candidate is trained to the end; None if no trial has finished.

    In the default space that is the default, unless another candidate beats it beyond doubt, and
    both were trained for long enough; or a change of that one that is better still. With several
    objectives, limits or in a user's own space it is the best trial.
    """
    trials = [trial for trial in search.trials if trial.proposal.origin not in MADE]
    front = pareto_front(trials, search.objectives, search.limits)
    best = front[0] if front else None
    if best is None or not searches_quality_alone(search):
        return best
    default = next((t for t in search.trials if _is_default(t)), None)
    if default is None or default.status is not Status.DONE:
        return best
    loss = search.objectives[0].loss
    beaten_by = [trial for trial in _challengers(search, default) if _beats(search, trial, default)]
    eligible = [trial for trial in beaten_by if _beats_its_original(search, trial)]
    return min(eligible, key=lambda trial: loss(trial.metrics), default=default)


def _beats_its_original(search: FinishedSearch, trial: Trial) -> bool:
    """Return whether a change of another trial's candidate is better than it; True for others."""
    original = trial.proposal.note.get(EDIT_OF)
    if original is None:
        return True
    gain = _gain(search, trial, search.by_id[int(str(original))])
    return gain is not None and gain.loss_z >= _MIN_Z_OF_EDIT


def _challengers(search: FinishedSearch, default: Trial) -> list[Trial]:
    """Return the trial of highest fidelity of each candidate other than the default."""
    trials: dict[Candidate, Trial] = {}
    for trial in search.trials:
        if trial.status is not Status.DONE or trial.proposal.origin in MADE:
            continue
        other = trials.get(trial.candidate)
        if other is None or other.proposal.fidelity < trial.proposal.fidelity:
            trials[trial.candidate] = trial
    return [trial for candidate, trial in trials.items() if candidate != default.candidate]


def searches_quality_alone(search: FinishedSearch) -> bool:
    """Return whether nothing but the quality of predictions matters in a default image space."""
    return (
        len(search.objectives) == 1
        and search.objectives[0].metric in scored(search.task.kind)
        and not search.limits
        and "view" in {decision.path for decision in search.space.decisions}
    )


def _is_default(trial: Trial) -> bool:
    """Return whether this is the first configuration of the portfolio."""
    return trial.proposal.origin == BASELINE and trial.id == 1


def _beats(search: FinishedSearch, challenger: Trial, default: Trial) -> bool:
    """Return whether a challenger beats the default's trial of the same fidelity beyond doubt."""
    same_fidelity = [
        trial
        for trial in search.trials
        if trial.candidate == default.candidate
        and trial.status is Status.DONE
        and trial.proposal.origin not in MADE
        and trial.proposal.fidelity == challenger.proposal.fidelity
    ]
    if not same_fidelity:
        return False
    default = same_fidelity[-1]
    epochs = [trial.metrics.get("epochs", 0.0) for trial in (challenger, default)]
    if min(epochs) < _MIN_EPOCHS_TO_DECIDE or not have_same_epochs(*epochs):
        return False
    gain = _gain(search, challenger, default)
    return gain is not None and gain.loss_z >= _MIN_Z and gain.correct_z >= _MIN_Z_OF_CORRECT


def _gain(search: FinishedSearch, trial: Trial, other: Trial) -> PairedGain | None:
    """Return how much better a trial is than another one; None if that is not known."""
    folders = search.trial_folder(trial.id), search.trial_folder(other.id)
    return paired_gain(search.task, search.objectives[0].metric, *folders)


def final_candidates(candidate: Candidate) -> list[Candidate]:
    """Return what a candidate may become in the final training: itself, or as wide as time allows."""
    return [candidate, *(with_width(candidate, width) for width in _FINAL_WIDTHS)]


def final_candidate(
    search: FinishedSearch,
    trial: Trial,
    seconds: float,
    n_threads: int,
    n_side_by_side: int = 1,
) -> Candidate:
    """Return the trial's candidate, as wide as the time allows.

    Args:
        search: the search of the trial.
        trial: whose score says whether it learns slowly.
        seconds: of the final training; infinite to keep the width.
        n_threads: of a network's training.
        n_side_by_side: networks that are trained at a time.
    """
    if math.isinf(seconds) or not searches_quality_alone(search):
        return trial.candidate
    required = _MIN_FINAL_EPOCHS_OF_SLOW if learns_slowly(search, trial) else _MIN_FINAL_EPOCHS
    n_rows = len(search.task.train) + len(search.task.validation)
    batch_size = int(str(trial.candidate.values.get("model.batch_size", 1)))
    n_required = max(required * n_rows, _MIN_FINAL_STEPS * min(batch_size, n_rows))
    required_rate, started_at = n_required / seconds, time.monotonic()
    width = SEARCH_WIDTH
    for _ in range(_MAX_TIMED_WIDTHS):
        candidate = with_width(trial.candidate, width)
        rate = _rows_per_second_side_by_side(search, candidate, n_threads, n_side_by_side)
        timed_width, width = width, _widest(width, rate, required_rate)
        if width == timed_width or time.monotonic() - started_at > _MAX_TIMING_SHARE * seconds:
            break
    return with_width(trial.candidate, width)


def epochs_of_one(task: Task, default: Trial, seconds: float, n_workers: int) -> float:
    """Return how often one network passes over the rows in so many seconds, if it has all cores.

    Args:
        task: of images.
        default: the default's trial, of `SEARCH_WIDTH`, on the cores of one worker.
        seconds: of the training.
        n_workers: number of workers that share all cores.
    """
    rate = default.metrics.get("rows_per_second", 0.0) * n_workers
    n_rows = len(task.train) + len(task.validation)
    return rate / _relative_cost(_REFERENCE_WIDTH) * seconds / n_rows


def _widest(width: int, rate: float, required_rate: float) -> int:
    """Return the largest width that trains on so many rows a second, by the rate of one width."""
    rates = {w: rate * _relative_cost(width) / _relative_cost(w) for w in _FINAL_WIDTHS}
    return max((w for w in _FINAL_WIDTHS if rates[w] >= required_rate), default=_FINAL_WIDTHS[0])


def _rows_per_second_side_by_side(
    search: FinishedSearch, candidate: Candidate, n_threads: int, n_side_by_side: int
) -> float:
    """Measure the images a second of each of several trainings: they share caches and memory."""
    if n_side_by_side == 1:
        return _rows_per_second(search, candidate, n_threads)
    with ThreadPoolExecutor(n_side_by_side) as pool:
        futures = [
            pool.submit(_rows_per_second, search, candidate, n_threads)
            for _ in range(n_side_by_side)
        ]
        return min(future.result() for future in futures)


def _rows_per_second(search: FinishedSearch, candidate: Candidate, n_threads: int) -> float:
    """Measure how many images a second the candidate's network trains on in this process."""
    task = search.task
    pipeline = as_pipeline(search.space.fill(candidate), task)
    preprocessor = cached_preprocessor(pipeline, task)
    input_spec = preprocessor.input_spec(target_transform_of(task, pipeline).n_outputs)
    recipe = recipe_of(pipeline)
    inputs = preprocessor.transform(task.features.take(task.train[: recipe.batch_size]))
    return training_rows_per_second(recipe, input_spec, inputs, n_threads)


def learns_slowly(search: FinishedSearch, trial: Trial) -> bool:
    """Return whether the trial's candidate was still near the most frequent class at the end.

    Of the candidate's trials that of most epochs tells; after few epochs only if nothing is learnt.
    """
    task = search.task
    same = [t for t in search.trials if t.candidate == trial.candidate and "accuracy" in t.metrics]
    longest = max(same, key=lambda t: t.metrics.get("epochs", 0.0), default=trial)
    accuracy, epochs = longest.metrics.get("accuracy"), longest.metrics.get("epochs", 0.0)
    if not task.classes or accuracy is None or not epochs:
        return False
    share = _SLOW_SHARE if epochs >= _MIN_EPOCHS_OF_SLOW else _SLOW_SHARE_OF_FEW_EPOCHS
    majority = np.bincount(task.target[task.train]).max() / len(task.train)
    return bool(accuracy < majority + share * (1 - majority))


def _relative_cost(width: int) -> float:
    """Return the time for an image, relative to that at `SEARCH_WIDTH`."""
    return float((width / SEARCH_WIDTH) ** _WIDTH_EXPONENT)


def slowdown(candidate: Candidate, trial: Trial, exported: Trial | None = None) -> float:
    """Return how many times as long as an exported model a candidate takes for an image.

    Args:
        candidate: a trial's, perhaps wider.
        trial: whose candidate it was.
        exported: the trial of the exported model; None if it is the same.
    """
    of_trial, of_exported = (each.metrics.get("flops", 0.0) for each in (trial, exported or trial))
    ratio = of_trial / of_exported if of_trial and of_exported else 1.0
    before, after = (each.values.get("width_1") for each in (trial.candidate, candidate))
    if not isinstance(before, int) or not isinstance(after, int):
        return ratio
    return float(ratio * (after / before) ** _PREDICTION_EXPONENT)


def with_width(candidate: Candidate, width: int) -> Candidate:
    """Return a candidate of `SEARCH_WIDTH` with all stages wider in the proportion of `width`."""
    values = dict(candidate.values)
    for path, channels in candidate.values.items():
        if path.startswith("width_") and isinstance(channels, int):
            target_width = channels * width / SEARCH_WIDTH
            values[path] = min(WIDTHS, key=lambda option: abs(math.log(option / target_width)))
    return Candidate(values)
