"""Every candidate of the spaces that we choose can be built and costed, whatever the task."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.automl.image.space import stem_strides
from netwright.automl.portfolio import portfolio
from netwright.automl.spaces import space_for
from netwright.automl.tabular.families import NETWORK_FAMILIES
from netwright.automl.task_metadata import TaskMetadata, epochs
from netwright.networks.costs import costs

SIDES = (1, 3, 4, 8, 15, 16, 28, 32, 33, 64, 96, 128, 224, 256)


@pytest.mark.parametrize("side", SIDES)
def test_images_of_any_size_have_networks(side: int) -> None:
    brief = TaskMetadata("multiclass", 1000, (side, side + side // 2, 3))
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


def test_image_baselines_differ_and_start_with_the_smallest() -> None:
    brief = TaskMetadata("multiclass", 1000, (28, 28, 1))
    space = space_for(brief)
    sizes = [
        costs(space.fill(one).model.network, (1, 28, 28), outputs=2).parameters
        for one in portfolio(space, brief)
    ]
    assert len(set(sizes)) == len(sizes) >= 3
    assert min(sizes) == sizes[0] < sizes[1] < max(sizes)


@pytest.mark.parametrize("side", SIDES)
def test_stem_leaves_12_to_32_pixels(side: int) -> None:
    strides = stem_strides(side)
    left = [side / stride for stride in strides]
    assert max(left) <= 32
    assert min(left) >= min(12, side)


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
