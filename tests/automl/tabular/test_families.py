"""The families of models for tables, and the recipes that are tried first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netwright.automl.portfolio import complete_candidate, portfolio
from netwright.automl.spaces import space_for
from netwright.automl.tabular.default_configs import DEFAULT_CONFIGS, table_configs
from netwright.automl.tabular.families import (
    NETWORK_FAMILIES,
    check_families,
    family_pipelines,
    installed_families,
)
from netwright.automl.task_metadata import TaskMetadata
from netwright.errors import InputError
from netwright.report.describe import summary
from netwright.trials.trial import FAMILY

BRIEFS = [
    TaskMetadata("binary", 500, columns=9, categorical=3, classes=2, folds=8),
    TaskMetadata("multiclass", 20_000, columns=9, classes=7, folds=1),
    TaskMetadata("regression", 5_000, columns=9, categorical=1, logs=True, folds=5),
]


@pytest.mark.parametrize("brief", BRIEFS, ids=lambda brief: brief.kind)
def test_every_default_config_is_legal_in_the_space(brief: TaskMetadata) -> None:
    space = space_for(brief)
    for name, recipes in DEFAULT_CONFIGS.items():
        for recipe in recipes if name in installed_families() else ():
            alone = space_for(replace(brief, families=(name,)))
            candidate = complete_candidate(alone, recipe)
            known = {p: v for p, v in recipe.items() if brief.categorical or "encode" not in p}
            assert {path: candidate.values.get(path) for path in known} == known
            alone.check(candidate)
    candidates = portfolio(space, brief)
    assert len(candidates) >= 10
    for candidate in candidates:
        space.check(candidate)
    tried = {candidate.values[FAMILY] for candidate in candidates}
    assert tried == set(installed_families())


def test_table_configs_start_with_the_measured_portfolio() -> None:
    """A table like those of the development tables: nothing of what was chosen is lost."""
    brief = TaskMetadata("binary", 3_000, columns=10, categorical=4, classes=2, folds=5)
    candidates, wishes = portfolio(space_for(brief), brief), table_configs(brief)
    families = [wish[FAMILY] for wish in wishes]
    cheapest = wishes.index(next(wish for wish in wishes if wish[FAMILY] == "linear"))
    ordered = [wishes[cheapest], *wishes[:cheapest], *wishes[cheapest + 1 :]]
    assert sorted(map(str, families)) == sorted(str(one.values[FAMILY]) for one in candidates)
    for candidate, wish in zip(candidates, ordered, strict=True):
        assert {path: candidate.values.get(path) for path in wish} == dict(wish)
    without = table_configs(brief, "credit_g")
    assert without != wishes
    assert table_configs(brief, "no such table") == wishes


@pytest.mark.parametrize("name", installed_families())
def test_single_family_can_be_searched(name: str) -> None:
    brief = TaskMetadata(
        "binary", 500, columns=9, categorical=3, classes=2, folds=8, families=(name,)
    )
    space = space_for(brief)
    candidates = portfolio(space, brief)
    assert candidates
    for candidate, wish in zip(candidates, table_configs(brief), strict=True):
        assert {path: candidate.values.get(path) for path in wish} == dict(wish)
        assert summary(space.fill(candidate))


def test_family_names_are_checked_and_ordered() -> None:
    assert check_families(("tabm", "lightgbm")) == ("lightgbm", "tabm")
    assert set(NETWORK_FAMILIES) <= set(check_families(()))
    with pytest.raises(InputError, match="families must be known ones, got 'lightbgm'"):
        check_families(("lightbgm",))


def test_skewed_positive_target_opens_the_log_transform() -> None:
    with_logs, without = (
        family_pipelines(TaskMetadata("regression", 500, columns=3, logs=logs))
        for logs in (True, False)
    )
    assert without["linear"].target == "plain" != with_logs["linear"].target


def test_task_metadata_json_roundtrip_of_tables() -> None:
    for brief in BRIEFS:
        assert TaskMetadata.from_json(brief.json()) == brief
    old = '{"kind": "binary", "rows": 5, "image": null}'
    assert TaskMetadata.from_json(old) == TaskMetadata("binary", 5)
