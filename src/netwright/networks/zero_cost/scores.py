"""Zero-cost scores: what an untrained network tells after one batch. Higher is better in all.

Each measure takes a freshly built module and a `Probe`, and leaves the module's weights as they
were. Recipes are those of Abdelfattah et al. 2021 (2101.08134) where a method's own paper leaves
them open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from netwright.networks.zero_cost.probes import (
    LEAST,
    NORMS,
    ProbeBatch,
    bits_of,
    blocks,
    correlations,
    drawn,
    feature_maps,
    gradients,
    he,
    input_gradients,
    inputs_of,
    is_batch_norm,
    is_bent,
    is_weighted,
    outputs_of,
    training,
    weights_and_gradients,
    weights_of,
)

_NOTHING = 1e-6
"""Added to singular values: a block through which no gradient flows has a low score, no infinite."""

_FEW = 16
"""Rows that `swap` looks at."""

ZeroCostScore = Callable[[nn.Module, ProbeBatch], float]


# By gradients of the loss


def grad_norm(module: nn.Module, probe: ProbeBatch) -> float:
    """The sum of the norms of the weights' gradients."""
    return sum(float(g.norm()) for _, g in weights_and_gradients(module, probe))


def snip(module: nn.Module, probe: ProbeBatch) -> float:
    """Sum |w dL/dw|: what pruning each weight would change (Lee et al. 2019, 1810.02340)."""
    return sum(float((w * g).abs().sum()) for w, g in weights_and_gradients(module, probe))


def plain(module: nn.Module, probe: ProbeBatch) -> float:
    """Sum w dL/dw."""
    return sum(float((w * g).sum()) for w, g in weights_and_gradients(module, probe))


def grasp(module: nn.Module, probe: ProbeBatch) -> float:
    """-Sum w (H g): what pruning does to the gradient's flow (Wang et al. 2020, 2002.07376)."""
    weights = weights_of(module)
    with training(module, probe):
        loss = probe.loss(module)
        first = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
        used = [(w, g) for w, g in zip(weights, first, strict=True) if _bends(g)]
        if not used:
            return 0.0
        along = torch.stack([(g.detach() * g).sum() for _, g in used]).sum()
        second = torch.autograd.grad(along, [w for w, _ in used], allow_unused=True)  # H g
    return -sum(
        float((w.detach() * h).sum())
        for (w, _), h in zip(used, second, strict=True)
        if h is not None
    )


def _bends(gradient: Tensor | None) -> bool:
    return gradient is not None and gradient.requires_grad


def fisher(module: nn.Module, probe: ProbeBatch) -> float:
    """Half the mean over rows of (sum over pixels or tokens of a dL/da)^2, summed over channels.

    Of activations a after each weighted layer (Theis et al. 2018; Turner et al. 2020, 1906.04113).
    """
    with training(module, probe), outputs_of(module, is_weighted) as seen:
        found = torch.autograd.grad(probe.loss(module), seen, allow_unused=True)
    total = 0.0
    for activation, gradient in zip(seen, found, strict=True):
        if gradient is not None:
            product = activation.detach() * gradient  # (b, c), (b, t, c) or (b, c, h, w)
            rest = {2: (), 3: (1,), 4: (2, 3)}[product.dim()]
            by_channel = product.sum(rest) if rest else product  # (b, c)
            total += 0.5 * float(by_channel.pow(2).mean(0).sum())
    return total


def zico(module: nn.Module, probe: ProbeBatch) -> float:
    """Sum over layers of log sum (mean |g| / deviation of g) (Li et al. 2023, 2301.11300).

    Gradients of two batches, the halves of the probe's; over them a weight's mean and deviation.
    """
    half = len(probe.inputs) // 2
    found = [gradients(module, probe, rows) for rows in (slice(half), slice(half, None))]
    total = 0.0
    for layer in zip(*found, strict=True):
        if any(g is None for g in layer):
            continue
        g = torch.stack(layer)  # (2, ...)
        deviation = g.std(0, unbiased=False)
        steady = deviation > 0
        ratio = (g.abs().mean(0)[steady] / deviation[steady]).sum()
        total += math.log(float(ratio)) if float(ratio) > 0 else 0.0
    return total


# By gradients of the output


