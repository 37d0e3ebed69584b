"""Warnings about a supernet that was not trained to the end, or whose networks were not delivered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netwright.errors import plural, wording
from netwright.interfaces.preparation import Shortlist
from netwright.interfaces.strategy import preparation
from netwright.study.study import Study
from netwright.trials.formats import format_metric
from netwright.trials.trial import BASELINE, SUPERNET, Status, Trial

_MAX_SHORTLISTED = 100
"""Candidates that a shortlist is asked for, far more than a strategy trains."""


def supernet_warnings(study: Study[Any], delivered: Trial) -> list[str]:
    """Return warnings about a supernet that did not finish, or whose networks were not delivered.

    Empty for a strategy without a supernet, and if one of its networks is delivered.
    """
    shortlist = preparation(study.strategy)
    if not isinstance(shortlist, Shortlist):
        return []
    if not shortlist.is_over:
        return [_unfinished(study, shortlist)]
    trials = [trial for trial in study.trials if trial.proposal.origin.startswith(SUPERNET)]
    shortlisted = {*shortlist.candidates(_MAX_SHORTLISTED)}  # may include the baseline
    preferred = [
        trial for trial in study.trials if trial in trials or trial.candidate in shortlisted
    ]
    sentences = [shortlist.shortfall, *_nothing_trained(shortlist, preferred)]
    done = [trial for trial in trials if trial.status is Status.DONE]
    if done and not delivered.proposal.origin.startswith(SUPERNET):
        sentences.append(_compare_with_delivered(study, done, delivered))
    return [_as_sentence(text) for text in sentences if text]


def _unfinished(study: Study[Any], shortlist: Shortlist) -> str:
    """Explain why the supernet is not trained, although it has not failed."""
    has_begun = shortlist.progress() != ""
    outcome = "The supernet was not fully trained" if has_begun else "No supernet was trained"
    if study.interrupted:
        return f"{outcome}: the search was stopped before that."
    return f"{outcome}: the search ended before that. {_spend_more()}"


def _nothing_trained(shortlist: Shortlist, trials: Sequence[Trial]) -> list[str]:
    """Explain why none of the preferred networks was trained, if that is so."""
    if any(trial.status is Status.DONE for trial in trials):
        return []
    if errors := [trial.error for trial in trials if trial.error]:
        networks = plural(len(errors), "network")
        return [
            f"none of its {networks} finished training (last error: {errors[-1]}). {_spend_more()}"
        ]
    if shortlist.candidates(1):
        outcome = "none of the networks that the supernet prefers was trained"
        return [f"{outcome}: the search ended before that. {_spend_more()}"]
    return [] if shortlist.shortfall else ["the supernet prefers no network that can be trained"]


def _compare_with_delivered(study: Study[Any], done: Sequence[Trial], delivered: Trial) -> str:
    """Compare the supernet's best network with the model that was delivered instead."""
    objective = study.objectives[0]
    best = min(done, key=lambda trial: objective.loss(trial.metrics))
    kind = "the baseline" if delivered.proposal.origin == BASELINE else "another network"
    best_score, delivered_score = (
        format_metric(objective.metric, trial.metrics) for trial in (best, delivered)
    )
    return (
        f"the delivered model is {kind}, trial {delivered.id}, with {objective.metric} "
        f"{delivered_score}; the best network of the supernet, trial {best.id}, has {best_score}"
    )


def _spend_more() -> str:
    return wording(
        python="Give it more time or trials.", shell="Use a larger --time, or more --trials."
    )


def _as_sentence(text: str) -> str:
    end = "" if text.endswith(".") else "."
    return text[:1].upper() + text[1:] + end
