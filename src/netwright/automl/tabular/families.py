"""Families of models for tables: each a whole pipeline, with the preparation that suits it.

Sources of the ranges: the tuning spaces of Holzmueller et al. 2024 (2407.04491, appendix C) and of
Gorishniy et al. 2025 (2410.24210, appendix D), narrowed to what pays in minutes on a few cores.
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
"""Families that an extra brings, and the module that it has."""
NETWORK_FAMILIES = tuple(row.name for row in catalog.FAMILIES if row.searches_architecture)
"""Families whose architecture is searched."""
_TREES, _LEAVES = 200, 300_000
"""Trees of a forest, and leaves of them all; of one fitted on one of several folds twice its share:
the average has all of them."""


def installed_families() -> tuple[str, ...]:
    """The families that this installation has."""
    return tuple(
        row.name for row in catalog.FAMILIES if not row.requires or find_spec(row.requires)
    )


def family_names(given: object) -> tuple[str, ...]:
    """The names, of one text or a list of such; none for None. InputError for anything else."""
    names = () if given is None else (given,) if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        fix = 'For example families="lightgbm", or ["lightgbm", "tabm"].'
        raise InputError(expected("families", "a name or a list of names", given, fix))
    return tuple(names)


def check_families(names: Sequence[str]) -> tuple[str, ...]:
    """The wanted families in their usual order, all when none is named; InputError at others."""
    known = installed_families()
    for name in names:
        if name in REQUIRED_MODULES and name not in known:
            raise InputError(
                f"family {name} needs an extra. Install it with: pip install 'netwright[boost]'"
            )
        if name not in known:
            fix = closest(name, known) or f"Known: {', '.join(known)}."
            raise InputError(f"families must be known ones, got {name!r}. {fix}")
    return tuple(name for name in known if name in names or not names)


def family_pipelines(brief: TaskMetadata) -> Mapping[str, TablePipeline]:
    """A pipeline for each of the brief's families, every choice open."""
    places = {row.name: row.import_path for row in catalog.FAMILIES}
    return {name: catalog.load(places[name])(brief) for name in check_families(brief.families)}


def _for_trees(brief: TaskMetadata, model: object) -> TablePipeline:
    """Trees branch on missing values and need no scale."""
    return TablePipeline(
        model,  # type: ignore[arg-type]  # a learner with open choices
        {
            "numeric": Numeric(
                scale="none",
                add_indicator=False,
                missing="keep",
                date_parts=True,
                arithmetic_features=_pairs(brief),
            ),
            "categories": _coded(brief),
        },
        target=_target(brief),
    )


def _for_forests(
    brief: TaskMetadata, kind: type[ExtraTrees | RandomForest], *shares: float | None
) -> TablePipeline:
    """A forest that tries one of these shares of the columns for each split."""
    model = kind(
        n_estimators=_share(brief, _TREES),
        max_total_leaves=_share(brief, _LEAVES),
        min_samples_leaf=OneOf(1, 2, 5),
        max_features=OneOf(*shares),
    )
    return TablePipeline(
        model,
        {
            "numeric": Numeric(scale="none", date_parts=True, arithmetic_features=_pairs(brief)),
            "categories": _coded(brief),
        },
        target=_target(brief),
    )


def _for_networks(brief: TaskMetadata, model: Training | LinearModel) -> TablePipeline:
    return TablePipeline(
        model,
        {
            "numeric": Numeric(
                scale=OneOf("robust", "quantile"), arithmetic_features=_pairs(brief)
            ),
            "categories": Categories(min_frequency=OneOf(1, 3, 10))
            if brief.categorical
            else Categories(),
        },
        target=_target(brief),
    )


def _pairs(brief: TaskMetadata) -> int:
    """Arithmetic of two columns, where there are two numbers."""
    return OneOf(0, 5, 15) if brief.columns - brief.categorical >= 2 else 0


def _coded(brief: TaskMetadata) -> Categories:
    if not brief.categorical:
        return Categories()
    return Categories(
        min_frequency=OneOf(1, 5),
        encode=OneOf("frequency", "target", "onehot"),
        crosses=OneOf(0, 5) if brief.categorical > 1 else 0,
    )


def _target(brief: TaskMetadata) -> TargetScale:
    return OneOf("plain", "log") if brief.logs else "plain"


