"""Read the trials of an earlier search: of a study, a run folder, a table or an Optuna storage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from netwright._optional import import_optional
from netwright.errors import InputError, Phrase, closest, expected
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import NumberChoice
from netwright.space.decision import Decision
from netwright.space.space import Space
from netwright.study.storage.store import Store
from netwright.trials.objective import Objective
from netwright.trials.trial import MADE, Metrics, Proposal, Status, Trial

if TYPE_CHECKING:
    import pandas as pd


class HasTrials(Protocol):
    """A study, of netwright or of Optuna."""

    @property
    def trials(self) -> Sequence[object]: ...


WarmStartSource: TypeAlias = "HasTrials | pd.DataFrame | str | Path | Sequence[Trial]"
"""A study, its run folder, a CSV file or DataFrame, an Optuna study or storage URL, or trials."""
_FIDELITY = "fidelity"
"""Column of a table that holds the fidelity of each row; 1 if there is none."""


def earlier_trials(
    source: WarmStartSource, space: Space[Any], objectives: Sequence[Objective]
) -> tuple[Trial, ...]:
    """Return the finished trials of an earlier search that are of this space.

    Args:
        source: A study, its run folder, a CSV file or DataFrame (a column for each decision and each
            metric, an empty cell where a decision is inactive), an Optuna study or the URL of its
            storage, or trials.
        space: Of the new search.
        objectives: Of the new search; a trial without the first of them is left out.

    Raises:
        InputError: The source cannot be read, or has no finished trial of this space.
        RunError: The run folder cannot be read.
    """
    trials = [
        trial
        for trial in _read(source, space, objectives)
        if trial.status is Status.DONE
        and trial.proposal.origin not in MADE
        and math.isfinite(objectives[0].loss(trial.metrics))
    ]
    in_space = tuple(trial for trial in trials if space.contains(trial.candidate))
    if not in_space:
        rule = f"a search of the same space that measured {objectives[0].metric}"
        got = Phrase(f"no such trial among {len(trials)} finished ones")
        raise InputError(expected("warm_start", rule, got))
    return in_space


def _read(
    source: WarmStartSource, space: Space[Any], objectives: Sequence[Objective]
) -> Sequence[Trial]:
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        return _from_table(source, space)
    if isinstance(source, str) and "://" in source:
        return _from_optuna(_only_optuna_study(source), space, objectives)
    if isinstance(source, str | Path):
        path = Path(source)
        if path.is_dir() and Store.has_study(path):
            with Store.open_read_only(path) as store:
                return store.trials()
        if path.is_file():
            return _from_table(pd.read_csv(path), space)
        rule = "a run folder, a CSV file or the URL of an Optuna storage"
        raise InputError(expected("warm_start", rule, str(source)))
    if hasattr(source, "best_trials") and hasattr(source, "directions"):
        return _from_optuna(source, space, objectives)
    trials = getattr(source, "trials", source)
    if isinstance(trials, Sequence) and all(isinstance(trial, Trial) for trial in trials):
        return trials
    rule = "a study, its folder, a table of candidates, an Optuna study or trials"
    raise InputError(expected("warm_start", rule, Phrase(type(source).__name__)))


# Tables


def _from_table(frame: pd.DataFrame, space: Space[Any]) -> list[Trial]:
    """Return a trial for each row."""
    paths = [decision.path for decision in space.decisions]
    if missing := [path for path in paths if path not in frame.columns]:
        fix = closest(missing[0], [str(name) for name in frame.columns])
        raise InputError(
            expected("warm_start", f"a table with a column {missing[0]!r}", Phrase("none"), fix)
        )
    metrics = [
        str(name)
        for name in frame.select_dtypes("number").columns
        if name not in paths and name != _FIDELITY
    ]
    trials = []
    for row_id, row in enumerate(frame.to_dict("records"), 1):
        cells = {str(name): cell for name, cell in row.items()}
        candidate = candidate_of_cells(space, cells, f"row {row_id} of warm_start")
        measured = {name: float(cells[name]) for name in metrics if math.isfinite(cells[name])}
        fidelity = float(cells.get(_FIDELITY, 1.0))
        trials.append(_finished(row_id, candidate, measured, fidelity))
    return trials


def _finished(trial_id: int, candidate: Candidate, metrics: Metrics, fidelity: float) -> Trial:
    return Trial(trial_id, Proposal(candidate, fidelity), 0, Status.DONE, metrics)


def candidate_of_cells(space: Space[Any], cells: Mapping[str, object], where: str) -> Candidate:
    """Return the candidate of a row of a table; what its decisions do not activate is ignored.

    Args:
        space: Of the candidate.
        cells: Path of a decision -> its cell: the decision's value, or that as text.
        where: Names the row in errors.

    Raises:
        InputError: A cell is empty or holds another value.
    """
    decided: dict[str, Value] = {}
    for decision in space.decisions:
        if decision.is_active(decided):
            cell = cells.get(decision.path)
            decided[decision.path] = _decided(decision, cell, where)
    return Candidate(decided)


def _decided(decision: Decision, cell: object, where: str) -> Value:
    if isinstance(decision.choice, NumberChoice) and not decision.fixed:
        decided = _as_number(cell)
        if decided is not None and decision.choice.integer and decided.is_integer():
            decided = int(decided)
        if decided is not None and decision.contains(decided):
            return decided
    else:
        for option in decision.values:
            if _is_same(option, cell):
                return option
    what = f"{decision.path!r} in {where}"
    raise InputError(expected(what, decision.describe_values(), cell))


def _as_number(cell: object) -> float | None:
    try:
        return float(str(cell))
    except ValueError:
        return None


def _is_same(option: Value, cell: object) -> bool:
    """Return whether a cell holds an option, perhaps as text, or a whole number with a decimal point."""
    if option == cell or str(option) == str(cell):
        return True
    if not isinstance(option, int | float) or isinstance(option, bool):
        return False
    return option == _as_number(cell)


# Optuna


def _only_optuna_study(url: str) -> Any:  # noqa: ANN401  # optuna may be missing
    """Return the study of a storage, which must be the only one."""
    optuna = import_optional("optuna", "peers", "reading an Optuna storage")
    names = optuna.get_all_study_names(url)
    if len(names) != 1:
        fix = "Load one: optuna.load_study(study_name=..., storage=...)."
        got = Phrase(", ".join(names) or "none")
        raise InputError(expected("warm_start", "a storage with one study", got, fix))
    return optuna.load_study(study_name=names[0], storage=url)


def _from_optuna(
    study: Any,  # noqa: ANN401  # optuna may be missing
    space: Space[Any],
    objectives: Sequence[Objective],
) -> list[Trial]:
    """Return a trial for each complete one; its values are those of the objectives, in order."""
    directions = [direction.name.lower()[:3] for direction in study.directions]
    ours = [objective.direction for objective in objectives[: len(directions)]]
    if directions != ours:
        rule = f"an Optuna study with directions {', '.join(ours)}"
        raise InputError(expected("warm_start", rule, Phrase(", ".join(directions))))
    trials = []
    for trial in study.trials:
        if trial.state.name != "COMPLETE":
            continue
        candidate = candidate_of_cells(space, trial.params, f"Optuna trial {trial.number}")
        metrics = {
            objective.metric: float(measured)
            for objective, measured in zip(objectives, trial.values, strict=False)
        }
        trials.append(_finished(trial.number + 1, candidate, metrics, 1.0))
    return trials
