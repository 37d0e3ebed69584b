"""Families of models for tables: pipelines with open choices and preprocessing that suits the model.

Sources of the ranges: the tuning spaces of Holzmueller et al. 2024 (2407.04491, appendix C) and of
Gorishniy et al. 2025 (2410.24210, appendix D), narrowed to what helps within minutes on a few cores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from netwright import catalog
from netwright.automl.task_metadata import TaskMetadata, epochs, patience
from netwright.errors import InputError, closest, expected
from netwright.networks.interfaces.layer import Network
from netwright.networks.layers.activations import ActivationName
from netwright.networks.layers.basic import Dropout, Skip
from netwright.networks.layers.linear import Linear
from netwright.networks.tabular import realmlp_and_tabm
from netwright.networks.tabular.columns import Columns, Embedding, OneHot, Periodic
from netwright.networks.training.optimizers import AdamW
from netwright.networks.training.recipe import Training
from netwright.networks.training.schedules import Cosine, OneCycle
from netwright.pipelines.models.linear import LinearModel
from netwright.pipelines.pipeline import TablePipeline
from netwright.pipelines.preprocessing.categories import Categories
from netwright.pipelines.preprocessing.numeric import Numeric
from netwright.pipelines.target_transform import TargetScale
from netwright.pipelines.trees.boosting import CatBoost, HistogramBoosting, LightGBM, XGBoost
from netwright.pipelines.trees.forests import ExtraTrees, RandomForest
from netwright.space.choices import Float, Integer, OneOf, Repeat, Shared

REQUIRED_MODULES = {row.name: row.requires for row in catalog.FAMILIES if row.requires}
"""Family of an optional library -> module that it needs."""
NETWORK_FAMILIES = tuple(row.name for row in catalog.FAMILIES if row.searches_architecture)
"""Families of neural networks whose architecture is searched."""
_FOREST_TREES, _FOREST_LEAVES = 200, 300_000
"""Trees of a forest, and leaves of all its trees. The forest of one fold gets twice its part of them,
since the ensemble of the folds has the trees of all."""


def installed_families() -> tuple[str, ...]:
    """Return the families whose libraries are installed."""
    return tuple(
        row.name for row in catalog.FAMILIES if not row.requires or find_spec(row.requires)
    )


def family_names(given: object) -> tuple[str, ...]:
    """Return the names as a tuple; InputError unless it is None, a name or a list of names."""
    names = () if given is None else (given,) if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        fix = 'For example families="lightgbm", or ["lightgbm", "tabm"].'
        raise InputError(expected("families", "a name or a list of names", given, fix))
    return tuple(names)


def check_families(names: Sequence[str]) -> tuple[str, ...]:
    """Return these families in the order of the catalog, or all installed families if none is named.

    Raises:
        InputError: A family is unknown or not installed.
    """
    installed = installed_families()
    for name in names:
        if name in REQUIRED_MODULES and name not in installed:
            raise InputError(
                f"family {name} needs an extra. Install it with: pip install 'netwright[boost]'"
            )
        if name not in installed:
            fix = closest(name, installed) or f"Known: {', '.join(installed)}."
            raise InputError(f"families must be known ones, got {name!r}. {fix}")
    return tuple(name for name in installed if name in names or not names)


def family_pipelines(metadata: TaskMetadata) -> Mapping[str, TablePipeline]:
    """Return a pipeline with open choices for each family of the metadata."""
    import_paths = {row.name: row.import_path for row in catalog.FAMILIES}
    return {
        name: catalog.load(import_paths[name])(metadata)
        for name in check_families(metadata.families)
    }


def _for_trees(metadata: TaskMetadata, model: object) -> TablePipeline:
    """Return a pipeline for boosted trees, which handle missing values and need no scaling."""
    return TablePipeline(
        model,  # type: ignore[arg-type]  # a learner with open choices
        {
            "numeric": Numeric(
                scale="none",
                add_indicator=False,
                missing="keep",
                date_parts=True,
                arithmetic_features=_arithmetic_features(metadata),
            ),
            "categories": _categories(metadata),
        },
        target=_target_transform(metadata),
    )


def _for_forests(
    metadata: TaskMetadata, forest: type[ExtraTrees | RandomForest], *max_features: float | None
) -> TablePipeline:
    """Return a pipeline for a forest with one of these `max_features`."""
    model = forest(
        n_estimators=_scale_to_folds(metadata, _FOREST_TREES),
        max_total_leaves=_scale_to_folds(metadata, _FOREST_LEAVES),
        min_samples_leaf=OneOf(1, 2, 5),
        max_features=OneOf(*max_features),
    )
    return TablePipeline(
        model,
        {
            "numeric": Numeric(
                scale="none", date_parts=True, arithmetic_features=_arithmetic_features(metadata)
            ),
            "categories": _categories(metadata),
        },
        target=_target_transform(metadata),
    )


def _for_networks(metadata: TaskMetadata, model: Training | LinearModel) -> TablePipeline:
    """Return a pipeline for a network or a linear model, which need scaling and imputation."""
    categories = Categories()
    if metadata.categorical:
        categories = Categories(min_frequency=OneOf(1, 3, 10))
    return TablePipeline(
        model,
        {
            "numeric": Numeric(
                scale=OneOf("robust", "quantile"),
                arithmetic_features=_arithmetic_features(metadata),
            ),
            "categories": categories,
        },
        target=_target_transform(metadata),
    )


def _arithmetic_features(metadata: TaskMetadata) -> int:
    """Return how many arithmetic features of two columns, if two columns are numeric."""
    return OneOf(0, 5, 15) if metadata.columns - metadata.categorical >= 2 else 0


def _categories(metadata: TaskMetadata) -> Categories:
    if not metadata.categorical:
        return Categories()
    return Categories(
        min_frequency=OneOf(1, 5),
        encode=OneOf("frequency", "target", "onehot"),
        crosses=OneOf(0, 5) if metadata.categorical > 1 else 0,
    )


def _target_transform(metadata: TaskMetadata) -> TargetScale:
    return OneOf("plain", "log") if metadata.logs else "plain"


def lightgbm(metadata: TaskMetadata) -> TablePipeline:
    """LightGBM: boosted trees, grown leaf by leaf."""
    return _for_trees(
        metadata,
        LightGBM(
            learning_rate=Float(0.01, 0.3, log=True),
            num_leaves=Integer(4, 256, log=True),
            min_child_samples=Integer(1, 100, log=True),
            colsample_bytree=Float(0.3, 1.0),
            subsample=Float(0.5, 1.0),
            reg_lambda=Float(1e-3, 30.0, log=True),
            extra_trees=OneOf(False, True),  # options of the setting
        ),
    )


def catboost(metadata: TaskMetadata) -> TablePipeline:
    """CatBoost: boosted symmetric trees, with one split per level."""
    return _for_trees(
        metadata,
        CatBoost(
            learning_rate=Float(0.02, 0.3, log=True),
            depth=Integer(4, 7),  # each tree always has 2^depth leaves
            l2_leaf_reg=Float(1.0, 30.0, log=True),
            subsample=Float(0.6, 1.0),
            random_strength=Float(0.1, 4.0, log=True),
        ),
    )


def xgboost(metadata: TaskMetadata) -> TablePipeline:
    """XGBoost: boosted trees, grown level by level."""
    return _for_trees(
        metadata,
        XGBoost(
            learning_rate=Float(0.02, 0.3, log=True),
            max_depth=Integer(3, 10),
            min_child_weight=Float(0.1, 30.0, log=True),
            colsample_bytree=Float(0.4, 1.0),
            subsample=Float(0.5, 1.0),
            reg_lambda=Float(0.1, 30.0, log=True),
        ),
    )


def histogram(metadata: TaskMetadata) -> TablePipeline:
    """Boosted trees of scikit-learn (`HistGradientBoosting`)."""
    return _for_trees(
        metadata,
        HistogramBoosting(
            learning_rate=Float(0.02, 0.3, log=True), max_leaf_nodes=Integer(8, 128, log=True)
        ),
    )


def extra_trees(metadata: TaskMetadata) -> TablePipeline:
    """Extremely randomised trees: a forest with random thresholds."""
    max_features = (0.7, 0.4, 1.0) if metadata.kind == "regression" else (None, 0.4, 0.8)
    return _for_forests(metadata, ExtraTrees, *max_features)


def forest(metadata: TaskMetadata) -> TablePipeline:
    """Random forest."""
    max_features = (0.4, 0.7) if metadata.kind == "regression" else (None, 0.4, 0.8)
    return _for_forests(metadata, RandomForest, *max_features)


def _scale_to_folds(metadata: TaskMetadata, total: int) -> int:
    """Return twice one fold's part of a total number of trees or leaves."""
    return round(total * min(1.0, 2 / max(1, metadata.folds)))


