"""One optimisation step: forward pass, loss, gradient, update."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from netwright.networks.training.augmentation.mixing import Mixture
from netwright.networks.training.compute_settings import ComputeSettings, autocast
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.param_groups import decayed_parameters, set_learning_rate
from netwright.networks.training.recipe import Training
from netwright.networks.training.schedules import Constant


class TrainStep:
    """One optimisation step.

    Args:
        recipe: Learning rate, schedules, loss and regularisation.
        module: On the device.
        optimizer: Of its parameters.
        device: Where it is trained.
        settings: Precision of the forward pass.
    """

    def __init__(
        self,
        recipe: Training,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
        settings: ComputeSettings,
    ) -> None:
        self.recipe, self.module, self.optimizer, self.device = recipe, module, optimizer, device
        self.settings = settings
        self.scaler = torch.amp.GradScaler(enabled=settings.loss_scaling)
        self.l1_parameters = decayed_parameters(module) if recipe.l1 else []
        self.weight_decays = [group.get("weight_decay", 0.0) for group in optimizer.param_groups]
        dropouts = [layer for layer in module.modules() if isinstance(layer, nn.Dropout)]
        self.dropouts = [(dropout, dropout.p) for dropout in dropouts]

    def __call__(self, batch: LabelledData, mixture: Mixture | None, progress: float) -> Tensor:
        recipe, progress = self.recipe, min(progress, 1.0)
        lr = recipe.lr * recipe.schedule.factor(progress)
        set_learning_rate(self.optimizer.param_groups, lr)
        self._scale_regularization(recipe.regularization_schedule.factor(progress))
        with autocast(self.settings, self.device):
            outputs = self.module(batch.inputs)
            loss = _mixed_loss(outputs, batch, mixture, recipe.label_smoothing)
        if recipe.l1:
            l1_norm = sum((w.abs().sum() for w in self.l1_parameters), torch.zeros(()))
            loss = loss + recipe.l1 * l1_norm
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if recipe.max_grad_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.module.parameters(), recipe.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._scale_regularization(1.0)  # outside of steps the module has its own dropout
        return loss.detach()

    def _scale_regularization(self, factor: float) -> None:
        """Set weight decay and dropout to a multiple of the recipe's."""
        if isinstance(self.recipe.regularization_schedule, Constant):
            return
        for group, weight_decay in zip(
            self.optimizer.param_groups, self.weight_decays, strict=True
        ):
            group["weight_decay"] = weight_decay * factor
        for dropout, p in self.dropouts:
            dropout.p = p * factor


def _mixed_loss(
    outputs: Tensor, batch: LabelledData, mixture: Mixture | None, label_smoothing: float
) -> Tensor:
    """Return the loss for the targets of the rows and, as they were mixed, of their partners."""
    loss = training_loss(outputs, batch.targets, label_smoothing, batch.weights)
    if mixture is None:
        return loss
    partners = batch.take(mixture.partners)
    partners_loss = training_loss(outputs, partners.targets, label_smoothing, partners.weights)
    return mixture.share * loss + (1 - mixture.share) * partners_loss


def training_loss(
    outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Return the mean cross-entropy for integer targets, the mean squared error for others.

    Args:
        outputs: (batch, outputs). For (batch, members, outputs) it is the mean of the members'
            losses, not the loss of their mean: each learns by itself (2410.24210, sec. 3.3).
        targets: (batch,) int64 classes or float32 numbers.
        label_smoothing: Of the cross-entropy.
        weights: (batch,) factors of the rows' losses.
    """
    outputs = outputs.float()
    if outputs.dim() == 3:
        n_members = outputs.shape[1]
        outputs, targets = outputs.flatten(0, 1), targets.repeat_interleave(n_members)
        weights = None if weights is None else weights.repeat_interleave(n_members)
    reduction = "mean" if weights is None else "none"
    if targets.is_floating_point():
        loss = nn.functional.mse_loss(outputs.squeeze(1), targets, reduction=reduction)
    else:
        loss = nn.functional.cross_entropy(
            outputs, targets, label_smoothing=label_smoothing, reduction=reduction
        )
    return loss if weights is None else (loss * weights).mean()
