"""Zero-cost scores: what an untrained network tells after one batch. Higher is better in all.

Each measure takes a freshly built module and a `Probe`, and leaves the module's weights as they
were. Weights are those of convolutions and dense layers. Recipes are those of Abdelfattah et al.
2021 (2101.08134) where a method's own paper leaves them open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.networks.layers import ACTIVATIONS

_LEAST = 1e-30
"""Logarithms are taken of no less: a dead network has a low score, and not an infinite one."""
_BENT = tuple({type(make()) for name, make in ACTIVATIONS.items() if name != "none"})
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class Probe:
    """One batch: inputs (b, ...), targets (b,), and the loss of outputs (b, k) against them."""

    inputs: Tensor
    targets: Tensor
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy
    seed: int = 0

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    def noise(self, like: Tensor) -> Tensor:
        """Standard normal numbers, the same at every call."""
        drawn = torch.randn(like.shape, generator=self.generator(), dtype=torch.float32)
        return drawn.to(like)


Measure = Callable[[nn.Module, Probe], float]


# By gradients of the loss


def grad_norm(module: nn.Module, probe: Probe) -> float:
    """The sum of the norms of the weights' gradients."""
    return sum(float(g.norm()) for _, g in _gradients(module, probe))


def snip(module: nn.Module, probe: Probe) -> float:
    """Sum |w dL/dw|: what pruning each weight would change (Lee et al. 2019, 1810.02340)."""
    return sum(float((w * g).abs().sum()) for w, g in _gradients(module, probe))


def plain(module: nn.Module, probe: Probe) -> float:
    """Sum w dL/dw."""
    return sum(float((w * g).sum()) for w, g in _gradients(module, probe))


def grasp(module: nn.Module, probe: Probe) -> float:
    """-Sum w (H g): what pruning does to the gradient's flow (Wang et al. 2020, 2002.07376)."""
    weights = _weights(module)
    with _training(module):
        loss = probe.loss(module(probe.inputs), probe.targets)
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


def fisher(module: nn.Module, probe: Probe) -> float:
    """Half the mean over rows of (sum over pixels of a dL/da)^2, summed over channels.

    Of activations a after each weighted layer (Theis et al. 2018; Turner et al. 2020, 1906.04113).
    """
    with _training(module), _outputs(module, _is_weighted) as seen:
        loss = probe.loss(module(probe.inputs), probe.targets)
        gradients = torch.autograd.grad(loss, seen, allow_unused=True)
    total = 0.0
    for activation, gradient in zip(seen, gradients, strict=True):
        if gradient is not None:
            product = activation.detach() * gradient  # (b, c) or (b, c, ...)
            by_channel = product.reshape(*product.shape[:2], -1).sum(-1)  # (b, c)
            total += 0.5 * float(by_channel.pow(2).mean(0).sum())
    return total


def zico(module: nn.Module, probe: Probe) -> float:
    """Sum over layers of log sum (mean |g| / deviation of g) (Li et al. 2023, 2301.11300).

    Gradients of two batches, the halves of the probe's; over them a weight's mean and deviation.
    """
    halves = zip(probe.inputs.chunk(2), probe.targets.chunk(2), strict=True)
    found = [_gradients_of(module, probe.loss, x, y) for x, y in halves]
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


def synflow(module: nn.Module, probe: Probe) -> float:
    """log of the sum of w dR/dw, R the output for ones under |w| (Tanaka et al. 2020, 2006.05467).

    Without normalisation and in double precision: products of many layers overflow single ones.
    """
    copy = deepcopy(module).double().eval()
    for one in copy.modules():
        if isinstance(one, _NORMS):
            one.forward = _as_it_is  # type: ignore[method-assign,assignment]
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.abs_()
    weights = _weights(copy)
    output = copy(torch.ones_like(probe.inputs[:1], dtype=torch.float64)).sum()
    if not output.requires_grad:
        return math.log(_LEAST)
    gradients = torch.autograd.grad(output, weights, allow_unused=True)
    pairs = zip(weights, gradients, strict=True)
    return _log(sum(float((w.detach() * g).sum()) for w, g in pairs if g is not None))


def jacov(module: nn.Module, probe: Probe) -> float:
    """How little the rows' input gradients are alike: their correlations' eigenvalues v give
    -Sum log(v + k) + 1 / (v + k) (Mellor et al. 2020, 2006.04647v1)."""
    jacobian = _input_gradients(module, probe.inputs).flatten(1).double()
    values = torch.linalg.eigvalsh(_correlations(jacobian)).clamp(min=0) + 1e-5
    return -float((values.log() + 1 / values).sum())


# By activations


def nwot(module: nn.Module, probe: Probe) -> float:
    """log det of the kernel of equal bits between rows, a bit for each unit: whether it is on.

    Mellor et al. 2021, 2006.04647.
    """
    rows = len(probe.inputs)
    kernel = torch.zeros(rows, rows, dtype=torch.float64)
    for codes in _codes(module, probe):  # (b, units)
        bits = codes.double()
        kernel += (bits @ bits.T + (1 - bits) @ (1 - bits).T).cpu()
    sign, size = torch.linalg.slogdet(kernel)
    return float(size) if sign > 0 else rows * math.log(_LEAST)