def synflow(module: nn.Module, probe: ProbeBatch) -> float:
    """log of the sum of w dR/dw, R the output for ones under |w| (Tanaka et al. 2020, 2006.05467).

    Without normalisation and in double precision: products of many layers overflow single ones.
    """
    copy = deepcopy(module).double().eval()
    for one in copy.modules():
        if isinstance(one, NORMS):
            one.forward = _as_it_is  # type: ignore[method-assign,assignment]
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.abs_()
    weights = weights_of(copy)
    output = copy(torch.ones_like(probe.inputs[:1], dtype=torch.float64)).sum()
    if not output.requires_grad:
        return math.log(LEAST)
    gradients = torch.autograd.grad(output, weights, allow_unused=True)
    pairs = zip(weights, gradients, strict=True)
    return _log(sum(float((w.detach() * g).sum()) for w, g in pairs if g is not None))


def jacov(module: nn.Module, probe: ProbeBatch) -> float:
    """How little the rows' input gradients are alike: their correlations' eigenvalues v give
    -Sum log(v + k) + 1 / (v + k) (Mellor et al. 2020, 2006.04647v1)."""
    jacobian = input_gradients(module, probe).flatten(1).double()
    values = torch.linalg.eigvalsh(correlations(jacobian)).clamp(min=0) + 1e-5
    return -float((values.log() + 1 / values).sum())


# By activations


def nwot(module: nn.Module, probe: ProbeBatch) -> float:
    """log det of the kernel of equal bits between rows, a bit for each unit: whether it is on.

    Mellor et al. 2021, 2006.04647.
    """
    rows = len(probe.inputs)
    kernel = torch.zeros(rows, rows, dtype=torch.float64)
    for on in bits_of(module, probe):  # (b, units)
        bits = on.double()
        kernel += (bits @ bits.T + (1 - bits) @ (1 - bits).T).cpu()
    sign, size = torch.linalg.slogdet(kernel)
    return float(size) if sign > 0 else rows * math.log(LEAST)


def swap(module: nn.Module, probe: ProbeBatch) -> float:
    """How many units differ in which rows switch them on (Peng et al. 2024, 2403.04161).

    Of the first 16 rows alone, as in the authors' code: with many more nearly all units differ, and
    what is counted is units.
    """
    few = replace(probe, inputs=probe.inputs[:_FEW], targets=probe.targets[:_FEW])
    rows = len(few.inputs)
    met = torch.zeros(2**rows, dtype=torch.bool)
    for on in bits_of(module, few):  # (rows, units)
        patterns = (on.cpu().long() << torch.arange(rows)[:, None]).sum(0)  # (units,)
        met[patterns] = True
    return float(met.sum())


def zen(module: nn.Module, probe: ProbeBatch) -> float:
    """log of how far features move with the input, and of the variances that were divided by.

    Lin et al. 2021, 2102.01063, with normal weights and inputs; skips stay, where the paper takes
    them out.
    """
    noise = probe.generator()
    module = drawn(module, lambda weight: 1.0, noise)

    def normal() -> Tensor:
        return torch.randn(probe.inputs.shape, generator=noise).to(probe.inputs)

    x = normal()
    with torch.no_grad(), training(module, probe):
        with inputs_of(module, is_batch_norm) as normed:
            features = _features(module, x)
        moved = _features(module, x + 0.01 * normal())
    scales = sum(
        0.5 * _log(float(z.transpose(0, 1).flatten(1).var(1, unbiased=False).mean()))
        for z in normed
    )
    return _log(float((features - moved).flatten(1).norm(dim=1).mean())) + scales


def meco(module: nn.Module, probe: ProbeBatch) -> float:
    """Sum over layers of the least eigenvalue of the correlations between channels, for one
    random row (Jiang et al. 2023, MeCo)."""
    x = probe.noise(probe.inputs[:1])
    with torch.no_grad(), training(module, probe), outputs_of(module, _is_step) as seen:
        module(x)
    total = 0.0
    for maps in seen:
        if maps.dim() == 4 and maps.shape[1] > 1:
            found = torch.linalg.eigvalsh(correlations(maps[0].flatten(1).double()))
            total += float(found[0])
    return total


# AZ-NAS (Lee and Ham 2024, 2403.19232): merge these by the logarithms of their ranks, with FLOPs


def az_expressivity(module: nn.Module, probe: ProbeBatch) -> float:
    """Sum over blocks of the entropy of their features' spectrum."""
    return sum(_entropies(module, probe))


