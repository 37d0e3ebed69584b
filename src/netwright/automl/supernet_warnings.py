"""What a search over shared weights came to, for those who see the delivered model alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netwright.errors import plural, wording
from netwright.interfaces.preparation import Shortlist
from netwright.interfaces.strategy import preparation
from netwright.study.study import Study
from netwright.trials.formats import format_metric
from netwright.trials.trial import BASELINE, SUPERNET, Status, Trial

_MAX_LISTED = 100
"""Candidates at most that a shortlist is asked for."""


def supernet_doubts(study: Study[Any], delivered: Trial) -> list[str]:
    """Sentences on a supernet that did not finish, or of which nothing was trained or delivered.

    None for a strategy that trains no supernet, and for a supernet's own network.
    """
    shortlist = preparation(study.strategy)
    if not isinstance(shortlist, Shortlist):
        return []
    if not shortlist.over:
        return [_unfinished(study, shortlist)]
    trials = [trial for trial in study.trials if trial.proposal.origin.startswith(SUPERNET)]
    listed = {*shortlist.candidates(_MAX_LISTED)}  # the baseline may be one of them
    preferred = [trial for trial in study.trials if trial in trials or trial.candidate in listed]
    sentences = [shortlist.shortfall, *_nothing_trained(shortlist, preferred)]
    done = [trial for trial in trials if trial.status is Status.DONE]
    if done and not delivered.proposal.origin.startswith(SUPERNET):
        sentences.append(_compared(study, done, delivered))
    return [_as_sentence(text) for text in sentences if text]


def _unfinished(study: Study[Any], shortlist: Shortlist) -> str:
    """Why there is no supernet, though nobody gave it up."""
    begun = shortlist.progress() != ""
    what = "The supernet was not trained to its end" if begun else "No supernet was trained"
    if study.interrupted:
        return f"{what}: the search was stopped before."
    return f"{what}: the search was over before. {_more()}"


def _nothing_trained(shortlist: Shortlist, trials: Sequence[Trial]) -> list[str]:
    """Why none of its networks was trained, where that is so."""
    if any(trial.status is Status.DONE for trial in trials):
        return []
    if errors := [trial.error for trial in trials if trial.error]:
        count = plural(len(errors), "network")
        return [f"none of its {count} finished training, the last one: {errors[-1]}. {_more()}"]
    if shortlist.candidates(1):
        none = "none of the networks that the supernet prefers was trained"
        return [f"{none}: the search was over before. {_more()}"]
    return [] if shortlist.shortfall else ["the supernet prefers no network that can be trained"]


def _compared(study: Study[Any], done: Sequence[Trial], delivered: Trial) -> str:
    """The best of the supernet's networks beside what was delivered in place of it."""
    first = study.objectives[0]
    best = min(done, key=lambda trial: first.loss(trial.metrics))
    kind = "the baseline" if delivered.proposal.origin == BASELINE else "another network"
    scores = [format_metric(first.metric, trial.metrics) for trial in (best, delivered)]
    return (
        f"the model delivered is {kind}, trial {delivered.id}, with {first.metric} {scores[1]}: the "
        f"best network of the supernet, trial {best.id}, has {scores[0]}"
    )


def _more() -> str:
    return wording(
        python="Give it more time or trials.", shell="Use a larger --time, or more --trials."
    )


def _as_sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "." * (not text.endswith("."))