def swap(module: nn.Module, probe: Probe) -> float:
    """How many units differ in which rows switch them on (Peng et al. 2024, 2403.04161)."""
    different: set[bytes] = set()
    for codes in _codes(module, probe):
        packed = np.packbits(codes.T.cpu().numpy(), axis=1)  # (units, b / 8)
        different.update(row.tobytes() for row in np.unique(packed, axis=0))
    return float(len(different))


def zen(module: nn.Module, probe: Probe) -> float:
    """log of how far features move with the input, and of the variances that were divided by.

    Lin et al. 2021, 2102.01063, with normal weights and inputs; skips stay, where the paper takes
    them out.
    """
    noise = probe.generator()
    module = _drawn(module, lambda weight: 1.0, noise)

    def normal() -> Tensor:
        return torch.randn(probe.inputs.shape, generator=noise).to(probe.inputs)

    x = normal()
    with torch.no_grad(), _training(module):
        with _inputs(module, _is_batch_norm) as normed:
            features = _features(module, x)
        moved = _features(module, x + 0.01 * normal())
    scales = sum(
        0.5 * _log(float(z.transpose(0, 1).flatten(1).var(1, unbiased=False).mean()))
        for z in normed
    )
    return _log(float((features - moved).flatten(1).norm(dim=1).mean())) + scales


def meco(module: nn.Module, probe: Probe) -> float:
    """Sum over layers of the least eigenvalue of the correlations between channels, for one
    random row (Jiang et al. 2023, MeCo)."""
    x = probe.noise(probe.inputs[:1])
    with torch.no_grad(), _training(module), _outputs(module, _has_weights_or_bends) as seen:
        module(x)
    total = 0.0
    for maps in seen:
        if maps.dim() == 4 and maps.shape[1] > 1:
            found = torch.linalg.eigvalsh(_correlations(maps[0].flatten(1).double()))
            total += float(found[0])
    return total


# AZ-NAS (Lee and Ham 2024, 2403.19232): merge these by the logarithms of their ranks, with FLOPs


def az_expressivity(module: nn.Module, probe: Probe) -> float:
    """Sum over blocks of the entropy of their features' spectrum."""
    return sum(_entropies(module, probe))


def az_progressivity(module: nn.Module, probe: Probe) -> float:
    """The least rise of that entropy from a block to the next."""
    entropies = _entropies(module, probe)
    return min((b - a for a, b in pairwise(entropies)), default=0.0)


def az_trainability(module: nn.Module, probe: Probe) -> float:
    """Mean over blocks of 2 - s - 1/s: 0 where the largest singular value s of the block's
    Jacobian, of channels by channels, is 1; estimated with random signs."""
    signs = probe.generator()
    module = _drawn(module, _he, signs)
    with _training(module), _blocks(module) as seen:
        module(probe.noise(probe.inputs).requires_grad_())
    found = []
    for before, after in pairwise(seen):
        if not after.requires_grad:
            continue
        drawn = torch.randint(0, 2, after.shape, generator=signs).to(after) * 2 - 1
        (back,) = torch.autograd.grad(after, before, drawn, retain_graph=True, allow_unused=True)
        if back is None:
            continue
        if back.shape[2:] != drawn.shape[2:]:  # strided: as many pixels as come out
            height, width = drawn.shape[2:]
            stride = back.shape[2] // height
            back = nn.functional.adaptive_avg_pool2d(back, (height, width)) * stride
        size = drawn.shape[0] * drawn.shape[2] * drawn.shape[3]
        jacobian = torch.einsum("bchw,bkhw->ck", back, drawn) / size
        s = float(torch.linalg.matrix_norm(jacobian, 2))
        found.append(2 - s - 1 / (s + 1e-6))
    return sum(found) / len(found) if found else -1 / 1e-6


MEASURES: Mapping[str, Measure] = {
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


def measured(
    make: Callable[[], nn.Module], probe: Probe, names: Sequence[str]
) -> Mapping[str, float]:
    """The scores of these names; each of a fresh module, since running one moves its statistics."""
    return {name: MEASURES[name](make(), probe) for name in names}


# What they are made of


def _log(value: float) -> float:
    return math.log(max(value, _LEAST))


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _is_weighted(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear)


def _is_bent(module: nn.Module) -> bool:
    return isinstance(module, _BENT)


def _has_weights_or_bends(module: nn.Module) -> bool:
    return _is_weighted(module) or _is_bent(module) or isinstance(module, _NORMS)


def _is_batch_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def _weights(module: nn.Module) -> list[Tensor]:
    return [m.weight for m in module.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Linear)]


def _gradients(module: nn.Module, probe: Probe) -> Iterator[tuple[Tensor, Tensor]]:
    """Each weight that the loss depends on, with its gradient."""
    found = _gradients_of(module, probe.loss, probe.inputs, probe.targets)
    for weight, gradient in zip(_weights(module), found, strict=True):
        if gradient is not None:
            yield weight.detach(), gradient


