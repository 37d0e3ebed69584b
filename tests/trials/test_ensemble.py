"""The record of an ensemble: what it may be, and that it reads back the same."""

from __future__ import annotations

from typing import Any

import pytest

from netwright.errors import BrokenFile, InputError
from netwright.trials.ensemble import EnsembleSpec

SPECS = [
    EnsembleSpec.of({3: 0.2, 1: 0.5, 2: 0.3}, 1.25, 0.4),
    EnsembleSpec.of({7: 1.0}, refit=True),
    EnsembleSpec.of({7: 1.0}, first_fold=True, n_members=2),
]


@pytest.mark.parametrize("spec", SPECS)
def test_an_ensemble_reads_back_the_same(spec: EnsembleSpec) -> None:
    again = EnsembleSpec.from_json(spec.json(), "it")
    assert again == spec
    assert hash(again) == hash(spec)


def test_members_stand_by_their_weights() -> None:
    assert SPECS[0].trials == (1, 2, 3)
    assert SPECS[0].weight_of == {1: 0.5, 2: 0.3, 3: 0.2}
    assert EnsembleSpec.of({2: 0.5, 1: 0.5}) == EnsembleSpec.of({1: 0.5, 2: 0.5})


def test_ensemble_of_one_unchanged_trial_changes_nothing() -> None:
    assert EnsembleSpec.of({4: 1.0}).changes_nothing
    for other in (
        EnsembleSpec.of({4: 1.0}, temperature=2.0), EnsembleSpec.of({4: 1.0}, threshold=0.3),
        EnsembleSpec.of({4: 1.0}, first_fold=True), EnsembleSpec.of({4: 1.0}, refit=True),
        EnsembleSpec.of({4: 0.5, 5: 0.5}),
    ):  # fmt: skip
        assert not other.changes_nothing


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"weights": {}}, "of 1 to 1,000 different trials"),
        ({"weights": {1: float("nan")}}, "weights of an ensemble must be finite numbers"),
        ({"weights": {1: 1.0}, "temperature": 0.0}, "temperature of an ensemble must be above 0"),
        ({"weights": {1: 1.0}, "threshold": float("inf")}, "threshold of an ensemble"),
        ({"weights": {1: 1.0}, "n_members": -1}, "n_members of an ensemble must be from 0"),
        ({"weights": {1: 0.5, 2: 0.5}, "refit": True}, "fitted again must be of one trial"),
    ],
)
def test_invalid_ensembles_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        EnsembleSpec.of(**settings)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weights": [[1]]}', '{"weights": [[1, 1.0], [1, 1.0]]}']
)
def test_invalid_json_error_names_the_text(text: str) -> None:
    with pytest.raises(BrokenFile, match="that trial"):
        EnsembleSpec.from_json(text, "ensemble of that trial")