def az_progressivity(module: nn.Module, probe: ProbeBatch) -> float:
    """The least rise of that entropy from a block to the next."""
    entropies = _entropies(module, probe)
    return min((b - a for a, b in pairwise(entropies)), default=0.0)


def az_trainability(module: nn.Module, probe: ProbeBatch) -> float:
    """Mean over blocks of 2 - s - 1/s: 0 where the largest singular value s of the block's
    Jacobian, of channels by channels, is 1; estimated with random signs.

    A block that hands its input on as it is has an s of exactly 1 and yet nothing to train: it
    counts as one through which nothing flows, as in the authors' code.
    """
    signs = probe.generator()
    module = drawn(module, he, signs)
    with training(module, probe), blocks(module) as seen:
        module(probe.noise(probe.inputs).requires_grad_())
    gains = [_gain(before, after, signs) for before, after in pairwise(seen)]
    found = [2 - s - 1 / (s + _NOTHING) for s in gains]
    return sum(found) / len(found) if found else 2 - 1 / _NOTHING


def _gain(before: Tensor, after: Tensor, signs: torch.Generator) -> float:
    """The largest singular value of the Jacobian of a block, by channels; 0 where nothing is done.

    Where the block is strided, the pixels that one comes from are channels of their own.
    """
    if not after.requires_grad:
        return 0.0
    ahead = torch.randint(0, 2, after.shape, generator=signs).to(after) * 2 - 1  # (b, k, h, w)
    (back,) = torch.autograd.grad(after, before, ahead, retain_graph=True, allow_unused=True)
    if back is None or torch.equal(back, ahead):
        return 0.0
    height, width = ahead.shape[2:]
    stride = -(-back.shape[2] // height)
    right, below = width * stride - back.shape[3], height * stride - back.shape[2]
    back = nn.functional.pixel_unshuffle(nn.functional.pad(back, (0, right, 0, below)), stride)
    jacobian = torch.einsum("bchw,bkhw->ck", back, ahead) / (len(ahead) * height * width)
    return float(torch.linalg.matrix_norm(jacobian, 2))


ZERO_COST_SCORES: Mapping[str, ZeroCostScore] = {
    "grad_norm": grad_norm,
    "snip": snip,
    "plain": plain,
    "grasp": grasp,
    "fisher": fisher,
    "synflow": synflow,
    "jacov": jacov,
    "nwot": nwot,
    "zen": zen,
    "zico": zico,
    "swap": swap,
    "meco": meco,
    "az_expressivity": az_expressivity,
    "az_progressivity": az_progressivity,
    "az_trainability": az_trainability,
}
"""Name -> measure; the more the better."""

IMAGE_SCORES = ("meco", "az_expressivity", "az_progressivity", "az_trainability")
"""Those that look at maps of pixels, and have nothing to say of other networks."""


def compute_scores(module: nn.Module, probe: ProbeBatch, names: Sequence[str]) -> dict[str, float]:
    """The scores of these names, all of one module: no measure changes what another looks at."""
    return {name: ZERO_COST_SCORES[name](module, probe) for name in names}


def _log(value: float) -> float:
    return math.log(max(value, LEAST))


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _is_step(module: nn.Module) -> bool:
    return is_weighted(module) or is_bent(module) or isinstance(module, NORMS)


def _features(module: nn.Module, x: Tensor) -> Tensor:
    """What reaches the head, before it is pooled where it is; without pixels, the output."""
    with feature_maps(module) as seen:
        output: Tensor = module(x)
    return seen[-1] if seen else output


def _entropies(module: nn.Module, probe: ProbeBatch) -> list[float]:
    """For each block the entropy of the shares that the principal components have."""
    module = drawn(module, he, probe.generator())
    with torch.no_grad(), training(module, probe), blocks(module) as seen:
        module(probe.noise(probe.inputs))
    found = []
    for maps in seen:
        rows = maps.transpose(0, 1).flatten(1).double()  # (c, b h w)
        centred = rows - rows.mean(1, keepdim=True)
        values = torch.linalg.eigvalsh(centred @ centred.T / rows.shape[1]).clamp(min=0)
        shares = values / values.sum().clamp(min=LEAST)
        found.append(-float((shares * shares.clamp(min=LEAST).log()).sum()))
    return found
