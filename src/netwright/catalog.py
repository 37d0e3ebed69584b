"""The catalog: one row for each strategy, model family, layer and step that users can choose.

The help of the command line, the tables of the documentation and the public names are generated
from these rows (``make listings``). To add an entry, write its class beside those of its kind, add a
row here, and test it. Nothing is imported here: a row has the import path.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """An option that users can choose.

    Args:
        name: on the command line or in Python.
        import_path: ``module:Object`` below netwright: a class, a function, or an object with its
            settings.
        help: one line, in lower case, without a full stop.
        public: whether the object is a public name.
    """

    name: str
    import_path: str
    help: str
    public: bool = True


class Family(NamedTuple):
    """A family of models for tables.

    Args:
        name: on the command line.
        import_path: the function that makes its pipeline, all choices open, for a task.
        model: the public name of its model; empty if it has none of its own.
        help: one line, in lower case, without a full stop.
        speed_rank: how soon its first model is trained on most tables; 1 is the soonest.
        requires: the module of an optional dependency; empty for none.
        searches_architecture: whether the architecture of a network is searched.
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
          "Bayesian optimisation: a Gaussian process over decisions, and over paths and sizes of "
          "networks (the default)"),
    Entry("bananas", "strategies.bayesian.bananas:Bananas",
          "evolution with children ranked by an ensemble of networks and its uncertainty "
          "(1910.11858)"),
    Entry("npenas", "strategies.bayesian.bananas:Npenas",
          "evolution with children ranked by the mean of an ensemble of networks (2003.12857)"),
    Entry("tpe", "strategies.bayesian.tpe:TPE",
          "tree-structured Parzen estimator: candidates likelier among good trials than among the "
          "rest"),
    Entry("evolution", "strategies.evolution.regularized:RegularizedEvolution",
          "regularised evolution: tournaments in a population that discards its oldest "
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
    Entry("random", "strategies.random:RandomSearch", "random search: the baseline"),
    Entry("halving", "strategies.multi_fidelity.halving:SuccessiveHalving",
          "successive halving: many short trainings, of which the best third is trained for longer"),
    Entry("asha", "strategies.multi_fidelity.asha:ASHA",
          "asynchronous successive halving: promotes the best of a rung without waiting for the "
          "others"),
    Entry("hyperband", "strategies.multi_fidelity.halving:Hyperband",
          "brackets of successive halving, from short trainings to full ones"),
    Entry("bohb", "strategies.multi_fidelity.halving:BOHB",
          "Hyperband with candidates from tpe", public=False),
    Entry("dehb", "strategies.multi_fidelity.halving:DEHB",
          "Hyperband with candidates from differential, a population for each length of training",
          public=False),
)
"""Strategies that see candidates and metrics only, and so run on tables of evaluated candidates."""

WRAPPERS = ("halving", "asha", "hyperband")
"""Strategies that can take their candidates from another: ``asha+evolution``."""

SUPERNETS: tuple[Entry, ...] = (
    Entry("darts", "oneshot.gradient.relaxations:DARTS",
          "a supernet with architecture parameters trained by gradient, first order (1806.09055)"),
    Entry("darts2", "automl.supernet_presets:DARTS2",
          "second-order DARTS: the gradient goes through a training step of the weights", public=False),
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
          "DARTS with Beta-decay: a penalty that keeps architecture parameters similar (2203.01665)"),
    Entry("fairdarts", "oneshot.gradient.relaxations:FairDARTS",
          "DARTS with a sigmoid for each operation, so that operations do not compete (1911.12126)"),
    Entry("proxyless", "oneshot.gradient.relaxations:ProxylessNAS",
          "DARTS with two sampled paths at a time (1812.00332)"),
    Entry("fbnet", "automl.supernet_presets:FBNET",
          "SNAS with the latency, measured on this machine, in the loss (1812.03443)", public=False),
    Entry("spos", "oneshot.single_path.samplers:UniformSampler",
          "single-path one-shot: slices of shared weights, trained along uniformly sampled paths, "
          "then evolution among the sub-networks, widths and depths included (1904.00420)"),
    Entry("fairnas", "oneshot.single_path.samplers:StrictlyFairSampler",
          "as spos, with each option sampled equally often (1907.01845)"),
    Entry("sandwich", "oneshot.single_path.samplers:SandwichSampler",
          "as spos, with the largest, the smallest and two random sub-networks a step (1903.05134)"),
    Entry("enas", "automl.supernet_presets:ENAS",
          "as spos, with paths sampled by a policy that is trained along with the weights "
          "(1802.03268)", public=False),
)
"""Strategies that first train a supernet: a relaxation, a sampler of paths, or settings of one."""

