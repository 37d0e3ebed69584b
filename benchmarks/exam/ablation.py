"""`netwright fit` without a part of its search of images, to see what the part brings.

    python benchmarks/exam/ablation.py PART ARCHIVE [options of `netwright fit`]

PART: ``no_views`` compares augmentations and heads only; ``any_lead`` takes a challenger that leads in
the mean loss, however little; ``no_augmentation`` trains all candidates, the default included, on the
images as they are; ``inheritance`` starts the final training from the weights of the search's network.
"""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from netwright.automl import portfolio
from netwright.automl.image import default_configs, final_candidate, final_training
from netwright.cli.app import main
from netwright.evaluators import default_evaluators
from netwright.evaluators.training.train_and_validate import TrainAndValidate
from netwright.trials.trial import Trial


def _change_configs(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    original = portfolio.image_configs
    portfolio.image_configs = lambda *args: change(original(*args))


def no_views() -> None:
    _change_configs(lambda configs: [c for c in configs if c["view"] == "pixels"])


def no_augmentation() -> None:
    _change_configs(lambda configs: [config | {"model.augment": "none"} for config in configs])
    del default_configs._EDITS["model.augment"]


def any_lead() -> None:
    final_candidate._MIN_Z = 0.0
    final_candidate._MIN_Z_OF_CORRECT = -math.inf


def inheritance() -> None:
    default_evaluators.TrainAndValidate = partial(TrainAndValidate, inherit=0.3)  # type: ignore[misc]
    original = final_training._FinalTraining._submit

    def submit(self: Any, trial: Trial) -> None:
        (parent,) = trial.proposal.parents
        copy = self.folder.path / str(parent)  # where a trial looks for its parent
        shutil.copytree(self.search.trial_folder(parent).path, copy, dirs_exist_ok=True)
        original(self, trial)

    final_training._FinalTraining._submit = submit  # type: ignore[method-assign]


PARTS = {each.__name__: each for each in (no_views, any_lead, no_augmentation, inheritance)}


if __name__ == "__main__":
    PARTS[sys.argv[1]]()
    main(["fit", *sys.argv[2:]])
