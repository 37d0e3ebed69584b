"""The two steps that gradient-based search takes in turns: of the architecture, of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.training.loop import LabelledData, training_loss
from netwright.oneshot.gradient import expected_cost
from netwright.oneshot.gradient.bilevel import first_order, second_order
from netwright.oneshot.gradient.settings import DifferentiableNAS
from netwright.oneshot.gradient.supernet import Supernet

_START = 1e-3
"""Deviation of architecture parameters at the start."""
_DRAWS = 20
"""So often a path is drawn again when nothing leads through it."""


class AlternatingOptimizer:
    """The architecture parameters and the optimisers of both kinds of steps.

    `alpha`: path -> (options,). `fixed`: path -> weights that hold whatever alpha says.
    """

    def __init__(self, supernet: Supernet, settings: DifferentiableNAS, seed: int) -> None:
        self.supernet, self.settings = supernet, settings
        supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        random = torch.Generator().manual_seed(seed)
        self.device = next(supernet.parameters()).device
        self.alpha = {
            path: (_START * torch.randn(size, generator=random)).to(self.device).requires_grad_()
            for path, size in supernet.options.items()
        }
        self.fixed: dict[str, Tensor] = {}
        self.trained = [one for one in supernet.parameters() if one.requires_grad]
        w, a = settings.weights, settings.architecture
        self.weight_optimizer = torch.optim.SGD(
            self.trained, lr=w.lr, momentum=w.momentum, weight_decay=w.weight_decay
        )
        self.alpha_optimizer = torch.optim.Adam(
            [*self.alpha.values()], lr=a.lr, betas=(0.5, 0.999), weight_decay=a.weight_decay
        )
        self._costs: expected_cost.Table = {}
        # half precision where it is fast; not for the difference of gradients of the second order
        on_gpu = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        self._mixed = on_gpu and a.order == 1

    def price(self, example: Tensor) -> None:
        """Fills the table of costs, where there is a term for them, by running `example`."""
        if term := self.settings.architecture.cost:
            self._costs = expected_cost.table(self.supernet, example, term.metric)

    def mixture(self, progress: float, random: torch.Generator) -> dict[str, Tensor]:
        """The weights of a step, drawn where the relaxation draws."""
        relaxation = self.settings.relaxation
        return relaxation.weights(self.alpha, self.supernet.n_chosen, progress, random) | self.fixed

    def standing(self) -> dict[str, Tensor]:
        """The mixture that is preferred now: no draw is made."""
        return self.settings.relaxation.mean(self.alpha, self.supernet.n_chosen) | self.fixed

    def standing_loss(self, rows: LabelledData) -> Tensor:
        """Under that mixture."""
        return training_loss(self.supernet(rows.inputs, self.standing()), rows.targets)

    def architecture_step(
        self, train: LabelledData, valid: LabelledData, progress: float, random: torch.Generator
    ) -> Tensor:
        """A step of the architecture parameters; the validation loss it was by."""
        alphas = [*self.alpha.values()]
        draw = random.get_state()
        seen: list[Tensor] = []

        def loss(rows: LabelledData, priced: bool = False) -> Tensor:
            random.set_state(draw)  # one path in all that the second order compares
            return self.loss(rows, progress, random, priced)

        def judge() -> Tensor:
            judged = loss(valid, priced=True)
            seen.append(judged.detach())
            return judged + self.settings.relaxation.penalty(self.alpha, progress)

        if self.settings.architecture.order == 1:
            with _frozen(self.trained):
                gradients = first_order(judge, alphas)
        else:
            rate = self.weight_optimizer.param_groups[0]["lr"]
            gradients = second_order(
                lambda: loss(train), judge, self.trained, alphas, self._moves, rate
            )
        for alpha, gradient in zip(alphas, gradients, strict=True):
            alpha.grad = gradient
        self.alpha_optimizer.step()
        self.alpha_optimizer.zero_grad(set_to_none=True)
        return seen[0]

    def weight_step(self, train: LabelledData, progress: float, random: torch.Generator) -> Tensor:
        """A step of the shared weights; the training loss it was by."""
        with _frozen([*self.alpha.values()]):
            loss = self.loss(train, progress, random)
        gradients = torch.autograd.grad(loss, self.trained, allow_unused=True)
        for weight, gradient in zip(self.trained, gradients, strict=True):
            weight.grad = gradient  # None where the path did not lead: neither decay nor momentum
        nn.utils.clip_grad_norm_(self.trained, self.settings.weights.clip)
        self.weight_optimizer.step()
        self.weight_optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def loss(
        self, rows: LabelledData, progress: float, random: torch.Generator, priced: bool = False
    ) -> Tensor:
        """Under weights drawn now; a path that leads nowhere is drawn again."""
        for _ in range(_DRAWS - 1):
            with suppress(InfeasibleCandidate):
                return self._loss(rows, self.mixture(progress, random), priced)
        return self._loss(rows, self.mixture(progress, random), priced)

    def _loss(self, rows: LabelledData, weights: Mapping[str, Tensor], priced: bool) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._mixed):
            loss = training_loss(self.supernet(rows.inputs, weights), rows.targets)
        term = self.settings.architecture.cost
        if not priced or term is None:
            return loss
        return term(loss, expected_cost.expected_cost(self.supernet, weights, self._costs))

    def _moves(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """What stochastic gradient descent would move the weights by: momentum, decay and all."""
        group = self.weight_optimizer.param_groups[0]
        moves = []
        for weight, gradient in zip(self.trained, gradients, strict=True):
            before = self.weight_optimizer.state[weight].get("momentum_buffer")
            momentum = 0.0 if before is None else group["momentum"] * before
            moves.append(
                group["lr"] * (momentum + gradient + group["weight_decay"] * weight.detach())
            )
        return moves


@contextmanager
def _frozen(tensors: Sequence[Tensor]) -> Iterator[None]:
    """A context in which nothing is kept for the gradients of these."""
    for one in tensors:
        one.requires_grad_(False)
    try:
        yield
    finally:
        for one in tensors:
            one.requires_grad_()
