"""Earlier searches from a study, its folder, tables and Optuna; and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from study_tools import Hill

from netwright.errors import InputError
from netwright.interfaces.strategy import Problem
from netwright.space.choices import Float, Integer, OneOf
from netwright.space.space import Space
from netwright.strategies.random import RandomSearch
from netwright.study.earlier_trials import earlier_trials
from netwright.study.study import Study
from netwright.study.workers.executors import InProcess
from netwright.trials.objective import Objective

LOSS = Objective("loss", "min")
MIXED = Space(
    {
        "kind": OneOf({"net": (Integer(1, 4),), "tree": (Float(0.1, 1.0), OneOf(3, 5))}),
        "s": OneOf("a", "b"),
    }
)


def hill(space: Space[Any], run: Path | None = None, **options: Any) -> Study[Any]:
    settings = {
        "objectives": [LOSS],
        "executor": InProcess(),
        "strategy": RandomSearch(),
        **options,
    }
    return Study(space, Hill(), run=run, **settings)


def test_a_study_and_its_folder_give_the_same_trials(space: Any, tmp_path: Path) -> None:
    study = hill(space, tmp_path).run(trials=12)
    given = earlier_trials(study, space, [LOSS])
    assert given == tuple(study.trials) == earlier_trials(str(tmp_path), space, [LOSS])
    assert earlier_trials(study.trials, space, [LOSS]) == given
    smaller = space.fix({"x": study.trials[0].candidate.values["x"]})
    assert 1 <= len(earlier_trials(study, smaller, [LOSS])) < 12


def test_a_study_starts_warm_and_resumes(space: Any, tmp_path: Path) -> None:
    first = hill(space).run(trials=20)
    warm = hill(space, tmp_path, warm_start=first).run(trials=2)
    assert warm.trials[0].candidate == first.best.candidate  # type: ignore[union-attr]
    assert len(hill(space, tmp_path, warm_start=first).run(trials=5).trials) == 5
    ready = RandomSearch()(Problem(space, [LOSS]))
    with pytest.raises(InputError, match="must be an algorithm, got a strategy that is made"):
        hill(space, strategy=ready, warm_start=first)


def table() -> pd.DataFrame:
    paths = [decision.path for decision in MIXED.decisions]
    rows: list[dict[str, Any]] = [
        {"kind": "net", "kind.net.0": 3, "s": "a", "loss": 0.5},
        {"kind": "tree", "kind.tree.0": 0.25, "kind.tree.1": 5, "s": "b", "loss": 0.1},
    ]
    return pd.DataFrame(rows, columns=[*paths, "loss"])


def test_rows_of_a_table_are_candidates_with_empty_cells_where_inactive(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "trials.csv", index=False)
    for source in (table(), tmp_path / "trials.csv"):
        net, tree = earlier_trials(source, MIXED, [LOSS])
        assert dict(net.candidate.values) == {"kind": "net", "kind.net.0": 3, "s": "a"}
        assert isinstance(net.candidate.values["kind.net.0"], int)
        assert tree.candidate.values["kind.tree.1"] == 5
        assert tree.metrics == {"loss": 0.1}
        assert tree.proposal.fidelity == 1


def test_a_table_may_have_fidelities(tmp_path: Path) -> None:
    frame = table().assign(fidelity=[0.1, 1.0])
    assert [t.proposal.fidelity for t in earlier_trials(frame, MIXED, [LOSS])] == [0.1, 1.0]


def test_complete_trials_of_an_optuna_study_are_read(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    study = optuna.create_study(storage=url, study_name="one")
    space = Space({"lr": Float(1e-4, 1e-1, log=True), "kernel": OneOf(3, 5)})

    def objective(trial: Any) -> float:
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        if trial.suggest_categorical("kernel", [3, 5]) == 5 and trial.number == 2:
            raise optuna.TrialPruned
        return float(lr)

    study.optimize(objective, n_trials=6)
    complete = [t for t in study.trials if t.state.name == "COMPLETE"]
    for source in (study, url):
        trials = earlier_trials(source, space, [LOSS])
        assert [t.candidate.values["lr"] for t in trials] == [t.params["lr"] for t in complete]
        assert [t.metrics["loss"] for t in trials] == [t.value for t in complete]
    with pytest.raises(InputError, match="Optuna study with directions max, got min"):
        earlier_trials(study, space, [Objective("accuracy", "max")])
    optuna.create_study(storage=url, study_name="two")
    with pytest.raises(InputError, match="a storage with one study, got one, two"):
        earlier_trials(url, space, [LOSS])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"s": ["a", "c"]}, "'s' in row 2 of warm_start must be .*, got 'c'"),
        ({"kind.net.0": [9, None]}, "'kind.net.0' in row 1 of warm_start must be .*, got 9"),
        (
            {"loss": [float("nan"), float("nan")]},
            "of the same space that measured loss, got no such",
        ),
    ],
)
def test_rows_of_another_space_are_refused(change: dict[str, list[Any]], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        earlier_trials(table().assign(**change), MIXED, [LOSS])


def test_sources_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a run folder, a CSV file or the URL .* got '.*nowhere'"):
        earlier_trials(tmp_path / "nowhere", MIXED, [LOSS])
    with pytest.raises(InputError, match="an Optuna study or trials, got int"):
        earlier_trials(3, MIXED, [LOSS])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"a table with a column 'kind', got none"):
        earlier_trials(table().drop(columns="kind"), MIXED, [LOSS])
