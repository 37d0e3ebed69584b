"""Every candidate of the spaces that we choose can be built and costed, whatever the task."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.automl.image.space import MAX_CODES, N_STAGES, stage_pools, stem_stride
from netwright.automl.portfolio import portfolio
from netwright.automl.spaces import space_for
from netwright.automl.tabular.families import NETWORK_FAMILIES
from netwright.automl.task_metadata import TaskMetadata, epochs
from netwright.networks.costs import costs

SIDES = (1, 3, 4, 8, 15, 16, 28, 32, 33, 64, 96, 128, 224, 256)


@pytest.mark.parametrize("side", SIDES)
def test_images_of_any_size_have_networks(side: int) -> None:
    brief = TaskMetadata("multiclass", 1000, (side, side + side // 2, 3), pixel_values=4)
    space = space_for(brief)
    rng = np.random.default_rng(side)
    candidates = [*portfolio(space, brief), space.default()]
    candidates += [space.sample(rng) for _ in range(40)]
    for candidate in candidates:
        space.check(candidate)
        network = space.fill(candidate).model.network
        assert costs(network, (3, side, side + side // 2), outputs=7).shape == (7,)


@pytest.mark.parametrize(("numbers", "codes"), [(5, (3, 9)), (5, ()), (0, (2,)), (1, (1,))])
@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_tables_of_any_columns_have_networks(
    numbers: int, codes: tuple[int, ...], kind: str
) -> None:
    brief = TaskMetadata(kind, 1000, families=NETWORK_FAMILIES)  # type: ignore[arg-type]  # one of the kinds
    space = space_for(brief)
    rng = np.random.default_rng(0)
    for candidate in [*portfolio(space, brief), *(space.sample(rng) for _ in range(40))]:
        space.check(candidate)
        network = space.fill(candidate).model.network
        shape = (numbers + len(codes),)
        assert costs(network, shape, outputs=2, cardinalities=codes).shape == (2,)


def test_first_image_configuration_is_the_fast_recipe_and_all_others_differ() -> None:
    brief = TaskMetadata("multiclass", 1000, (28, 28, 3), pixel_values=256)
    space = space_for(brief)
    default, *others = portfolio(space, brief)
    assert default.values["view"] == "pixels"
    assert (default.values["width_1"], default.values["width_2"]) == (16, 64)
    assert default.values["model.optimizer"] == "muon"
    assert len({default, *others}) == 1 + len(others) >= 8
    _, balanced, *same = portfolio(space, brief, metric="balanced_accuracy")
    assert balanced.values == default.values | {"model.class_weight": "balanced"}
    assert same == others


@pytest.mark.parametrize(
    ("channels", "pixel_values", "views"),
    [
        (1, 256, {"pixels", "rows", "columns"}),
        (3, 256, {"pixels", "rows", "columns", "channels"}),
        (1, MAX_CODES, {"pixels", "rows", "columns", "codes"}),
        (1, MAX_CODES + 1, {"pixels", "rows", "columns"}),
        (1, 1, {"pixels", "rows", "columns"}),
    ],
)
def test_views_suit_the_data(channels: int, pixel_values: int, views: set[str]) -> None:
    brief = TaskMetadata("multiclass", 1000, (20, 20, channels), pixel_values=pixel_values)
    space = space_for(brief)
    (view,) = (decision for decision in space.decisions if decision.path == "view")
    assert all(view.contains(name) for name in views)
    compared = {candidate.values["view"] for candidate in portfolio(space, brief)}
    assert compared == views
    rng = np.random.default_rng(0)
    assert {space.sample(rng).values["view"] for _ in range(200)} == views


def test_regression_images_smooth_no_labels() -> None:
    brief = TaskMetadata("regression", 1000, (20, 20, 1))
    space = space_for(brief)
    for candidate in portfolio(space, brief):
        space.check(candidate)
        assert space.fill(candidate).model.label_smoothing == 0.0


@pytest.mark.parametrize("side", SIDES)
def test_stem_leaves_17_to_32_pixels(side: int) -> None:
    assert min(17, side) <= -(-side // stem_stride(side)) <= 32


@pytest.mark.parametrize(
    ("side", "pools"), [(5, (1, 1, 1)), (6, (2, 1, 1)), (10, (2, 2, 1)), (20, (2, 2, 2))]
)
def test_stages_halve_the_image_while_pixels_are_left(side: int, pools: tuple[int, ...]) -> None:
    assert stage_pools(side) == pools
    assert len(pools) == N_STAGES


def test_epochs_shrink_with_the_rows_within_bounds() -> None:
    assert epochs(1500, max_epochs=30) == 30
    assert epochs(50, max_epochs=30) == epochs(1, max_epochs=30) == 400
    assert epochs(60_000, max_epochs=30) == 10
    assert epochs(10_000_000, max_epochs=30) == 4


def test_task_metadata_json_roundtrip() -> None:
    for brief in (TaskMetadata("binary", 7), TaskMetadata("regression", 9, (4, 5, 3))):
        assert TaskMetadata.from_json(brief.json()) == brief
        assert (
            space_for(TaskMetadata.from_json(brief.json())).fingerprint
            == space_for(brief).fingerprint
        )
