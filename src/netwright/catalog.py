"""What there is, by name: one row for each thing that users can choose.

The help of the command line, the tables of the documentation and the public names are made from
these rows (``make listings``). To add a strategy, a family, a layer, a step or an augmentation: write
its class beside its kind, add a row here, and test it. Nothing is imported here: a row says where a
thing is.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """A thing that can be chosen.

    Args:
        name: what it is called, on the command line or in Python.
        place: ``module:Object`` below netwright: its class or function, or an object with its settings.
        help: one line, in lower case, without a full stop.
        public: whether the object is among the public names.
    """

    name: str
    import_path: str
    help: str
    public: bool = True


class Family(NamedTuple):
    """A family of models for tables.

    Args:
        name: what it is called.
        place: the function that makes its pipeline, all choices open, for a task.
        model: its model, among the public names; empty for none of its own.
        help: one line, in lower case, without a full stop.
        rank: how soon a first model is there on most tables; 1 is the soonest.
        needs: the module that an extra brings; empty for none.
        searched: whether the architecture of a network is searched.
    """

    name: str
    import_path: str
    model: str
    help: str
    speed_rank: int
    requires: str = ""
    searches_architecture: bool = False


# fmt: off

BLACK_BOX: tuple[Entry, ...] = (
    Entry("bayesian", "strategies.bayesian.search:Bayesian",
          "Bayesian optimisation: a Gaussian process over decisions, paths and sizes of the "
          "networks (the default)"),
    Entry("bananas", "strategies.bayesian.bananas:Bananas",
          "evolution whose children an ensemble of networks ranks, uncertainty included "
          "(1910.11858)"),
    Entry("npenas", "strategies.bayesian.bananas:Npenas",
          "evolution whose children an ensemble of networks ranks by its mean (2003.12857)"),
    Entry("tpe", "strategies.bayesian.tpe:TPE",
          "Bayesian optimisation: what is likelier among the good than among the rest"),
    Entry("evolution", "strategies.evolution.regularized:RegularizedEvolution",
          "regularised evolution: tournaments in a population that forgets its oldest "
          "(1802.01548)"),
    Entry("genetic", "strategies.evolution.genetic:Genetic",
          "genetic algorithm: tournaments, crossover, mutation, elitism"),
    Entry("nsga2", "strategies.evolution.genetic:NSGA2",
          "NSGA-II: non-dominated sorting and crowding, for several objectives"),
    Entry("differential", "strategies.evolution.differential:DifferentialEvolution",
          "differential evolution in the unit cube of the space"),
    Entry("local", "strategies.local:LocalSearch", "first-improvement local search with restarts"),
    Entry("reinforce", "strategies.reinforcement.policy_gradient:Reinforce",
          "reinforcement learning: policy gradient with a softmax for each decision"),
    Entry("ppo", "strategies.reinforcement.policy_gradient:PPO",
          "reinforcement learning: proximal policy optimisation, clipped (1707.06347)"),
    Entry("random", "strategies.random:RandomSearch", "random search: the yardstick"),
    Entry("halving", "strategies.multi_fidelity.halving:SuccessiveHalving",
          "successive halving: many short trainings, the best third goes on, trained for longer"),
    Entry("asha", "strategies.multi_fidelity.asha:ASHA",
          "successive halving without waiting: whoever is among the best of a rung goes on "
          "at once"),
    Entry("hyperband", "strategies.multi_fidelity.halving:Hyperband",
          "brackets of successive halving, from short trainings to full ones"),
    Entry("bohb", "strategies.multi_fidelity.halving:BOHB",
          "Hyperband whose candidates come from tpe", public=False),
    Entry("dehb", "strategies.multi_fidelity.halving:DEHB",
          "Hyperband whose candidates come from differential, a population for each length of "
          "training", public=False),
)
"""Strategies that see candidates and results only: on tables of evaluated candidates, too."""

WRAPPERS = ("halving", "asha", "hyperband")
"""Those that take their candidates from another: ``asha+evolution``."""

SUPERNETS: tuple[Entry, ...] = (
    Entry("darts", "oneshot.gradient.relaxations:DARTS",
          "a supernet whose architecture is trained by gradient, first order (1806.09055)"),
    Entry("darts2", "automl.supernet_presets:DARTS2",
          "DARTS of second order: the gradient goes through a training step of the "
          "weights", public=False),
    Entry("pcdarts", "automl.supernet_presets:PCDARTS",
          "DARTS on a quarter of the channels, with weights for edges and a warm-up "
          "(1907.05737)", public=False),
    Entry("gdas", "oneshot.gradient.relaxations:GDAS",
          "DARTS with one operation at a time, by a straight-through Gumbel-softmax (1910.04465)"),
    Entry("snas", "oneshot.gradient.relaxations:SNAS",
          "DARTS with weights drawn from a Gumbel-softmax that hardens (1812.09926)"),
    Entry("drnas", "oneshot.gradient.relaxations:DrNAS",
          "DARTS with weights drawn from a Dirichlet distribution (2006.10355)"),
    Entry("betadarts", "oneshot.gradient.relaxations:BetaDARTS",
          "DARTS with a penalty that keeps parameters alike (2203.01665)"),
    Entry("fairdarts", "oneshot.gradient.relaxations:FairDARTS",
          "DARTS with a sigmoid for each operation, so that none competes (1911.12126)"),
    Entry("proxyless", "oneshot.gradient.relaxations:ProxylessNAS",
          "DARTS with two sampled paths at a time (1812.00332)"),
    Entry("fbnet", "automl.supernet_presets:FBNET",
          "SNAS with the latency measured on this machine in the loss (1812.03443)", public=False),
    Entry("spos", "oneshot.single_path.samplers:UniformSampler",
          "weights shared by slices, trained by uniformly sampled paths, then evolution among "
          "the sub-networks, widths and depths included (1904.00420)"),
    Entry("fairnas", "oneshot.single_path.samplers:StrictlyFairSampler",
          "as spos, each option sampled as often as any other (1907.01845)"),
    Entry("sandwich", "oneshot.single_path.samplers:SandwichSampler",
          "as spos, with the largest, the smallest and two others in each step (1903.05134)"),
    Entry("enas", "automl.supernet_presets:ENAS",
          "as spos, where a policy draws the paths that train the weights it is judged by "
          "(1802.03268)", public=False),
)
"""Strategies that first train a network of shared weights: by a relaxation, a sampler or settings."""

DEFAULT_STRATEGY = "bayesian"

FAMILIES: tuple[Family, ...] = (
    Family("lightgbm", "automl.tabular.families:lightgbm", "pipelines.trees.boosting:LightGBM",
           "boosted trees, grown leaf by leaf", 2),
    Family("catboost", "automl.tabular.families:catboost", "pipelines.trees.boosting:CatBoost",
           "boosted trees, all leaves of a level split alike", 7, requires="catboost"),
    Family("xgboost", "automl.tabular.families:xgboost", "pipelines.trees.boosting:XGBoost",
           "boosted trees, grown level by level", 4, requires="xgboost"),
    Family("histogram", "automl.tabular.families:histogram",
           "pipelines.trees.boosting:HistogramBoosting", "scikit-learn's boosted trees", 3),
    Family("extra_trees", "automl.tabular.families:extra_trees", "pipelines.trees.forests:ExtraTrees",
           "averaged trees with random thresholds", 5),
    Family("forest", "automl.tabular.families:forest", "pipelines.trees.forests:RandomForest",
           "averaged trees", 6),
    Family("linear", "automl.tabular.families:linear", "pipelines.models.linear:LinearModel",
           "logistic regression or ridge", 1),
    Family("realmlp", "automl.tabular.families:realmlp", "networks.tabular.realmlp_and_tabm:realmlp",
           "a tuned network: RealMLP", 10, searches_architecture=True),
    Family("tabm", "automl.tabular.families:tabm", "networks.tabular.realmlp_and_tabm:tabm",
           "a network of members that share most weights: TabM", 9, searches_architecture=True),
    Family("network", "automl.tabular.families:network", "",
           "a searched network: embeddings, widths, depths, activations", 8, searches_architecture=True),
)
"""In their usual order."""

LAYERS: tuple[Entry, ...] = (
    Entry("Conv", "networks.layers.conv:Conv",
          "convolution with norm and activation; depthwise-separable, dilated or grouped"),
    Entry("Linear", "networks.layers.linear:Linear",
          "dense layer with activation; without features the head, of the task's outputs"),
    Entry("Pool", "networks.layers.basic:Pool", "max or average pooling"),
    Entry("GlobalPool", "networks.layers.basic:GlobalPool",
          "mean or maximum over all pixels or tokens"),
    Entry("Norm", "networks.layers.basic:Norm", "batch, layer or group normalisation"),
    Entry("Activation", "networks.layers.basic:Activation", "an activation by itself"),
    Entry("Dropout", "networks.layers.basic:Dropout", "dropout"),
    Entry("Flatten", "networks.layers.basic:Flatten", "all values of a row in one vector"),
    Entry("Skip", "networks.layers.basic:Skip", "the identity"),
    Entry("Zero", "networks.layers.basic:Zero",
          "zeros, whatever comes in: the edge 'none' of cells"),
    Entry("MBConv", "networks.layers.blocks:MBConv",
          "inverted bottleneck, with squeeze-and-excitation if wanted (1801.04381)"),
    Entry("Residual", "networks.layers.blocks:Residual",
          "adds its input to the output of its body (1512.03385)"),
    Entry("SqueezeExcitation", "networks.layers.blocks:SqueezeExcitation",
          "squeeze-and-excitation: channels scaled by their means (1709.01507)"),
    Entry("StochasticDepth", "networks.layers.blocks:StochasticDepth",
          "drops rows of a residual body at random during training (1603.09382)"),
    Entry("SelfAttention", "networks.layers.blocks:SelfAttention",
          "multi-head self-attention over tokens"),
    Entry("Recurrent", "networks.layers.blocks:Recurrent", "LSTM or GRU over tokens"),
    Entry("Rows", "networks.layers.blocks:Rows", "an image as a sequence of its rows"),
    Entry("Chain", "networks.layers.graph:Chain",
          "cells one after the other, each fed by those before it, as in DARTS (1806.09055)"),
    Entry("Graph", "networks.layers.graph:Graph", "nodes with named inputs: any topology"),
    Entry("Node", "networks.layers.graph:Node", "one node of a Graph"),
    Entry("Columns", "networks.tabular.columns:Columns",
          "for tables: numeric and categorical columns apart, then side by side"),
    Entry("Embedding", "networks.tabular.columns:Embedding",
          "for tables: learnt embeddings of categories"),
    Entry("OneHot", "networks.tabular.columns:OneHot",
          "for tables: one-hot encoding of categories"),
    Entry("Periodic", "networks.tabular.columns:Periodic",
          "for tables: periodic embeddings of numbers (2203.05556)"),
)

IMAGE_SPACES: tuple[Entry, ...] = (
    Entry("convolutional", "automl.image.space:image_description",
          "stages of residual, inverted-bottleneck or separable convolutions (the default)", False),
)
"""Spaces of networks for images: functions of what is known of a task."""

PREPROCESSING: tuple[Entry, ...] = (
    Entry("Numeric", "pipelines.preprocessing.numeric:Numeric",
          "numbers and dates: scale, missing values, parts of dates, arithmetic"),
    Entry("Categories", "pipelines.preprocessing.categories:Categories",
          "categories: rare values merged; frequency, target or one-hot encoding; crosses"),
    Entry("Text", "pipelines.preprocessing.text:Text",
          "texts: presence or counts of words and word pairs, and lengths"),
    Entry("Scale", "pipelines.preprocessing.channel_scaling:Scale",
          "images: pixels standardised by channel"),
)

AUGMENTATIONS: tuple[Entry, ...] = (
    Entry("Crop", "networks.training.augmentation:Crop",
          "random shift by some pixels, padded with zeros"),
    Entry("Cutout", "networks.training.augmentation:Cutout",
          "a random square replaced by the image's mean (1708.04552)"),
    Entry("Flip", "networks.training.augmentation:Flip", "random horizontal flip"),
)

API: tuple[str, ...] = (
    "networks.interfaces.layer:Given",
    "networks.interfaces.layer:BuiltNetwork",
    "networks.interfaces.layer:Morphism",
    "networks.interfaces.channel_map:ChannelMap",
    "pipelines.preprocessing.steps:Step",
    "pipelines.preprocessing.steps:FittedStep",
    "trials.time_budget:TimeBudget",
    "study.run_record:RunRecord",
    "automl.estimators:AutoClassifier",
    "automl.estimators:AutoRegressor",
    "data.task:Task",
    "data.make_task:task",
    "deploy.model:Model",
    "deploy.model:load",
    "errors:ExportError",
    "errors:InfeasibleCandidate",
    "errors:InputError",
    "errors:InvalidCandidate",
    "errors:NetwrightError",
    "errors:RunError",
    "errors:SpaceError",
    "interfaces.evaluator:Capabilities",
    "interfaces.evaluator:Evaluator",
    "evaluators.wrappers:cached",
    "evaluators.wrappers:cascade",
    "evaluators.wrappers:combine",
    "evaluators.costs:NetworkCosts",
    "evaluators.benchmarks.digits:digits_table",
    "evaluators.latency:Latency",
    "evaluators.benchmarks.nas_bench:nas_bench_201_table",
    "evaluators.benchmarks.nas_bench:read_nas_bench_101",
    "evaluators.benchmarks.nas_bench_101_cells:nas_bench_101_table",
    "evaluators.one_shot.inherited_weights:InheritAndValidate",
    "evaluators.benchmarks.table:DecisionColumn",
    "evaluators.benchmarks.table:MetricColumns",
    "evaluators.benchmarks.table:TableBenchmark",
    "evaluators.training.cross_validation:CrossValidate",
    "evaluators.training.train_and_validate:TrainAndValidate",
    "evaluators.zero_cost:ZeroCost",
    "networks.build:build",
    "networks.layers.cells:at_most_edges",
    "networks.layers.cells:darts",
    "networks.layers.cells:darts_cell",
    "networks.layers.cells:nas_bench_101",
    "networks.layers.cells:nas_bench_101_cell",
    "networks.layers.cells:nas_bench_201",
    "networks.layers.cells:nas_bench_201_cell",
    "networks.costs:Costs",
    "networks.costs:costs",
    "networks.drawing.outline:outline",
    "networks.drawing.svg:svg",
    "networks.layers.canonical:canonical",
    "networks.interfaces.layer:Composite",
    "networks.interfaces.layer:Layer",
    "networks.interfaces.layer:Leaf",
    "networks.morphism.morph:Inheritance",
    "networks.morphism.morph:morph",
    "networks.training.optimizers:SGD",
    "networks.training.optimizers:AdamW",
    "networks.training.schedules:Constant",
    "networks.training.schedules:Cosine",
    "networks.training.schedules:OneCycle",
    "networks.training.recipe:Training",
    "oneshot.gradient.expected_cost:CostTerm",
    "oneshot.single_path.samplers:PolicySampler",
    "oneshot.single_path.training:SampledPathTraining",
    "oneshot.gradient.settings:ArchitectureTraining",
    "oneshot.gradient.settings:DifferentiableNAS",
    "oneshot.safeguards:SupernetSafeguards",
    "oneshot.single_path.settings:SinglePathNAS",
    "oneshot.gradient.settings:WeightTraining",
    "oneshot.weight_sharing.elastic_supernet:SharedWeights",
    "oneshot.gradient.supernet:Supernet",
    "pipelines.ensemble_selection:GreedySelection",
    "pipelines.pipeline:ImagePipeline",
    "pipelines.pipeline:TablePipeline",
    "space.candidate:Candidate",
    "space.choices:Float",
    "space.choices:Integer",
    "space.choices:OneOf",
    "space.choices:Repeat",
    "space.choices:Shared",
    "space.choices:SubsetOf",
    "space.space:Space",
    "interfaces.strategy:Algorithm",
    "interfaces.knowledge:Knowledge",
    "interfaces.strategy:Problem",
    "interfaces.strategy:Strategy",
    "strategies.oneshot:OneShot",
    "strategies.initial_candidates:InitialCandidates",
    "study.progress.events:ModelDelivered",
    "study.progress.events:SearchStarted",
    "study.progress.events:StageStarted",
    "study.progress.events:TrialEnded",
    "study.progress.events:TrialStarted",
    "study.workers.executors:InProcess",
    "study.workers.executors:Supervised",
    "study.study:Study",
    "trials.objective:Limit",
    "trials.objective:Objective",
    "trials.pareto:hypervolume",
    "trials.pareto:pareto_front",
    "trials.trial:Job",
    "trials.trial:Metrics",
    "trials.trial:Proposal",
    "trials.trial:Status",
    "trials.trial:Trial",
)
"""The other public names."""

MODULES = ("bench", "testing")
"""Modules of the public surface."""

# fmt: on


def load(import_path: str) -> Any:
    """The object of a row, imported now."""
    module, _, name = import_path.partition(":")
    return getattr(importlib.import_module(f"netwright.{module}"), name)


def public_import_paths() -> list[str]:
    """Where the public names are: ``module:Object`` below netwright, each name once."""
    rows = (*BLACK_BOX, *SUPERNETS, *LAYERS, *PREPROCESSING, *AUGMENTATIONS)
    places = [row.import_path for row in rows if row.public]
    places += [row.model for row in FAMILIES if row.model]
    return list(dict.fromkeys([*places, *API]))
