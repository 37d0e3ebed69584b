"""The public surface is a tested list: a name that comes or goes shows up here."""

import subprocess
import sys

import netwright

LISTED = """
ASHA Activation AdamW Algorithm ArchitectureSteps AutoClassifier AutoRegressor Bananas Bayesian
BetaDARTS ByPolicy Candidate Capabilities CatBoost Categories Chain Columns Composite Constant Conv
Cosine CostTerm Costs Crop CrossValidate Cutout DARTS Decided DifferentialEvolution DrNAS Dropout
Embedding Evaluator ExportError ExtraTrees FairDARTS Flatten Flip Float GDAS Genetic Given
GlobalPool Gradient Graph GreedySelection HistogramBoosting Honesty Hyperband ImagePipeline
InProcess InfeasibleCandidate InheritAndValidate Inheritance InputError Integer InvalidCandidate Job
Knowledge Latency Layer Leaf LightGBM Limit Linear LinearModel LocalSearch MBConv Measured Metrics
Model ModelDelivered NSGA2 NetworkCosts NetwrightError Node Norm Npenas Numeric Objective OneCycle
OneHot OneOf OneShot PPO Periodic Pool Problem Proposal ProxylessNAS RandomForest RandomSearch
Recurrent RegularizedEvolution Reinforce Repeat Residual Rows RunError SGD SNAS Sampled Sandwich
Scale SearchStarted Seeded SelfAttention Shared SharedWeights SinglePath Skip Space SpaceError
SqueezeExcitation StageStarted Status StochasticDepth Strategy StrictlyFair Study SubsetOf
SuccessiveHalving Supernet Supervised TPE TableBenchmark TablePipeline Task Text TrainAndValidate
Training Trial TrialEnded TrialStarted Uniform WeightSteps XGBoost Zero ZeroCost at_most_edges bench
build cached canonical cascade combine costs darts darts_cell digits_table hypervolume load morph
nas_bench_101 nas_bench_101_cell nas_bench_101_table nas_bench_201 nas_bench_201_cell
nas_bench_201_table outline pareto_front read_nas_bench_101 realmlp svg tabm task testing
"""
NAMES = LISTED.split()


def test_the_public_names_are_these() -> None:
    assert sorted(netwright.__all__) == sorted(NAMES)


def test_every_public_name_can_be_had() -> None:
    for name in NAMES:
        assert getattr(netwright, name) is not None


def imported(code: str) -> set[str]:
    """The top-level modules that are loaded after running `code` in a fresh interpreter."""
    text = f"import sys\n{code}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return set(found.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy() -> None:
    code = (
        "from netwright.cli.app import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code"
    )
    heavy = {"torch", "pandas", "sklearn", "onnx", "onnxruntime", "sqlalchemy", "numpy"}
    assert not imported(code) & heavy


def test_importing_netwright_loads_nothing_heavy() -> None:
    heavy = {"torch", "pandas", "sklearn", "onnx", "onnxruntime", "sqlalchemy", "numpy"}
    assert not imported("import netwright") & heavy


def test_loading_a_model_needs_numpy_and_onnxruntime_alone() -> None:
    heavy = {"torch", "pandas", "sklearn", "onnx", "sqlalchemy", "PIL", "rich", "typer"}
    assert not imported("import netwright\nnetwright.load") & heavy
