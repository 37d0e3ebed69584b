"""Zero-cost proxies: scores of an untrained network after one batch. Higher is better in all.

Each score takes a freshly built module and a `ProbeBatch`, and leaves the module's weights as they
were. Details follow Abdelfattah et al. 2021 (2101.08134) where a method's own paper leaves them
open.
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
    MIN_LOG_ARGUMENT,
    NORMS,
    ProbeBatch,
    activation_patterns,
    block_feature_maps,
    copy_with_normal_weights,
    correlations,
    feature_maps,
    gradients,
    he_std,
    input_gradients,
    inputs_of,
    is_activation,
    is_batch_norm,
    is_weighted,
    outputs_of,
    training_mode,
    weights_and_gradients,
    weights_of,
)

_MIN_SINGULAR_VALUE = 1e-6
"""Added to singular values: a block through which no gradient flows gets a low score, not an
infinite one."""

_JACOV_EPSILON = 1e-5
"""The k of the paper, added to eigenvalues."""

_SWAP_ROWS = 16
"""Rows of a batch that `swap` uses, as in the authors' code."""

_ZEN_PERTURBATION = 0.01
"""Factor of the noise that is added to the input, the alpha of Zen-NAS."""

ZeroCostScore = Callable[[nn.Module, ProbeBatch], float]


# From gradients of the loss


def grad_norm(module: nn.Module, probe: ProbeBatch) -> float:
    """Sum of the norms of the weights' gradients."""
    return sum(float(g.norm()) for _, g in weights_and_gradients(module, probe))


def snip(module: nn.Module, probe: ProbeBatch) -> float:
    """Sum |w dL/dw|: what pruning each weight would change (Lee et al. 2019, 1810.02340)."""
    return sum(float((w * g).abs().sum()) for w, g in weights_and_gradients(module, probe))


def plain(module: nn.Module, probe: ProbeBatch) -> float:
    """Sum w dL/dw."""
    return sum(float((w * g).sum()) for w, g in weights_and_gradients(module, probe))


def grasp(module: nn.Module, probe: ProbeBatch) -> float:
    """-Sum w (H g): what pruning does to the gradient flow (Wang et al. 2020, 2002.07376)."""
    weights = weights_of(module)
    with training_mode(module, probe):
        loss = probe.loss(module)
        first = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
        used = [
            (w, g) for w, g in zip(weights, first, strict=True) if g is not None and g.requires_grad
        ]
        if not used:
            return 0.0
        squared_norm = torch.stack([(g.detach() * g).sum() for _, g in used]).sum()
        second = torch.autograd.grad(squared_norm, [w for w, _ in used], allow_unused=True)  # H g
    return -sum(
        float((w.detach() * h).sum())
        for (w, _), h in zip(used, second, strict=True)
        if h is not None
    )


def fisher(module: nn.Module, probe: ProbeBatch) -> float:
    """Half the mean over rows of (sum over pixels or tokens of a dL/da)^2, summed over channels.

    Of activations a after each weighted layer (Theis et al. 2018; Turner et al. 2020, 1906.04113).
    """
    with training_mode(module, probe), outputs_of(module, is_weighted) as activations:
        gradients = torch.autograd.grad(probe.loss(module), activations, allow_unused=True)
    total = 0.0
    for activation, gradient in zip(activations, gradients, strict=True):
        if gradient is not None:
            product = activation.detach() * gradient  # (b, c), (b, t, c) or (b, c, h, w)
            positions = {2: (), 3: (1,), 4: (2, 3)}[product.dim()]
            by_channel = product.sum(positions) if positions else product  # (b, c)
            total += 0.5 * float(by_channel.pow(2).mean(0).sum())
    return total


def zico(module: nn.Module, probe: ProbeBatch) -> float:
    """Sum over layers of log sum (mean |g| / std of g) (Li et al. 2023, 2301.11300).

    Mean and standard deviation of a weight's gradient g over two batches, the halves of the
    probe's.
    """
    half = len(probe.inputs) // 2
    batches = [gradients(module, probe, rows) for rows in (slice(half), slice(half, None))]
    total = 0.0
    for layer in zip(*batches, strict=True):
        if any(g is None for g in layer):
            continue
        g = torch.stack(layer)  # (2, ...)
        std = g.std(0, unbiased=False)
        varies = std > 0
        ratio = (g.abs().mean(0)[varies] / std[varies]).sum()
        total += math.log(float(ratio)) if float(ratio) > 0 else 0.0
    return total


# From gradients of the output