WITHOUT_SEARCH: tuple[Entry, ...] = (
    Entry("none", "strategies.no_search:NoSearch",
          "no search: only the default configurations are trained"),
)
"""Strategies that propose nothing of their own."""

DEFAULT_STRATEGY = "bayesian"

FAMILIES: tuple[Family, ...] = (
    Family("lightgbm", "automl.tabular.families:lightgbm", "pipelines.trees.boosting:LightGBM",
           "boosted trees, grown leaf by leaf", 2),
    Family("catboost", "automl.tabular.families:catboost", "pipelines.trees.boosting:CatBoost",
           "boosted trees, with one split for all leaves of a level", 7, requires="catboost"),
    Family("xgboost", "automl.tabular.families:xgboost", "pipelines.trees.boosting:XGBoost",
           "boosted trees, grown level by level", 4, requires="xgboost"),
    Family("histogram", "automl.tabular.families:histogram",
           "pipelines.trees.boosting:HistogramBoosting", "scikit-learn's boosted trees", 3),
    Family("extra_trees", "automl.tabular.families:extra_trees", "pipelines.trees.forests:ExtraTrees",
           "extremely randomised trees", 5),
    Family("forest", "automl.tabular.families:forest", "pipelines.trees.forests:RandomForest",
           "random forest", 6),
    Family("linear", "automl.tabular.families:linear", "pipelines.models.linear:LinearModel",
           "logistic regression or ridge", 1),
    Family("realmlp", "automl.tabular.families:realmlp", "networks.tabular.realmlp_and_tabm:realmlp",
           "RealMLP, a network with tuned defaults", 10, searches_architecture=True),
    Family("tabm", "automl.tabular.families:tabm", "networks.tabular.realmlp_and_tabm:tabm",
           "TabM, an ensemble of networks that share most weights", 9, searches_architecture=True),
    Family("network", "automl.tabular.families:network", "",
           "a searched network: embeddings, widths, depths, activations", 8, searches_architecture=True),
)
"""Families of models for tables, in the order in which they are listed."""

