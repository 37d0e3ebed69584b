"""Alternating steps of DARTS: of the architecture parameters, then of the shared weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.train_step import training_loss
from netwright.oneshot.gradient.bilevel import first_order, second_order
from netwright.oneshot.gradient.expected_cost import CostTable, cost_table, expected_cost
from netwright.oneshot.gradient.settings import DifferentiableNAS
from netwright.oneshot.gradient.supernet import Supernet

_INITIAL_ALPHA_STD = 1e-3
"""Standard deviation of the initial architecture parameters, as in the code of DARTS."""
_MAX_PATH_DRAWS = 20
"""Draws of a step's weights until something leads through the network."""


class AlternatingOptimizer:
    """Architecture parameters of a supernet, and the optimisers of both kinds of steps.

    `alpha`: decision path -> architecture parameters (options,). `fixed_weights`: decision path ->
    weights that hold whatever alpha is.
    """

    def __init__(self, supernet: Supernet, settings: DifferentiableNAS, seed: int) -> None:
        self.supernet, self.settings = supernet, settings
        supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        generator = torch.Generator().manual_seed(seed)
        self.device = next(supernet.parameters()).device
        self.alpha = {
            path: (_INITIAL_ALPHA_STD * torch.randn(n_options, generator=generator))
            .to(self.device)
            .requires_grad_()
            for path, n_options in supernet.options.items()
        }
        self.fixed_weights: dict[str, Tensor] = {}
        self.trainable = [
            parameter for parameter in supernet.parameters() if parameter.requires_grad
        ]
        w, a = settings.weight_training, settings.architecture_training
        self.weight_optimizer = torch.optim.SGD(
            self.trainable, lr=w.lr, momentum=w.momentum, weight_decay=w.weight_decay
        )
        self.alpha_optimizer = torch.optim.Adam(
            [*self.alpha.values()], lr=a.lr, betas=(0.5, 0.999), weight_decay=a.weight_decay
        )
        self._costs: CostTable = {}
        # half precision where it is fast; not for the second order's difference of gradients
        on_gpu = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        self._half_precision = on_gpu and a.order == 1

    def measure_costs(self, example: Tensor) -> None:
        """Fill the cost table by running `example` (rows, ...), if the loss has a cost term."""
        if term := self.settings.architecture_training.cost:
            self._costs = cost_table(self.supernet, example, term.metric)

    def sample_weights(self, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the options' weights for one step, drawn if the relaxation draws."""
        weights = self.settings.relaxation.weights(
            self.alpha, self.supernet.n_chosen, progress, generator
        )
        return weights | self.fixed_weights

    def expected_weights(self) -> dict[str, Tensor]:
        """Return the options' mean weights, without a draw."""
        mean = self.settings.relaxation.mean(self.alpha, self.supernet.n_chosen)
        return mean | self.fixed_weights

    def expected_weights_loss(self, rows: LabelledData) -> Tensor:
        """Return the loss under the mean weights."""
        return training_loss(self.supernet(rows.inputs, self.expected_weights()), rows.targets)

    def architecture_step(
        self, train: LabelledData, valid: LabelledData, progress: float, generator: torch.Generator
    ) -> Tensor:
        """Update the architecture parameters once; return the validation loss before it."""
        alphas = [*self.alpha.values()]
        state = generator.get_state()
        losses: list[Tensor] = []

        def loss(rows: LabelledData, *, with_cost: bool = False) -> Tensor:
            generator.set_state(state)  # the second order compares losses of one drawn path
            return self.loss(rows, progress, generator, with_cost=with_cost)

        def validation_loss() -> Tensor:
            valid_loss = loss(valid, with_cost=True)
            losses.append(valid_loss.detach())
            return valid_loss + self.settings.relaxation.penalty(self.alpha, progress)

        if self.settings.architecture_training.order == 1:
            with _frozen(self.trainable):
                gradients = first_order(validation_loss, alphas)
        else:
            lr = self.weight_optimizer.param_groups[0]["lr"]
            gradients = second_order(
                lambda: loss(train), validation_loss, self.trainable, alphas, self._sgd_update, lr
            )
        for alpha, gradient in zip(alphas, gradients, strict=True):
            alpha.grad = gradient
        self.alpha_optimizer.step()
        self.alpha_optimizer.zero_grad(set_to_none=True)
        return losses[0]

    def weight_step(
        self, train: LabelledData, progress: float, generator: torch.Generator
    ) -> Tensor:
        """Update the shared weights once; return the training loss before it."""
        with _frozen([*self.alpha.values()]):
            loss = self.loss(train, progress, generator)
        gradients = torch.autograd.grad(loss, self.trainable, allow_unused=True)
        for weight, gradient in zip(self.trainable, gradients, strict=True):
            weight.grad = gradient  # None off the drawn path: neither decay nor momentum moves it
        nn.utils.clip_grad_norm_(self.trainable, self.settings.weight_training.max_grad_norm)
        self.weight_optimizer.step()
        self.weight_optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def loss(
        self,
        rows: LabelledData,
        progress: float,
        generator: torch.Generator,
        *,
        with_cost: bool = False,
    ) -> Tensor:
        """Return the loss under weights drawn now, drawn again while nothing leads through."""
        for _ in range(_MAX_PATH_DRAWS - 1):
            with suppress(InfeasibleCandidate):
                weights = self.sample_weights(progress, generator)
                return self._loss(rows, weights, with_cost=with_cost)
        return self._loss(rows, self.sample_weights(progress, generator), with_cost=with_cost)

    def _loss(
        self, rows: LabelledData, weights: Mapping[str, Tensor], *, with_cost: bool
    ) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._half_precision):
            loss = training_loss(self.supernet(rows.inputs, weights), rows.targets)
        term = self.settings.architecture_training.cost
        if not with_cost or term is None:
            return loss
        return term(loss, expected_cost(self.supernet, weights, self._costs))

    def _sgd_update(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Return what a step of SGD would subtract from the weights, momentum and decay included."""
        group = self.weight_optimizer.param_groups[0]
        updates = []
        for weight, gradient in zip(self.trainable, gradients, strict=True):
            buffer = self.weight_optimizer.state[weight].get("momentum_buffer")
            momentum = 0.0 if buffer is None else group["momentum"] * buffer
            updates.append(
                group["lr"] * (momentum + gradient + group["weight_decay"] * weight.detach())
            )
        return updates


@contextmanager
def _frozen(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Turn off gradients of the tensors in a context, so that autograd saves less."""
    for tensor in tensors:
        tensor.requires_grad = False
    try:
        yield
    finally:
        for tensor in tensors:
            tensor.requires_grad = True