def synflow(module: nn.Module, probe: ProbeBatch) -> float:
    """log of the sum of w dR/dw, R the output for ones under |w| (Tanaka et al. 2020, 2006.05467).

    Without normalisation and in double precision: products of many layers overflow single ones.
    """
    copy = deepcopy(module).double().eval()
    for layer in copy.modules():
        if isinstance(layer, NORMS):
            layer.forward = _identity  # type: ignore[method-assign,assignment]
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.abs_()
    weights = weights_of(copy)
    output = copy(torch.ones_like(probe.inputs[:1], dtype=torch.float64)).sum()
    if not output.requires_grad:
        return math.log(MIN_LOG_ARGUMENT)
    gradients = torch.autograd.grad(output, weights, allow_unused=True)
    pairs = zip(weights, gradients, strict=True)
    return _safe_log(sum(float((w.detach() * g).sum()) for w, g in pairs if g is not None))


def jacov(module: nn.Module, probe: ProbeBatch) -> float:
    """-Sum log(v + k) + 1 / (v + k) over eigenvalues v of the input gradients' correlations.

    Higher where the rows' gradients are less correlated (Mellor et al. 2020, 2006.04647v1).
    """
    jacobian = input_gradients(module, probe).flatten(1).double()
    eigenvalues = torch.linalg.eigvalsh(correlations(jacobian)).clamp(min=0) + _JACOV_EPSILON
    return -float((eigenvalues.log() + 1 / eigenvalues).sum())


# From activations


def nwot(module: nn.Module, probe: ProbeBatch) -> float:
    """log det of the kernel that counts, for two rows, the units with the same activation bit.

    The bit says whether the unit is active (Mellor et al. 2021, 2006.04647).
    """
    n_rows = len(probe.inputs)
    kernel = torch.zeros(n_rows, n_rows, dtype=torch.float64)
    for pattern in activation_patterns(module, probe):  # (b, units)
        bits = pattern.double()
        kernel += (bits @ bits.T + (1 - bits) @ (1 - bits).T).cpu()
    sign, log_det = torch.linalg.slogdet(kernel)
    return float(log_det) if sign > 0 else n_rows * math.log(MIN_LOG_ARGUMENT)


def swap(module: nn.Module, probe: ProbeBatch) -> float:
    """Number of distinct activation patterns of units over rows (Peng et al. 2024, 2403.04161).

    Of the first 16 rows alone, as in the authors' code: with many more nearly all units differ, and
    the score merely counts units.
    """
    sample = replace(probe, inputs=probe.inputs[:_SWAP_ROWS], targets=probe.targets[:_SWAP_ROWS])
    n_rows = len(sample.inputs)
    occurs = torch.zeros(2**n_rows, dtype=torch.bool)
    for pattern in activation_patterns(module, sample):  # (rows, units)
        codes = (pattern.cpu().long() << torch.arange(n_rows)[:, None]).sum(0)  # (units,)
        occurs[codes] = True
    return float(occurs.sum())


def zen(module: nn.Module, probe: ProbeBatch) -> float:
    """log of the features' change under input noise, plus the log scales of batch normalisations.

    Lin et al. 2021, 2102.01063, with normal weights and inputs; skips stay, where the paper removes
    them.
    """
    generator = probe.generator()
    module = copy_with_normal_weights(module, lambda weight: 1.0, generator)

    def normal_inputs() -> Tensor:
        return torch.randn(probe.inputs.shape, generator=generator).to(probe.inputs)

    x = normal_inputs()
    with torch.no_grad(), training_mode(module, probe):
        with inputs_of(module, is_batch_norm) as norm_inputs:
            features = _features(module, x)
        perturbed = _features(module, x + _ZEN_PERTURBATION * normal_inputs())
    log_scales = sum(
        0.5 * _safe_log(float(z.transpose(0, 1).flatten(1).var(1, unbiased=False).mean()))
        for z in norm_inputs
    )
    return _safe_log(float((features - perturbed).flatten(1).norm(dim=1).mean())) + log_scales


def meco(module: nn.Module, probe: ProbeBatch) -> float:
    """Sum over layers of the smallest eigenvalue of the correlations between channels.

    For one random row (Jiang et al. 2023, MeCo).
    """
    x = probe.noise(probe.inputs[:1])
    with (
        torch.no_grad(),
        training_mode(module, probe),
        outputs_of(module, _is_layer) as outputs,
    ):
        module(x)
    total = 0.0
    for maps in outputs:
        if maps.dim() == 4 and maps.shape[1] > 1:
            eigenvalues = torch.linalg.eigvalsh(correlations(maps[0].flatten(1).double()))
            total += float(eigenvalues[0])
    return total


