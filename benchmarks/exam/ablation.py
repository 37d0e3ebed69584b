"""`netwright fit` without a part of its search of images, to see what the part brings.

    python benchmarks/exam/ablation.py PART ARCHIVE [options of `netwright fit`]

PART: ``no_views`` compares augmentations and heads only; ``any_lead`` trusts every lead of a challenger;
``no_augmentation`` trains all candidates, the default included, on the images as they are;
``inheritance`` starts the final training from the weights of the search's network.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from netwright.automl import portfolio
from netwright.automl.image import final_candidate
from netwright.cli.app import main
from netwright.evaluators import default_evaluators
from netwright.evaluators.training.train_and_validate import TrainAndValidate


def _change_configs(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    original = portfolio.image_configs
    portfolio.image_configs = lambda *args: change(original(*args))


def no_views() -> None:
    _change_configs(lambda configs: [c for c in configs if c["view"] == "pixels"])


def no_augmentation() -> None:
    _change_configs(lambda configs: [config | {"model.augment": "none"} for config in configs])


def any_lead() -> None:
    final_candidate._MIN_Z = 0.0
    final_candidate._MIN_Z_OF_HITS = -math.inf


def inheritance() -> None:
    default_evaluators.TrainAndValidate = partial(TrainAndValidate, inherit=0.3)  # type: ignore[misc]


PARTS = {each.__name__: each for each in (no_views, any_lead, no_augmentation, inheritance)}


if __name__ == "__main__":
    PARTS[sys.argv[1]]()
    main(["fit", *sys.argv[2:]])
