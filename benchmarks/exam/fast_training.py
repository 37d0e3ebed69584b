"""Train any image network as fast as we can on a processor, until a deadline: for the controls.

It shares no code with netwright, so that it can judge it. The recipe follows Jordan (2024, 2404.00498):
whitened 2 x 2 stem, Muon for filters, label smoothing, alternating flips, reflected shifts, a mirrored
view at the test; the schedule runs by the clock, warm-up for a fifth, then linearly to zero.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Args:
        batch_size: images in a step.
        muon_lr: largest learning rate of filters; None trains everything by `other`.
        head_lr, bias_lr: largest learning rates of the last layer and of normalisation biases (Adam).
        sgd_lr: largest learning rate where `muon_lr` is None (SGD with Nesterov momentum, one cycle).
        smoothing: label smoothing.
        flip: whether images are mirrored in every other epoch, and averaged with their mirror images
            at the test.
        shift: largest shift in pixels, with reflection at the border.
        warmup: fraction of the time in which the learning rate rises.
    """

    batch_size: int = 125
    muon_lr: float | None = 0.12
    head_lr: float = 0.03
    bias_lr: float = 0.05
    sgd_lr: float = 0.1
    weight_decay: float = 5e-4
    smoothing: float = 0.2
    flip: bool = True
    shift: int = 2
    warmup: float = 0.2


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix is orthogonalised before the step; filters keep their norm.

    Source: Jordan (2024), https://kellerjordan.github.io/posts/muon; Newton-Schulz with the quintic
    polynomial given there.
    """

    def __init__(self, params: list[nn.Parameter], lr: float, momentum: float = 0.6) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight.grad)
                momentum = state["momentum"]
                momentum.mul_(group["momentum"]).add_(weight.grad)
                update = weight.grad.add(momentum, alpha=group["momentum"])  # Nesterov
                weight.mul_(len(weight) ** 0.5 / weight.norm())
                matrix = orthogonalised(update.reshape(len(update), -1))
                weight.add_(matrix.view_as(weight), alpha=-group["lr"])


def orthogonalised(matrix: Tensor, n_steps: int = 3) -> Tensor:
    """The nearest semi-orthogonal matrix, approximately: singular values near 1. (rows, columns)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (matrix.norm() + 1e-7)
    transposed = len(x) > x.shape[1]
    x = x.T if transposed else x
    for _ in range(n_steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if transposed else x


def whitening_filters(pixels: Tensor) -> Tensor:
    """Filters (2 * k, c, 2, 2) that decorrelate patches of 2 x 2 pixels, each with its negative."""
    c = pixels.shape[1]
    patches = F.unfold(pixels[:2000].contiguous(), 2).transpose(1, 2).reshape(-1, 4 * c)
    patches = patches[torch.randperm(len(patches))[:200_000]]
    covariance = patches.T @ patches / len(patches)
    values, vectors = torch.linalg.eigh(covariance)
    n_filters = min(4 * c, 32)
    values, vectors = values.flip(0)[:n_filters], vectors.flip(1)[:, :n_filters]
    filters = (vectors / (values + 5e-4).sqrt()).T.reshape(-1, c, 2, 2)
    return torch.cat([filters, -filters])


class FastNet(nn.Module):
    """Whitened stem, three stages of two convolutions (w, 4w, 4w), global maximum, linear head.

    Poolings follow the side of the image: three from 20 pixels on, two from 10, one from 6.
    """

    def __init__(self, filters: Tensor, width: int, n_classes: int, side: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(filters.shape[1], len(filters), 2)
        self.stem.weight.data = filters
        self.stem.weight.requires_grad_(False)
        n_pools = sum(side >= least for least in (6, 10, 20))
        widths = (len(filters), width, 4 * width, 4 * width)
        self.stages = nn.Sequential(
            *(
                _stage(n_in, n_out, pooled=i < n_pools)
                for i, (n_in, n_out) in enumerate(itertools.pairwise(widths))
            )
        )
        self.head = nn.Linear(4 * width, n_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (n, c, h, w) -> (n, classes)
        x = self.stages(F.silu(self.stem(x)))
        return self.head(x.amax(dim=(2, 3))) / 9


def _stage(n_in: int, n_out: int, *, pooled: bool) -> nn.Sequential:
    return nn.Sequential(
        _identity_conv(n_in, n_out),
        nn.MaxPool2d(2) if pooled else nn.Identity(),
        _norm(n_out),
        nn.SiLU(inplace=True),
        _identity_conv(n_out, n_out),
        _norm(n_out),
        nn.SiLU(inplace=True),
    )


def _identity_conv(n_in: int, n_out: int) -> nn.Conv2d:
    conv = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
    nn.init.dirac_(conv.weight.data[: min(n_in, n_out)])
    return conv


def _norm(n_channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(n_channels, momentum=0.4, eps=1e-12)
    norm.weight.requires_grad_(False)
    return norm


class ResNet(nn.Module):
    """Three stages of two basic blocks (He et al., 2016), widths w, 2w, 4w, global average."""

    def __init__(self, n_channels: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(n_channels, width, 3, padding=1, bias=False)
        widths = (width, width, 2 * width, 4 * width)
        blocks = []
        for i, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
            blocks += [_Basic(n_in, n_out, 1 if i == 0 else 2), _Basic(n_out, n_out, 1)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(4 * width)
        self.head = nn.Linear(4 * width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.blocks(self.stem(x))))
        return self.head(x.mean(dim=(2, 3)))


class _Basic(nn.Module):
    """A pre-activation block (He et al., 2016, 1603.05027)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(n_in), nn.BatchNorm2d(n_out)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        changes = stride != 1 or n_in != n_out
        self.shortcut = nn.Conv2d(n_in, n_out, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(x))
        skip = x if self.shortcut is None else self.shortcut(y)
        return skip + self.conv2(F.relu(self.norm2(self.conv1(y))))


def standardised(pixels: NDArray[np.uint8], mean: Tensor, std: Tensor) -> Tensor:
    """Pixels (n, h, w, c) as floats (n, c, h, w), channels last in memory."""
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    x = (x / 255 - mean[:, None, None]) / std[:, None, None]
    return x.contiguous(memory_format=torch.channels_last)


def channel_statistics(pixels: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, of pixels from 0 to 1."""
    flat = torch.from_numpy(pixels).reshape(-1, pixels.shape[-1]).float() / 255
    return flat.mean(dim=0), flat.std(dim=0) + 1e-3


def augmented(x: Tensor, epoch: int, recipe: Recipe, parity: Tensor) -> Tensor:
    """A batch (n, c, h, w), shifted by one offset for a group of images, mirrored in turns."""
    if recipe.flip:  # each image is mirrored in every other epoch
        mirror = (parity + epoch) % 2 == 0
        x = torch.where(mirror[:, None, None, None], x.flip(3), x)
    if recipe.shift:
        r = recipe.shift
        padded = F.pad(x, (r, r, r, r), mode="reflect")
        h, w = x.shape[2:]
        out = torch.empty_like(x)
        offsets = torch.randint(0, (2 * r + 1) ** 2, (len(x),))
        for offset in offsets.unique():
            chosen = offsets == offset
            top, left = divmod(int(offset), 2 * r + 1)
            out[chosen] = padded[chosen, :, top : top + h, left : left + w]
        x = out
    return x.contiguous(memory_format=torch.channels_last)


def train_until(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    recipe: Recipe,
    deadline: float,
    *,
    autocast: bool,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> int:
    """Train until `deadline` (`time.monotonic`) and return the number of images seen.

    The learning rate follows the share of the time that is over, so that it ends at zero.
    """
    optimizers = _optimizers(module, recipe)
    largest = [[group["lr"] for group in one.param_groups] for one in optimizers]
    start, n_seen, epoch = time.monotonic(), 0, 0
    parity = torch.randint(0, 2, (len(x),))
    step_seconds = 0.0
    module.train()
    while True:
        order = torch.randperm(len(x))
        size = min(recipe.batch_size, len(x))
        for i in range(0, len(x) - size + 1, size):
            began = time.monotonic()
            progress = (began - start) / max(deadline - start, 1e-9)
            if began + step_seconds >= deadline:
                return n_seen
            rate = min(progress / recipe.warmup, (1 - progress) / (1 - recipe.warmup))
            for optimizer, rates in zip(optimizers, largest, strict=True):
                for group, lr in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = lr * max(rate, 1e-3)
            index = order[i : i + size]
            batch = augmented(x[index], epoch, recipe, parity[index])
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                out = module(batch)
            loss = F.cross_entropy(out.float(), y[index], label_smoothing=recipe.smoothing)
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            n_seen += size
            step_seconds = time.monotonic() - began
        epoch += 1
        on_epoch(epoch)


def _optimizers(module: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    params = [p for p in module.parameters() if p.requires_grad]
    if recipe.muon_lr is None:
        return [
            torch.optim.SGD(
                params, recipe.sgd_lr, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
            )
        ]
    filters = [p for p in params if p.ndim == 4]
    heads = [p for p in params if p.ndim == 2]
    biases = [p for p in params if p.ndim == 1]
    adam = torch.optim.Adam(
        [{"params": heads, "lr": recipe.head_lr}, {"params": biases, "lr": recipe.bias_lr}],
        betas=(0.9, 0.95),
    )
    return [Muon(filters, recipe.muon_lr), adam]


@torch.no_grad()
def predicted(module: nn.Module, x: Tensor, recipe: Recipe, *, autocast: bool) -> Tensor:
    """Classes (n,), from the logits of each image and, with `flip`, of its mirror image."""
    module.eval()
    classes = []
    for batch in x.split(500):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = module(batch).float()
            if recipe.flip:
                mirrored = batch.flip(3).contiguous(memory_format=torch.channels_last)
                logits = logits + module(mirrored).float()
        classes.append(logits.argmax(dim=1))
    return torch.cat(classes)


def is_bfloat16_faster(module: nn.Module, x: Tensor) -> bool:
    """Whether a forward and backward pass is faster under bfloat16, timed on 64 images."""

    def seconds(*, autocast: bool) -> float:
        began = time.monotonic()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            module(x[:64]).float().sum().backward()
        module.zero_grad(set_to_none=True)
        return time.monotonic() - began

    for autocast in (True, False):
        seconds(autocast=autocast)  # warm-up
    return min(seconds(autocast=True) for _ in range(3)) < min(
        seconds(autocast=False) for _ in range(3)
    )