def lightgbm(brief: TaskMetadata) -> TablePipeline:
    """LightGBM: trees grown leaf by leaf."""
    return _for_trees(
        brief,
        LightGBM(
            learning_rate=Float(0.01, 0.3, log=True),
            num_leaves=Integer(4, 256, log=True),
            min_child_samples=Integer(1, 100, log=True),
            colsample_bytree=Float(0.3, 1.0),
            subsample=Float(0.5, 1.0),
            reg_lambda=Float(1e-3, 30.0, log=True),
            extra_trees=OneOf(False, True),
        ),
    )


def catboost(brief: TaskMetadata) -> TablePipeline:
    """CatBoost: trees whose levels split alike."""
    return _for_trees(
        brief,
        CatBoost(
            learning_rate=Float(0.02, 0.3, log=True),
            depth=Integer(4, 7),  # each tree has 2^depth leaves, whether they say something or not
            l2_leaf_reg=Float(1.0, 30.0, log=True),
            subsample=Float(0.6, 1.0),
            random_strength=Float(0.1, 4.0, log=True),
        ),
    )


def xgboost(brief: TaskMetadata) -> TablePipeline:
    """XGBoost: trees grown level by level."""
    return _for_trees(
        brief,
        XGBoost(
            learning_rate=Float(0.02, 0.3, log=True),
            max_depth=Integer(3, 10),
            min_child_weight=Float(0.1, 30.0, log=True),
            colsample_bytree=Float(0.4, 1.0),
            subsample=Float(0.5, 1.0),
            reg_lambda=Float(0.1, 30.0, log=True),
        ),
    )


def histogram(brief: TaskMetadata) -> TablePipeline:
    """scikit-learn's boosted trees."""
    return _for_trees(
        brief,
        HistogramBoosting(
            learning_rate=Float(0.02, 0.3, log=True), max_leaf_nodes=Integer(8, 128, log=True)
        ),
    )


def extra_trees(brief: TaskMetadata) -> TablePipeline:
    """Averaged trees with random thresholds."""
    shares = (0.7, 0.4, 1.0) if brief.kind == "regression" else (None, 0.4, 0.8)
    return _for_forests(brief, ExtraTrees, *shares)


def forest(brief: TaskMetadata) -> TablePipeline:
    """Averaged trees."""
    shares = (0.4, 0.7) if brief.kind == "regression" else (None, 0.4, 0.8)
    return _for_forests(brief, RandomForest, *shares)


def _share(brief: TaskMetadata, whole: int) -> int:
    return round(whole * min(1.0, 2 / max(1, brief.folds)))


def linear(brief: TaskMetadata) -> TablePipeline:
    """Logistic regression or ridge."""
    return _for_networks(brief, LinearModel())


def realmlp(brief: TaskMetadata) -> TablePipeline:
    """RealMLP, with open width, dropout and embedding."""
    return _for_networks(
        brief, realmlp_and_tabm.realmlp(brief.rows, regression=brief.kind == "regression")
    )


def tabm(brief: TaskMetadata) -> TablePipeline:
    """TabM: members that share most weights."""
    return _for_networks(
        brief, realmlp_and_tabm.tabm(brief.rows, regression=brief.kind == "regression")
    )


def network(brief: TaskMetadata) -> TablePipeline:
    """Columns embedded or as they are, then dense layers: sizes and all open."""
    passes = epochs(brief.rows, most=100)
    recipe = Training(
        table_network(),
        lr=Float(3e-4, 1e-2, log=True),
        batch_size=OneOf(64, 128, 256),
        epochs=passes,
        optimizer=AdamW(weight_decay=OneOf(0.0, 1e-2, 1e-1)),
        schedule=OneOf(Cosine(), OneCycle()),
        label_smoothing=0.0 if brief.kind == "regression" else OneOf(0.0, 0.05),
        patience=patience(passes),
    )
    return _for_networks(brief, recipe)


def table_network() -> Network:
    """Columns as they are or embedded, one to four dense layers, and the head."""
    activation: ActivationName = Shared(OneOf("relu", "silu", "gelu", "selu"), "activation")
    numeric = OneOf({"raw": Skip(), "periodic": Periodic(OneOf(4, 8, 16))})
    coded = OneOf({"onehot": OneHot(), "embed": Embedding(OneOf(4, 8, 16))})
    layer = (
        Linear(OneOf(32, 64, 128, 256), activation=activation),
        Dropout(OneOf(0.0, 0.1, 0.25)),
    )
    return (Columns(numeric, coded), Repeat(layer, times=Integer(1, 4)), Linear())
