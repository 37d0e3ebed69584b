"""Train one control on an exam's archive in a given wall time, and print its test accuracy.

    python benchmarks/exam/control.py CONTROL ARCHIVE.npz --seconds 120 [--width 48] [--seed 0]

CONTROL is ``fixed_recipe`` (the fast recipe with a network fixed beforehand), ``resnet`` (a hand-made
residual network, SGD, one cycle) or ``darts`` (a random network of the DARTS space, 5 cells and 16
channels, with the fast recipe). The time counts from the start of the process, imports and the test
included. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

START = time.monotonic()

import numpy as np  # noqa: E402  # the clock starts before the imports
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))

from exam import fast_training as fast  # noqa: E402

WIDTH = 48
"""Of the fixed recipe, fixed before any run of the exam."""
RESNET_WIDTH = 24
RESNET_RECIPE = fast.Recipe(
    batch_size=128, muon_lr=None, sgd_lr=0.2, smoothing=0.0, flip=True, shift=4, warmup=0.3
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("control", choices=("fixed_recipe", "resnet", "darts"))
    parser.add_argument("archive", type=Path)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    torch.manual_seed(settings.seed)
    with np.load(settings.archive) as file:
        arrays = {name: file[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    mean, std = fast.channel_statistics(arrays["x_train"])
    x = fast.standardised(arrays["x_train"], mean, std)
    y = torch.from_numpy(arrays["y_train"].astype(np.int64))
    x_test = fast.standardised(arrays["x_test"], mean, std)
    module = network(settings.control, x, int(y.max()) + 1, settings.width, settings.seed)
    module = module.to(memory_format=torch.channels_last)
    recipe = RESNET_RECIPE if settings.control == "resnet" else fast.Recipe()
    autocast = fast.is_bfloat16_faster(module, x)
    reserve = test_seconds(module, x_test, recipe, autocast=autocast)
    deadline = START + settings.seconds - reserve
    began = time.monotonic()
    n_seen = fast.train_until(module, x, y, recipe, deadline, autocast=autocast)
    ended = time.monotonic()
    classes = fast.predicted(module, x_test, recipe, autocast=autocast).numpy()
    outcome = {
        "accuracy": float((classes == arrays["y_test"]).mean()),
        "seconds": time.monotonic() - START,
        "images_per_second": n_seen / (ended - began),
        "epochs": n_seen / len(x),
        "bfloat16": autocast,
    }
    print(json.dumps(outcome))


def network(control: str, x: Tensor, n_classes: int, width: int, seed: int) -> nn.Module:
    """The control's untrained network for images (n, c, h, w)."""
    if control == "resnet":
        return fast.ResNet(x.shape[1], RESNET_WIDTH, n_classes)
    if control == "fixed_recipe":
        return fast.FastNet(fast.whitening_filters(x), width, n_classes, min(x.shape[2:]))
    import netwright as nw

    space = nw.Space(nw.darts(channels=16, cells=5))
    architecture = space.fill(space.sample(np.random.default_rng(seed)))
    return nw.build(architecture, tuple(x.shape[1:]), outputs=n_classes)


def test_seconds(module: nn.Module, x: Tensor, recipe: fast.Recipe, *, autocast: bool) -> float:
    """Seconds to keep for the test, by the time of 500 images, and a second and a half for the rest."""
    fast.predicted(module, x[:100], recipe, autocast=autocast)
    began = time.monotonic()
    fast.predicted(module, x[:500], recipe, autocast=autocast)
    return 1.2 * (time.monotonic() - began) * max(1, len(x) / 500) + 1.5


if __name__ == "__main__":
    main()