def linear(metadata: TaskMetadata) -> TablePipeline:
    """Logistic regression, or ridge regression."""
    return _for_networks(metadata, LinearModel())


def realmlp(metadata: TaskMetadata) -> TablePipeline:
    """RealMLP (Holzmueller et al., 2024), with open width, dropout and embedding."""
    return _for_networks(
        metadata, realmlp_and_tabm.realmlp(metadata.rows, regression=metadata.kind == "regression")
    )


def tabm(metadata: TaskMetadata) -> TablePipeline:
    """TabM (Gorishniy et al., 2025): an ensemble of networks that share most weights."""
    return _for_networks(
        metadata, realmlp_and_tabm.tabm(metadata.rows, regression=metadata.kind == "regression")
    )


def network(metadata: TaskMetadata) -> TablePipeline:
    """Multilayer perceptron with an open architecture, on raw or embedded columns."""
    max_epochs = epochs(metadata.rows, max_epochs=100)
    recipe = Training(
        table_network(),
        lr=Float(3e-4, 1e-2, log=True),
        batch_size=OneOf(64, 128, 256),
        epochs=max_epochs,
        optimizer=AdamW(weight_decay=OneOf(0.0, 1e-2, 1e-1)),
        schedule=OneOf(Cosine(), OneCycle()),
        label_smoothing=0.0 if metadata.kind == "regression" else OneOf(0.0, 0.05),
        patience=patience(max_epochs),
    )
    return _for_networks(metadata, recipe)


def table_network() -> Network:
    """Return raw or embedded columns, one to four dense layers, and the head."""
    activation: ActivationName = Shared(OneOf("relu", "silu", "gelu", "selu"), "activation")
    numeric = OneOf({"raw": Skip(), "periodic": Periodic(OneOf(4, 8, 16))})
    categorical = OneOf({"onehot": OneHot(), "embed": Embedding(OneOf(4, 8, 16))})
    layer = (
        Linear(OneOf(32, 64, 128, 256), activation=activation),
        Dropout(OneOf(0.0, 0.1, 0.25)),
    )
    return (Columns(numeric, categorical), Repeat(layer, times=Integer(1, 4)), Linear())