# AZ-NAS (Lee and Ham 2024, 2403.19232): merge these by the logarithms of their ranks, with FLOPs


def az_expressivity(module: nn.Module, probe: ProbeBatch) -> float:
    """Sum over blocks of the entropy of their features' spectrum."""
    return sum(_entropies(module, probe))


def az_progressivity(module: nn.Module, probe: ProbeBatch) -> float:
    """Smallest increase of that entropy from a block to the next."""
    entropies = _entropies(module, probe)
    return min((after - before for before, after in pairwise(entropies)), default=0.0)


def az_trainability(module: nn.Module, probe: ProbeBatch) -> float:
    """Mean over blocks of 2 - s - 1/s, s the largest singular value of the block's Jacobian.

    Of channels by channels, estimated with random signs; 0 where s is 1. A block that returns its
    input has an s of exactly 1 and yet nothing to train: it counts as one through which nothing
    flows, as in the authors' code.
    """
    generator = probe.generator()
    module = copy_with_normal_weights(module, he_std, generator)
    with training_mode(module, probe), block_feature_maps(module) as maps:
        module(probe.noise(probe.inputs).requires_grad_())
    gains = [_gain(before, after, generator) for before, after in pairwise(maps)]
    scores = [2 - s - 1 / (s + _MIN_SINGULAR_VALUE) for s in gains]
    return sum(scores) / len(scores) if scores else 2 - 1 / _MIN_SINGULAR_VALUE


def _gain(before: Tensor, after: Tensor, generator: torch.Generator) -> float:
    """Return the largest singular value of a block's Jacobian, by channels; 0 if it does nothing.

    Where the block is strided, each of the pixels that one output pixel comes from counts as
    channels of its own.
    """
    if not after.requires_grad:
        return 0.0
    signs = torch.randint(0, 2, after.shape, generator=generator).to(after) * 2 - 1  # (b, k, h, w)
    (gradient,) = torch.autograd.grad(after, before, signs, retain_graph=True, allow_unused=True)
    if gradient is None or torch.equal(gradient, signs):
        return 0.0
    h, w = signs.shape[2:]
    stride = -(-gradient.shape[2] // h)
    right, below = w * stride - gradient.shape[3], h * stride - gradient.shape[2]
    padded = nn.functional.pad(gradient, (0, right, 0, below))
    gradient = nn.functional.pixel_unshuffle(padded, stride)  # (b, c, h, w)
    jacobian = torch.einsum("bchw,bkhw->ck", gradient, signs) / (len(signs) * h * w)
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
"""Name -> score; higher is better."""

IMAGE_SCORES = ("meco", "az_expressivity", "az_progressivity", "az_trainability")
"""Scores of feature maps, which are not defined for other networks."""


def compute_scores(module: nn.Module, probe: ProbeBatch, names: Sequence[str]) -> dict[str, float]:
    """Return the scores of these names of one module; none of them changes it for the others."""
    return {name: ZERO_COST_SCORES[name](module, probe) for name in names}


def _safe_log(x: float) -> float:
    return math.log(max(x, MIN_LOG_ARGUMENT))


def _identity(x: Tensor) -> Tensor:
    return x


def _is_layer(module: nn.Module) -> bool:
    return is_weighted(module) or is_activation(module) or isinstance(module, NORMS)


def _features(module: nn.Module, x: Tensor) -> Tensor:
    """Return the last feature maps before global pooling; the output of networks without images."""
    with feature_maps(module) as maps:
        output: Tensor = module(x)
    return maps[-1] if maps else output


def _entropies(module: nn.Module, probe: ProbeBatch) -> list[float]:
    """Return for each block the entropy of its features' normalised principal components."""
    module = copy_with_normal_weights(module, he_std, probe.generator())
    with torch.no_grad(), training_mode(module, probe), block_feature_maps(module) as block_maps:
        module(probe.noise(probe.inputs))
    entropies = []
    for maps in block_maps:
        channels = maps.transpose(0, 1).flatten(1).double()  # (c, b h w)
        centred = channels - channels.mean(1, keepdim=True)
        covariance = centred @ centred.T / channels.shape[1]
        eigenvalues = torch.linalg.eigvalsh(covariance).clamp(min=0)
        shares = eigenvalues / eigenvalues.sum().clamp(min=MIN_LOG_ARGUMENT)
        entropies.append(-float((shares * shares.clamp(min=MIN_LOG_ARGUMENT).log()).sum()))
    return entropies