LAYERS: tuple[Entry, ...] = (
    Entry("Conv", "networks.layers.conv:Conv",
          "convolution with norm and activation; depthwise-separable, dilated or grouped"),
    Entry("Linear", "networks.layers.linear:Linear",
          "dense layer with activation; without features, the head with the task's outputs"),
    Entry("Whitening", "networks.layers.whitening:Whitening",
          "fixed first convolution that decorrelates the pixels of patches (2404.00498)"),
    Entry("Pool", "networks.layers.basic:Pool", "max or average pooling"),
    Entry("GlobalPool", "networks.layers.basic:GlobalPool",
          "mean or maximum over all pixels or tokens"),
    Entry("Norm", "networks.layers.basic:Norm", "batch, layer or group normalisation"),
    Entry("Activation", "networks.layers.basic:Activation", "an activation function"),
    Entry("Multiply", "networks.layers.basic:Multiply", "multiplication by a constant"),
    Entry("Dropout", "networks.layers.basic:Dropout", "dropout"),
    Entry("Flatten", "networks.layers.basic:Flatten", "all values of a row in one vector"),
    Entry("Skip", "networks.layers.basic:Skip", "the identity"),
    Entry("Zero", "networks.layers.basic:Zero",
          "zeros for any input: the edge 'none' of cells"),
    Entry("MBConv", "networks.layers.blocks:MBConv",
          "inverted bottleneck, optionally with squeeze-and-excitation (1801.04381)"),
    Entry("Residual", "networks.layers.blocks:Residual",
          "adds its input to the output of its body (1512.03385)"),
    Entry("SqueezeExcitation", "networks.layers.blocks:SqueezeExcitation",
          "squeeze-and-excitation: channels scaled by their means (1709.01507)"),
    Entry("StochasticDepth", "networks.layers.blocks:StochasticDepth",
          "drops rows of a residual body at random during training (1603.09382)"),
    Entry("SelfAttention", "networks.layers.blocks:SelfAttention",
          "multi-head self-attention over tokens"),
    Entry("PreActivation", "networks.layers.vision_blocks:PreActivation",
          "pre-activation residual block (1603.05027)"),
    Entry("ConvNeXtBlock", "networks.layers.vision_blocks:ConvNeXtBlock",
          "large depthwise kernel, channel-wise layer norm and inverted bottleneck (2201.03545)"),
    Entry("ImageAttention", "networks.layers.vision_blocks:ImageAttention",
          "residual self-attention over the pixels of a small image (2010.11929)"),
    Entry("PatchStem", "networks.layers.downsampling:PatchStem",
          "stem of non-overlapping patches with channel-wise layer norm"),
    Entry("Downsample", "networks.layers.downsampling:Downsample",
          "half the resolution: strided convolution, or max, average or blur pooling (1904.11486)"),
    Entry("AttentionPool", "networks.layers.image_heads:AttentionPool",
          "mean over pixels or tokens, weighted by the softmax of learned scores"),
    Entry("LayerNorm2d", "networks.layers.image_parts:LayerNorm2d",
          "layer norm over the channels of each pixel (2201.03545)"),
    Entry("LayerScale", "networks.layers.image_parts:LayerScale",
          "learned factor of each channel at the end of a residual body (2103.17239)"),
    Entry("PositionEmbedding", "networks.layers.image_parts:PositionEmbedding",
          "learned vector added to each pixel or token (2010.11929)"),
    Entry("Recurrent", "networks.layers.blocks:Recurrent", "LSTM or GRU over tokens"),
    Entry("ImageRows", "networks.layers.blocks:ImageRows", "an image as a sequence of its rows"),
    Entry("AxisAsChannels", "networks.layers.views:AxisAsChannels",
          "each row or each column of an image as a channel, for filters along the other axis"),
    Entry("OneHotPixels", "networks.layers.views:OneHotPixels",
          "pixels that are codes as one-hot channels; the codes are found in the training rows"),
    Entry("Coordinates", "networks.layers.views:Coordinates",
          "appends each pixel's row and column as channels (1807.03247)"),
    Entry("RowAndColumnMeans", "networks.layers.views:RowAndColumnMeans",
          "appends the means of each pixel's row and column as channels"),
    Entry("AxialConv", "networks.layers.axial:AxialConv",
          "convolution along one axis of an image, or the sum along both, with norm and activation"),
    Entry("AxialMixing", "networks.layers.axial:AxialMixing",
          "dense mixing along the width, then along the height, each added to its input (2105.01601)"),
    Entry("ChannelTower", "networks.layers.channel_tower:ChannelTower",
          "one network for each channel of an image, and the sum, product or concatenation of their "
          "features (1703.06114)"),
    Entry("Chain", "networks.layers.graph:Chain",
          "a sequence of cells, each fed by earlier ones, as in DARTS (1806.09055)"),
    Entry("Graph", "networks.layers.graph:Graph", "nodes with named inputs: any topology"),
    Entry("Node", "networks.layers.graph:Node", "one node of a Graph"),
    Entry("Columns", "networks.tabular.columns:Columns",
          "for tables: numeric and categorical columns encoded separately, then concatenated"),
    Entry("Embedding", "networks.tabular.columns:Embedding",
          "for tables: learnt embeddings of categories"),
    Entry("OneHot", "networks.tabular.columns:OneHot",
          "for tables: one-hot encoding of categories"),
    Entry("Periodic", "networks.tabular.columns:Periodic",
          "for tables: periodic embeddings of numbers (2203.05556)"),
)

IMAGE_SPACES: tuple[Entry, ...] = (
    Entry("convolutional", "automl.image.space:image_description",
          "views of the data, each with the convolutional network that suits it (the default)",
          public=False),
)
"""Search spaces for images: functions that make a description for a task."""

PREPROCESSING: tuple[Entry, ...] = (
    Entry("Numeric", "pipelines.preprocessing.numeric:Numeric",
          "numbers and dates: scaling, missing values, parts of dates, arithmetic features"),
    Entry("Categories", "pipelines.preprocessing.categories:Categories",
          "categories: rare values merged; frequency, target or one-hot encoding; crosses"),
    Entry("Text", "pipelines.preprocessing.text:Text",
          "texts: presence or counts of words and word pairs, and lengths"),
    Entry("Scale", "pipelines.preprocessing.channel_scaling:Scale",
          "images: pixels standardised by channel"),
)

