"""RealMLP and TabM as open training recipes for tables.

The first option of every choice is a good default: together they are `Space.default`. Both expect
numbers in the "robust" scale. In some 10 s of one core RealMLP was better below 3,000 rows and with
many classes, TabM above (development tables, one split each).
"""

from __future__ import annotations

from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.activations import ActivationName
from netwright.networks.layers.basic import Dropout
from netwright.networks.tabular.batch_ensemble import (
    LinearBatchEnsemble,
    LinearEnsemble,
    ScaleEnsemble,
)
from netwright.networks.tabular.columns import Columns, OneHotOrEmbedding
from netwright.networks.tabular.numeric_embeddings import PeriodicLinear, PiecewiseLinear
from netwright.networks.tabular.realmlp_layers import (
    ClampToTargetRange,
    NTKLinear,
    ParametricActivation,
    Scaling,
)
from netwright.networks.training.optimizers import AdamW
from netwright.networks.training.recipe import Training
from netwright.networks.training.schedules import Cosine, CosLog4, FlatCosine
from netwright.space.choices import OneOf, Repeat, Shared

_MIN_EPOCHS = 16
"""Fewest epochs of either recipe, and the smallest patience."""


def realmlp(n_rows: int, *, regression: bool) -> Training:
    """RealMLP (Holzmueller et al. 2024, 2407.04491, table A.1) with open choices.

    Without label smoothing, which costs log loss and AUC.

    Args:
        n_rows: Training rows; more rows get fewer epochs.
        regression: Whether the target is a number, not a class.

    Returns:
        An open training recipe.

    Example:
        >>> space = Space(realmlp(1000, regression=False))
    """
    dropout: float = Shared(OneOf(0.15, 0.0, 0.05, 0.3), "realmlp_dropout")
    # SELU for classes, Mish for numbers; ReLU takes a third of their time
    activations: tuple[ActivationName, ...] = (
        ("mish", "relu") if regression else ("selu", "relu", "mish")
    )
    activation: ActivationName = Shared(OneOf(*activations), "realmlp_activation")
    width: int = Shared(OneOf(256, 128, 384), "realmlp_width")
    block: Network = (NTKLinear(width), ParametricActivation(activation), Dropout(dropout))
    numeric = PeriodicLinear(sigma=OneOf(0.1, 0.03, 0.3, 1.0))
    learning_rates = (0.2, 0.1, 0.05, 0.3) if regression else (0.04, 0.02, 0.01, 0.08)
    epochs = epochs_for(n_rows, n_steps=3000, max_epochs=256)
    return Training(
        (
            Columns(numeric, OneHotOrEmbedding(max_cat_to_onehot=OneOf(9, 3, 30))),
            Scaling(),
            Repeat(block, times=OneOf(3, 2, 4)),
            NTKLinear(),
            ClampToTargetRange(),
        ),
        lr=OneOf(*learning_rates),
        batch_size=OneOf(256, 128),
        epochs=epochs,
        optimizer=AdamW(weight_decay=OneOf(2e-2, 0.0, 5e-3, 5e-2), beta2=0.95),
        schedule=CosLog4(),
        max_grad_norm=0.0,
        # longer than one wave of the schedule, over which the score goes down and up
        patience=max(_MIN_EPOCHS, 2 * epochs // 5),
        regularization_schedule=FlatCosine(),
    )


def tabm(n_rows: int, *, regression: bool) -> Training:
    """TabM (Gorishniy et al. 2025, 2410.24210) with open choices, narrowed for a CPU.

    The original has 32 members of 512 columns, whose steps take a core a hundred times as long.

    Args:
        n_rows: Training rows; more rows get fewer epochs and larger batches.
        regression: Whether the target is a number; the recipe is the same.

    Returns:
        An open training recipe.
    """
    width: int = Shared(OneOf(128, 64, 192, 256), "tabm_width")
    dropout: float = Shared(OneOf(0.1, 0.0, 0.2), "tabm_dropout")
    block: Network = (LinearBatchEnsemble(width), Dropout(dropout))
    numeric = OneOf(
        {
            "piecewise": PiecewiseLinear(OneOf(32, 16, 8, 64), OneOf(8, 4, 16)),
            "periodic": PeriodicLinear(OneOf(8, 4), sigma=OneOf(0.1, 0.3, 1.0), lr_factor=1.0),
        }
    )
    epochs = epochs_for(n_rows, n_steps=2500, max_epochs=80)
    return Training(
        (
            Columns(numeric, OneHotOrEmbedding(max_cat_to_onehot=OneOf(100, 9))),
            ScaleEnsemble(OneOf(8, 16, 32)),
            LinearBatchEnsemble(width, scale_inputs=False),
            Dropout(dropout),
            Repeat(block, times=OneOf(1, 0, 2)),
            LinearEnsemble(),
            ClampToTargetRange(),
        ),
        lr=OneOf(4e-3, 2e-3, 1e-3, 8e-3),
        batch_size=64 if n_rows < 2000 else 128 if n_rows < 4000 else 256,
        epochs=epochs,
        optimizer=AdamW(weight_decay=OneOf(3e-4, 0.0, 1e-2, 1e-1), beta2=0.999),
        schedule=Cosine(),
        patience=max(_MIN_EPOCHS, epochs // 3),
    )


def epochs_for(n_rows: int, *, n_steps: int, max_epochs: int) -> int:
    """Return the epochs of about `n_steps` steps in batches of 256, within 16 to `max_epochs`."""
    return max(_MIN_EPOCHS, min(max_epochs, round(n_steps * 256 / max(1, n_rows))))
