"""Which candidate of an image search is trained to the end, and how wide it becomes."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from netwright.automl.finished_search import FinishedSearch
from netwright.automl.image.default_configs import SEARCH_WIDTH
from netwright.automl.image.space import WIDTHS
from netwright.errors import BrokenFile
from netwright.files.json_files import read_json
from netwright.files.run_layout import CURVE, VALIDATION
from netwright.space.candidate import Candidate
from netwright.trials.held_out import read_predictions
from netwright.trials.losses import row_losses
from netwright.trials.metrics import scored
from netwright.trials.pareto import pareto_front
from netwright.trials.trial import BASELINE, MADE, Status, Trial

_MIN_Z = 3.0
"""Standard errors by which another candidate must beat the default on the same rows. With one, a
lead by chance was trusted that cost .23 of accuracy on MultNIST."""
_MIN_EPOCHS_TO_DECIDE = 4.0
"""Passes over the rows below which the order of candidates tells nothing: fast learners lead."""
_MIN_FINAL_EPOCHS = 10.0
"""A network is as wide as lets it pass over the rows so often: wider is better, but learns later."""
_WIDTH_EXPONENT, _THREADS_EXPONENT = 1.4, 0.65
"""Images per second are proportional to width ** -1.4 and threads ** 0.65 (width 16 to 64)."""
_FINAL_WIDTHS = (16, 24, 32, 48, 64, 96)


def choose_trial(search: FinishedSearch) -> Trial | None:
    """Return the trial whose candidate is trained to the end; None if no trial has finished.

    In the default space that is the default, unless another candidate beats it beyond doubt, and
    both were trained for long enough; with several objectives, limits or in a user's own space it
    is the best trial.
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
    return min(beaten_by, key=lambda trial: loss(trial.metrics), default=default)


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
    if min(epochs) < _MIN_EPOCHS_TO_DECIDE:
        return False
    losses = [_row_losses(search, trial) for trial in (default, challenger)]
    if losses[0] is None or losses[1] is None:
        return False
    return z_score(losses[0] - losses[1]) >= _MIN_Z


def z_score(gains: NDArray[np.float64]) -> float:
    """Return the mean of paired differences (rows,) in standard errors; 0 if all are equal."""
    standard_error = gains.std() / math.sqrt(len(gains))
    return float(gains.mean() / standard_error) if standard_error > 0 else 0.0


def _row_losses(search: FinishedSearch, trial: Trial) -> NDArray[np.float64] | None:
    """Return each validation row's loss; None if the predictions are gone."""
    task = search.task
    rows = task.validation
    with suppress(BrokenFile):
        mask = np.ones(len(rows), np.bool_)
        folder = search.trial_folder(trial.id)
        predictions = read_predictions(folder, VALIDATION, mask, len(task.classes))
        return row_losses(task.kind, predictions, task.target[rows])
    return None


def final_candidate(
    search: FinishedSearch, trial: Trial, seconds: float, n_threads: int
) -> Candidate:
    """Return the trial's candidate, as wide as the time allows.

    Args:
        search: the search of the trial.
        trial: whose learning curve says how fast it learns.
        seconds: of the final training; infinite to keep the width.
        n_threads: of the final training.
    """
    if math.isinf(seconds) or not searches_quality_alone(search):
        return trial.candidate
    try:
        curve = read_json(search.trial_folder(trial.id), CURVE)
        rate, rate_threads = float(curve["rows_per_second"]), int(curve["n_threads"])
    except (BrokenFile, KeyError, TypeError, ValueError):
        return trial.candidate
    rate *= (n_threads / rate_threads) ** _THREADS_EXPONENT
    n_rows = len(search.task.train) + len(search.task.validation)

    def epochs(width: int) -> float:
        return float(rate / _relative_cost(width) * seconds / n_rows)

    affordable = [width for width in _FINAL_WIDTHS if epochs(width) >= _MIN_FINAL_EPOCHS]
    return with_width(trial.candidate, max(affordable, default=SEARCH_WIDTH))


def _relative_cost(width: int) -> float:
    """Return the time for an image, relative to that at `SEARCH_WIDTH`."""
    return float((width / SEARCH_WIDTH) ** _WIDTH_EXPONENT)


def slowdown(candidate: Candidate, trial: Trial) -> float:
    """Return how many times as long as the trial's model a wider candidate takes for an image."""
    before, after = (each.values.get("width_1") for each in (trial.candidate, candidate))
    if not isinstance(before, int) or not isinstance(after, int):
        return 1.0
    return _relative_cost(after) / _relative_cost(before)


def with_width(candidate: Candidate, width: int) -> Candidate:
    """Return a candidate of `SEARCH_WIDTH` with all stages wider in the proportion of `width`."""
    values = dict(candidate.values)
    for path, channels in candidate.values.items():
        if path.startswith("width_") and isinstance(channels, int):
            target_width = channels * width / SEARCH_WIDTH
            values[path] = min(WIDTHS, key=lambda option: abs(math.log(option / target_width)))
    return Candidate(values)