def _gradients_of(
    module: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, targets: Tensor
) -> tuple[Tensor | None, ...]:
    with _training(module):
        of = loss(module(inputs), targets)
        return torch.autograd.grad(of, _weights(module), allow_unused=True)


def _input_gradients(module: nn.Module, inputs: Tensor) -> Tensor:
    """(b, ...) of the sum of the outputs; 0 where nothing flows."""
    x = inputs.detach().clone().requires_grad_()
    with _training(module):
        (found,) = torch.autograd.grad(module(x).sum(), x, allow_unused=True)
    return torch.zeros_like(x) if found is None else found


def _correlations(rows: Tensor) -> Tensor:
    """(n, n) Pearson's between rows (n, d); a constant row is like none but itself."""
    centred = rows - rows.mean(1, keepdim=True)
    unit = centred / centred.norm(dim=1, keepdim=True).clamp(min=1e-12)
    found: Tensor = unit @ unit.T
    found.fill_diagonal_(1.0)
    return found


def _he(weight: Tensor) -> float:
    """The deviation that keeps the size of what flows through ReLU (He et al. 2015)."""
    return math.sqrt(2 / max(weight[0].numel(), 1))


def _drawn(
    module: nn.Module, deviation: Callable[[Tensor], float], random: torch.Generator
) -> nn.Module:
    """A copy with normal weights of this deviation, and biases 0."""
    copy = deepcopy(module)
    with torch.no_grad():
        for one in copy.modules():
            if isinstance(one, nn.Conv1d | nn.Conv2d | nn.Linear):
                drawn = torch.randn(one.weight.shape, generator=random)
                one.weight.copy_(drawn * deviation(one.weight))
                if one.bias is not None:
                    one.bias.zero_()
    return copy


def _codes(module: nn.Module, probe: Probe) -> list[Tensor]:
    """(b, units) for each activation: where its input is above 0."""
    with torch.no_grad(), _training(module), _inputs(module, _is_bent) as seen:
        module(probe.inputs)
    return [(x > 0).flatten(1) for x in seen]


def _features(module: nn.Module, x: Tensor) -> Tensor:
    """What reaches the head, before it is pooled where it is."""
    with _blocks(module) as seen:
        output: Tensor = module(x)
    return seen[-1] if seen else output


def _entropies(module: nn.Module, probe: Probe) -> list[float]:
    """For each block the entropy of the shares that the principal components have."""
    module = _drawn(module, _he, probe.generator())
    with torch.no_grad(), _training(module), _blocks(module) as seen:
        module(probe.noise(probe.inputs))
    found = []
    for maps in seen:
        rows = maps.transpose(0, 1).flatten(1).double()  # (c, b h w)
        centred = rows - rows.mean(1, keepdim=True)
        values = torch.linalg.eigvalsh(centred @ centred.T / rows.shape[1]).clamp(min=0)
        shares = values / values.sum().clamp(min=_LEAST)
        found.append(-float((shares * (shares + 1e-30).log()).sum()))
    return found


@contextmanager
def _training(module: nn.Module) -> Iterator[None]:
    """In training mode: statistics are those of the batch."""
    before = module.training
    module.train()
    try:
        yield
    finally:
        module.train(before)


@contextmanager
def _blocks(module: nn.Module) -> Iterator[list[Tensor]]:
    """Outputs (b, c, h, w) of the parts that stand in a row in the module, inner rows unrolled."""
    row = [*_row(module)]
    with _hooked(row, lambda seen, _, output: seen.append(output)) as found:
        kept: list[Tensor] = []
        yield kept
        kept += [one for one in found if one.dim() == 4 and one.shape[2] > 1]


def _row(module: nn.Module) -> Iterator[nn.Module]:
    """A network's layers in their order; a layer of several modules names them, a row counts."""
    names = [name for name, _ in module.named_children()]
    if isinstance(module, nn.Sequential) and names and all(name.isdigit() for name in names):
        for part in module:
            yield from _row(part)
    else:
        yield module


@contextmanager
def _outputs(module: nn.Module, wanted: Callable[[nn.Module], bool]) -> Iterator[list[Tensor]]:
    """What the wanted parts gave, in the order of their running."""
    parts = [one for one in module.modules() if wanted(one)]
    with _hooked(parts, lambda seen, _, output: seen.append(output)) as found:
        yield found


@contextmanager
def _inputs(module: nn.Module, wanted: Callable[[nn.Module], bool]) -> Iterator[list[Tensor]]:
    """What the wanted parts were given; copies, since some work in place."""
    parts = [one for one in module.modules() if wanted(one)]
    with _hooked(parts, lambda seen, x, _: seen.append(x[0].detach().clone())) as found:
        yield found


@contextmanager
def _hooked(
    parts: Sequence[nn.Module], note: Callable[[list[Tensor], Any, Any], None]
) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    hooks = [
        one.register_forward_hook(lambda _, inputs, output: note(seen, inputs, output))
        for one in parts
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
