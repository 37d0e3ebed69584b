"""Recipes of searched networks for tables: RealMLP and TabM, with what matters left open.

The first option of every choice is a default to trust: that of a space of them (`Space.default`).
Both want numbers in the "robust" scale. In some 10 s of one core RealMLP was the better one below
3,000 rows and with many classes, TabM above (development tables, one split each).
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


def realmlp(n_rows: int, *, regression: bool) -> Training:
    """RealMLP for so many training rows (Holzmueller et al. 2024, 2407.04491, table A.1).

    No label smoothing: it costs log loss and AUC.
    """
    drop: float = Shared(OneOf(0.15, 0.0, 0.05, 0.3), "realmlp_dropout")
    # SELU for classes, Mish for numbers; ReLU takes a third of their time
    kinds: tuple[ActivationName, ...] = ("mish", "relu") if regression else ("selu", "relu", "mish")
    kind: ActivationName = Shared(OneOf(*kinds), "realmlp_activation")
    width: int = Shared(OneOf(256, 128, 384), "realmlp_width")
    block: Network = (NTKLinear(width), ParametricActivation(kind), Dropout(drop))
    numeric = PeriodicLinear(sigma=OneOf(0.1, 0.03, 0.3, 1.0))
    rates = (0.2, 0.1, 0.05, 0.3) if regression else (0.04, 0.02, 0.01, 0.08)
    epochs = passes(n_rows, steps=3000, most=256)
    return Training(
        (
            Columns(numeric, OneHotOrEmbedding(max_cat_to_onehot=OneOf(9, 3, 30))),
            Scaling(), Repeat(block, times=OneOf(3, 2, 4)), NTKLinear(), ClampToTargetRange(),
        ),
        lr=OneOf(*rates),
        batch_size=OneOf(256, 128),
        epochs=epochs,
        optimizer=AdamW(weight_decay=OneOf(2e-2, 0.0, 5e-3, 5e-2), beta2=0.95),
        schedule=CosLog4(),
        max_grad_norm=0.0,
        patience=max(16, 2 * epochs // 5),  # the waves of the schedule go up and down before
        regularization_schedule=FlatCosine(),
    )  # fmt: skip


def tabm(n_rows: int, *, regression: bool) -> Training:
    """TabM for so many training rows (Gorishniy et al. 2025, 2410.24210), narrowed for a CPU.

    The original has 32 members of 512 columns, whose steps take a core a hundred times as long.
    """
    width: int = Shared(OneOf(128, 64, 192, 256), "tabm_width")
    drop: float = Shared(OneOf(0.1, 0.0, 0.2), "tabm_dropout")
    layer: Network = (LinearBatchEnsemble(width), Dropout(drop))
    numeric = OneOf(
        {
            "piecewise": PiecewiseLinear(OneOf(32, 16, 8, 64), OneOf(8, 4, 16)),
            "periodic": PeriodicLinear(OneOf(8, 4), sigma=OneOf(0.1, 0.3, 1.0), lr_factor=1.0),
        }
    )
    epochs = passes(n_rows, steps=2500, most=80)
    return Training(
        (
            Columns(numeric, OneHotOrEmbedding(max_cat_to_onehot=OneOf(100, 9))),
            ScaleEnsemble(OneOf(8, 16, 32)), LinearBatchEnsemble(width, scale_inputs=False), Dropout(drop),
            Repeat(layer, times=OneOf(1, 0, 2)), LinearEnsemble(), ClampToTargetRange(),
        ),
        lr=OneOf(4e-3, 2e-3, 1e-3, 8e-3),
        batch_size=64 if n_rows < 2000 else 128 if n_rows < 4000 else 256,
        epochs=epochs,
        optimizer=AdamW(weight_decay=OneOf(3e-4, 0.0, 1e-2, 1e-1), beta2=0.999),
        schedule=Cosine(),
        patience=max(16, epochs // 3),
    )  # fmt: skip


def passes(rows: int, *, steps: int, most: int) -> int:
    """Epochs of so many steps in all in batches of 256: from 16, on large tables, to `most`."""
    return max(16, min(most, round(steps * 256 / max(1, rows))))