AUGMENTATIONS: tuple[Entry, ...] = (
    Entry("AutoContrast", "networks.training.augmentation.colour:AutoContrast",
          "each channel of some images stretched to the whole range of values"),
    Entry("Brightness", "networks.training.augmentation.colour:Brightness", "random brightness"),
    Entry("Contrast", "networks.training.augmentation.colour:Contrast", "random contrast"),
    Entry("Crop", "networks.training.augmentation.geometry:Crop",
          "random shift by some pixels, padded with zeros"),
    Entry("CutMix", "networks.training.augmentation.mixing:CutMix",
          "for `Training(mix=...)`: a random rectangle of another image, targets mixed "
          "likewise (1905.04899)"),
    Entry("Cutout", "networks.training.augmentation.erasing:Cutout",
          "a random square replaced by the image's mean (1708.04552)"),
    Entry("Equalize", "networks.training.augmentation.colour:Equalize",
          "equalized histograms of some images"),
    Entry("Flip", "networks.training.augmentation.geometry:Flip",
          "random or alternating flip (2404.00498), horizontal or vertical"),
    Entry("Invert", "networks.training.augmentation.colour:Invert", "some images inverted"),
    Entry("Mixup", "networks.training.augmentation.mixing:Mixup",
          "for `Training(mix=...)`: weighted means of rows and of their targets (1710.09412)"),
    Entry("Posterize", "networks.training.augmentation.colour:Posterize",
          "the lowest bits of each value removed"),
    Entry("RandAugment", "networks.training.augmentation.policies:RandAugment",
          "random operations of one magnitude for each image (1909.13719)"),
    Entry("Rotate", "networks.training.augmentation.affine:Rotate", "random rotation"),
    Entry("Saturation", "networks.training.augmentation.colour:Saturation",
          "random saturation of images with three channels"),
    Entry("Sharpness", "networks.training.augmentation.colour:Sharpness", "random sharpness"),
    Entry("Shear", "networks.training.augmentation.affine:Shear", "random shear"),
    Entry("Shift", "networks.training.augmentation.geometry:Shift",
          "random shift by some pixels, padded by reflection or with zeros"),
    Entry("Solarize", "networks.training.augmentation.colour:Solarize",
          "the brightest values inverted, above a random threshold"),
    Entry("Translate", "networks.training.augmentation.affine:Translate",
          "random shift by a share of the sides, padded with zeros"),
    Entry("TrivialAugment", "networks.training.augmentation.policies:TrivialAugment",
          "one random operation of random strength for each image (2103.10158)"),
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
    "evaluators.benchmarks.evaluator_benchmark:EvaluatorBenchmark",
    "evaluators.benchmarks.table_columns:DecisionColumn",
    "evaluators.benchmarks.table_columns:MetricColumns",
    "evaluators.benchmarks.table:TableBenchmark",
    "evaluators.training.cross_validation:CrossValidate",
    "evaluators.training.train_and_validate:TrainAndValidate",
    "evaluators.zero_cost:ZeroCost",
    "networks.build:build",
    "networks.device_transfer:KnownDevices",
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
    "networks.training.muon:Muon",
    "networks.training.schedules:Constant",
    "networks.training.schedules:Cosine",
    "networks.training.schedules:LinearDecay",
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
    "strategies.warm_start:WarmStart",
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
"""Import paths of the other public names."""

MODULES = ("bench", "testing")
"""Public modules."""

# fmt: on


def load(import_path: str) -> Any:  # noqa: ANN401  # any object
    """Import the object of a row."""
    module, _, name = import_path.partition(":")
    return getattr(importlib.import_module(f"netwright.{module}"), name)


def public_import_paths() -> list[str]:
    """Return the import paths of all public names, each once."""
    rows = (*BLACK_BOX, *SUPERNETS, *WITHOUT_SEARCH, *LAYERS, *PREPROCESSING, *AUGMENTATIONS)
    paths = [row.import_path for row in rows if row.public]
    paths += [row.model for row in FAMILIES if row.model]
    return list(dict.fromkeys([*paths, *API]))
