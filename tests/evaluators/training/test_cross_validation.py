import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.data.make_task import task
from netwright.data.task import Task
from netwright.errors import InfeasibleCandidate, InputError
from netwright.evaluators.training.cross_validation import CrossValidate
from netwright.files.run_layout import ABOUT, HELD_OUT
from netwright.networks.layers.linear import Linear
from netwright.networks.tabular.columns import Columns
from netwright.networks.training.recipe import Training
from netwright.pipelines.models.linear import LinearModel
from netwright.pipelines.pipeline import TablePipeline, as_pipeline, fit, load
from netwright.pipelines.preprocessing.categories import Categories
from netwright.pipelines.preprocessing.numeric import Numeric
from netwright.pipelines.trees.boosting import LightGBM
from netwright.space.candidate import Candidate
from netwright.space.choices import OneOf
from netwright.space.space import Space
from netwright.trials.metrics import score
from netwright.trials.trial import Job, Proposal

NET = (Columns(), Linear(OneOf(4, 8)), Linear())
SPACE = Space(TablePipeline(Training(NET, epochs=2, batch_size=32)))
SMALL, LARGE = [SPACE.default(), [*SPACE][-1]]


@pytest.fixture(scope="module")
def data() -> Task:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    y = np.where(x[:, 0] + 0.3 * rng.normal(size=120) > 0, "yes", "no")
    return task(x, y)


def job(
    folder: Path, number: int, seed: int = 7, deadline: float = float("inf"), **told: Any
) -> Job:
    place = folder / str(number)
    place.mkdir()
    return Job(Proposal(told.pop("candidate", SMALL), **told), seed, place, deadline)


def test_every_row_is_scored_by_the_fold_without_it(data: Task, tmp_path: Path) -> None:
    evaluator = CrossValidate(SPACE, data, folds=3)
    found = evaluator(job(tmp_path, 1))
    held_out = np.load(tmp_path / "1" / HELD_OUT)
    pipeline = as_pipeline(SPACE.fill(SMALL), data)
    seen: list[int] = []
    whole = replace(data, train=evaluator.rows)
    for i, part in enumerate(evaluator.fold_tasks):
        assert not {*part.train} & {*part.validation}
        seen += [*part.validation]
        by_hand = fit(pipeline, part, seed=7 + i, metric_name="auc", unsupervised_task=whole)
        expected = by_hand.predict(data.features.take(part.validation))
        assert held_out[np.searchsorted(evaluator.rows, part.validation)] == pytest.approx(expected)
        kept = load(pipeline, tmp_path / "1" / f"fold-{i}")
        assert kept.predict(data.features.take(part.validation)) == pytest.approx(expected)
    assert sorted(seen) == evaluator.rows.tolist() == list(range(120))
    wanted = score("binary", data.target[evaluator.rows], held_out)
    assert {name: found[name] for name in wanted} == wanted
    assert found["folds"] == 3


def test_target_steps_are_fitted_without_held_out_rows(tmp_path: Path) -> None:
    """A column of names and a target of noise: were means shared, they would give it away."""
    rng = np.random.default_rng(1)
    names = np.array([f"v{i}" for i in rng.integers(60, size=240)])
    columns = {"c": names, "x": rng.normal(size=240)}
    noise = task(columns, rng.integers(2, size=240), name="noise")
    means = Categories(encode="target", one_hot_max_size=5, alpha=0.1)
    space = Space(TablePipeline(LinearModel(l2=1e-4), {"categories": means}))
    found = CrossValidate(space, noise, folds=4)(job(tmp_path, 1, candidate=Candidate({})))
    assert 0.35 < found["auc"] < 0.62
    kept = [json.loads((tmp_path / "1" / f"fold-{i}" / "pipeline.json").read_text()) for i in "01"]
    parts = [one["preparation"]["has"]["steps"]["map"] for one in kept]
    assert parts[0]["categories"] != parts[1]["categories"]
    assert parts[0]["numeric"] == parts[1]["numeric"]  # fitted once, on the rows of all folds
    plain = Space(TablePipeline(LinearModel(l2=1e-4)))
    evaluator = CrossValidate(plain, noise, folds=4)
    evaluator(job(tmp_path, 2, candidate=Candidate({})))
    folds = [tmp_path / "2" / f"fold-{i}" / "pipeline.json" for i in range(4)]
    assert len({path.read_text() for path in folds}) == 1  # nothing to give away: fitted once


