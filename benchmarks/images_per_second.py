"""Images a second of netwright's training loop beside a plain PyTorch loop, for five networks.

    python benchmarks/images_per_second.py ARCHIVE [--seconds 8] [--threads 2] [--out CSV]

ARCHIVE: an ``.npz`` file with `x_train` (rows, height, width, channels) in bytes and `y_train`. Both
loops train the same network on the same images and batches, with the same optimiser and precision.
netwright's augments (shift and flip) and chooses precision and threads by timing; the plain one does
nothing else but the step, on images that are float32 already. Validations are not timed. Both take
turns, and the median of three rounds is compared: run it on an idle machine.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.basic import Activation, GlobalPool, Multiply
from netwright.networks.layers.blocks import MBConv
from netwright.networks.layers.channel_tower import ChannelTower
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.downsampling import PatchStem
from netwright.networks.layers.linear import Linear
from netwright.networks.layers.vision_blocks import ConvNeXtBlock, PreActivation
from netwright.networks.layers.whitening import Whitening
from netwright.networks.training.augmentation.geometry import Flip, Shift
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.muon import Muon
from netwright.networks.training.recipe import Training
from netwright.networks.training.schedules import LinearDecay
from netwright.pipelines.interfaces import InputSpec
from netwright.pipelines.models.network import build_module, fit

OUT = Path(__file__).parent / "results" / "images-per-second.csv"
N_ROUNDS = 3
N_WARM_UP_STEPS = 3


@dataclass(frozen=True)
class Row:
    network: str
    precision: str
    threads: int
    netwright: float
    plain: float

    @property
    def ratio(self) -> float:
        """Images a second of netwright, relative to the plain loop."""
        return self.netwright / self.plain


def fast(width: int) -> Network:
    """The default of a search of images."""
    convs = tuple(
        Conv(channels, normalisation="batch_bias", activation="silu", pool=pool, init="identity")
        for channels in (width, 4 * width, 4 * width)
        for pool in (2, 1)
    )
    return (Whitening(), Activation("silu"), *convs, GlobalPool("max"), Linear(), Multiply(1 / 9))


def networks() -> dict[str, Network]:
    tower = (Conv(16), Conv(32, stride=2), Conv(64, stride=2), GlobalPool())
    residual = (Conv(32), PreActivation(32), PreActivation(64, stride=2), PreActivation(64))
    inverted = (Conv(24), MBConv(24), MBConv(48, stride=2), MBConv(48))
    patches = (PatchStem(64, patch=4), ConvNeXtBlock(), ConvNeXtBlock())
    return {
        "default, width 32": fast(32),
        "tower of channels": (ChannelTower(tower, "sum_product"), Linear()),
        "pre-activation": (*residual, GlobalPool(), Linear()),
        "inverted bottleneck": (*inverted, GlobalPool(), Linear()),
        "ConvNeXt": (*patches, GlobalPool(), Linear()),
    }


def recipe_of(network: Network) -> Training:
    return Training(
        network,
        lr=0.12,
        batch_size=125,
        epochs=10_000,
        optimizer=Muon(),
        schedule=LinearDecay(),
        augment=(Shift(2), Flip(alternating=True)),
        max_grad_norm=0.0,
        select="last",
    )


def time_netwright(
    recipe: Training, spec: InputSpec, rows: LabelledData, seconds: float
) -> tuple[float, str, int]:
    """Return images a second of training steps, and the precision and threads that were chosen."""
    validation = rows.inputs[:64].numpy()
    model = fit(
        recipe, spec, rows, validation, lambda _: 0.0, seed=0, deadline=time.monotonic() + seconds
    )
    assert model.curve is not None
    return model.curve.rows_per_second, model.curve.precision, model.curve.n_threads


def time_plain(
    recipe: Training,
    spec: InputSpec,
    rows: LabelledData,
    seconds: float,
    precision: str,
    n_threads: int,
) -> float:
    """Return images a second of a loop that does nothing but training steps."""
    torch.set_num_threads(n_threads)
    torch.manual_seed(0)
    module = build_module(recipe, spec).train().to(memory_format=torch.channels_last)
    optimizer = recipe.optimizer.make(module, recipe.lr)
    inputs = rows.inputs.float().contiguous(memory_format=torch.channels_last)
    step_seconds, ends_at = [], time.monotonic() + seconds
    while time.monotonic() < ends_at:
        for indices in torch.randperm(len(rows)).split(recipe.batch_size):
            started_at = time.monotonic()
            batch = inputs[indices].contiguous(memory_format=torch.channels_last)
            step(module, optimizer, batch, rows.targets[indices], precision)
            step_seconds.append((time.monotonic() - started_at) / len(indices))
            if time.monotonic() > ends_at:
                break
    ordered = sorted(step_seconds[N_WARM_UP_STEPS:])
    return 1 / ordered[len(ordered) // 4]


def step(
    module: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, precision: str
) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        loss = nn.functional.cross_entropy(module(x).float(), y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def compare(
    name: str, network: Network, x: NDArray[np.uint8], y: NDArray[np.int64], seconds: float
) -> Row:
    recipe, n_classes = recipe_of(network), int(y.max()) + 1
    inputs = torch.from_numpy(np.ascontiguousarray(x)).permute(0, 3, 1, 2)
    mean = x[:1000].mean((0, 1, 2)).tolist()
    spec = InputSpec(
        tuple(inputs.shape[1:]), {"outputs": n_classes}, tuple(mean), (64.0,) * len(mean)
    )
    rows = LabelledData(inputs, torch.from_numpy(y))
    ours, plain, n_threads = [], [], torch.get_num_threads()
    for _ in range(N_ROUNDS):
        torch.set_num_threads(n_threads)
        rate, precision, threads = time_netwright(recipe, spec, rows, seconds)
        ours.append(rate)
        plain.append(time_plain(recipe, spec, rows, seconds, precision, threads))
    return Row(name, precision, threads, statistics.median(ours), statistics.median(plain))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=OUT)
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    with np.load(settings.archive) as archive:
        x, y = archive["x_train"], archive["y_train"].astype(np.int64)
    with settings.out.open("w", newline="") as file:
        names = ["network", "precision", "threads", "netwright", "plain"]
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for name, network in networks().items():
            row = compare(name, network, x, y, settings.seconds)
            writer.writerow(asdict(row))
            print(
                f"{row.network:20} {row.precision:9} {row.threads} threads "
                f"{row.netwright:7,.0f} {row.plain:7,.0f} images/s  {row.ratio:.2f}"
            )


if __name__ == "__main__":
    main()