@pytest.mark.parametrize("encode", ["codes", "frequency", "onehot", "target"])
def test_no_step_finds_anything_in_noise(encode: str, tmp_path: Path) -> None:
    """A table of noise, names of nearly every row among it: each step is out of fold, or it would
    beat the answer that is the same for all."""
    rng = np.random.default_rng(5)
    n = 400
    columns = {f"x{i}": rng.normal(size=n) for i in range(5)}
    columns |= {f"c{i}": rng.choice(list("abcd"), n) for i in range(3)}
    columns["name"] = np.array([f"v{i}" for i in rng.integers(n // 2, size=n)])
    noise = task(columns, rng.normal(size=n), kind="regression", name="noise")
    coded = Categories(encode=encode, one_hot_max_size=5, alpha=1.0, crosses=5)  # type: ignore[arg-type]
    steps = {
        "numeric": Numeric(scale="none", missing="keep", arithmetic_features=10),
        "categories": coded,
    }
    space = Space(TablePipeline(LightGBM(n_estimators=60, min_child_samples=5), steps))
    evaluator = CrossValidate(space, noise, folds=4)
    found = evaluator(job(tmp_path, 1, candidate=Candidate({})))
    assert found["rmse"] > 0.985 * noise.target.std()


def test_promotion_fits_only_the_remaining_folds(data: Task, tmp_path: Path) -> None:
    evaluator = CrossValidate(SPACE, data, folds=4)
    assert evaluator.capabilities.fidelities == (0.25, 0.5, 0.75, 1.0)
    assert evaluator(job(tmp_path, 1, fidelity=0.5))["folds"] == 2
    first = np.load(tmp_path / "1" / HELD_OUT)
    known = np.isfinite(first).all(1)
    assert known.sum() == sum(len(part.validation) for part in evaluator.fold_tasks[:2])
    found = evaluator(job(tmp_path, 2, seed=99, fidelity=1.0, parents=(1,)))
    assert found["folds"] == 4
    second = np.load(tmp_path / "2" / HELD_OUT)
    assert (second[known] == first[known]).all()  # of another seed, had they been fitted again
    assert np.isfinite(second).all()


def test_folds_of_another_candidate_are_not_taken_over(data: Task, tmp_path: Path) -> None:
    evaluator = CrossValidate(SPACE, data, folds=2)
    evaluator(job(tmp_path, 1, candidate=LARGE))
    evaluator(job(tmp_path, 2, parents=(1,)))
    evaluator(job(tmp_path, 3))
    by_parent, alone = (np.load(tmp_path / place / HELD_OUT) for place in ("2", "3"))
    assert (by_parent == alone).all()


@pytest.mark.parametrize("name", [HELD_OUT, "pipeline.json", "*.safetensors"])
@pytest.mark.parametrize("spoil", ["empty", "cut", "link"])
def test_damaged_fold_of_a_parent_is_fitted_again(
    name: str, spoil: str, data: Task, tmp_path: Path
) -> None:
    evaluator = CrossValidate(SPACE, data, folds=2)
    evaluator(job(tmp_path, 1, fidelity=0.5))
    evaluator(job(tmp_path, 3))
    (path,) = (tmp_path / "1" / "fold-0").glob(name)
    if spoil == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_bytes(b"" if spoil == "empty" else path.read_bytes()[:-1])
    found = evaluator(job(tmp_path, 2, parents=(1,)))
    assert found["folds"] == 2
    by_parent, alone = (np.load(tmp_path / place / HELD_OUT) for place in ("2", "3"))
    assert (by_parent == alone).all()


def test_promotion_without_time_for_a_fold_is_infeasible(data: Task, tmp_path: Path) -> None:
    evaluator = CrossValidate(SPACE, data, folds=4)
    evaluator(job(tmp_path, 1, fidelity=0.25))
    with pytest.raises(InfeasibleCandidate, match="no time was left for another fold"):
        evaluator(job(tmp_path, 2, parents=(1,), deadline=time.monotonic() + 1e-3))
    assert evaluator(job(tmp_path, 3, parents=(1,)))["folds"] == 4
    assert (tmp_path / "3" / ABOUT).read_text() == (tmp_path / "1" / ABOUT).read_text()


def test_one_fold_is_the_split_of_the_task(data: Task, tmp_path: Path) -> None:
    evaluator = CrossValidate(SPACE, data, folds=1)
    evaluator(job(tmp_path, 1))
    assert evaluator.capabilities.fidelities == ()  # the fit's own
    assert evaluator.rows.tolist() == data.validation.tolist()
    assert len(np.load(tmp_path / "1" / HELD_OUT)) == len(data.validation)


def test_deadline_reduces_the_number_of_folds(data: Task, tmp_path: Path) -> None:
    space = Space(TablePipeline(Training(NET, epochs=100_000, batch_size=32)))
    evaluator = CrossValidate(space, data, folds=5)
    begun = time.monotonic()
    found = evaluator(job(tmp_path, 1, deadline=begun + 2))
    assert time.monotonic() - begun < 4
    assert 1 <= found["folds"] <= 5
    assert 0 <= found["accuracy"] <= 1


def test_rows_of_a_group_are_never_apart(tmp_path: Path) -> None:
    x = np.arange(60.0)[:, None]
    groups = np.repeat(np.arange(12), 5)
    grouped = task(x, np.tile(["a", "b"], 30), groups=groups)
    assert grouped.groups is not None
    for part in CrossValidate(SPACE, grouped, folds=3).fold_tasks:
        assert not {*grouped.groups[part.train]} & {*grouped.groups[part.validation]}


def test_folds_must_be_a_whole_number() -> None:
    with pytest.raises(InputError, match="folds must be"):
        CrossValidate(SPACE, None, folds=0)  # type: ignore[arg-type]
