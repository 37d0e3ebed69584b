"""Training, costs and latency of candidates on small tasks, in this process."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.data.make_task import task
from netwright.data.task import Task
from netwright.deploy.model import Model
from netwright.errors import InfeasibleCandidate, InputError
from netwright.evaluators.costs import NetworkCosts
from netwright.evaluators.default_evaluators import default_evaluator
from netwright.evaluators.latency import Latency, time_calls
from netwright.evaluators.training.train_and_validate import TrainAndValidate
from netwright.evaluators.wrappers import combine
from netwright.files.run_layout import ABOUT
from netwright.interfaces.evaluator import capabilities_of
from netwright.networks.build import build
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.recipe import Training
from netwright.space.choices import Integer, OneOf
from netwright.space.space import Space
from netwright.trials.metrics import METRICS, Metric, score
from netwright.trials.objective import objectives, parse_limit
from netwright.trials.trial import Job, Proposal

NET = (Conv(OneOf(4, 8), normalisation="none"), Conv(8, stride=2), GlobalPool("max"), Linear())
SPACE = Space(Training(NET, lr=0.02, batch_size=8, epochs=Integer(12, 1_000_000)))
SHORT = {"network.0.channels": 4, "epochs": 12}


def job(folder: Path, values: dict[str, Any] = SHORT, **options: Any) -> Job:
    fidelity = options.pop("fidelity", 1.0)
    candidate = SPACE.fix(values).default()
    return Job(Proposal(candidate, fidelity), seed=3, folder=folder, **options)


def test_training_learns_and_writes_its_files(image_task: Task, tmp_path: Path) -> None:
    evaluator = TrainAndValidate(SPACE, image_task)
    metrics = evaluator(job(tmp_path))
    assert set(metrics) <= set(evaluator.metrics)
    assert metrics["accuracy"] > 0.9
    assert metrics["epochs"] == 12
    held_out = np.load(tmp_path / "validation.npy")
    truth = image_task.target[image_task.validation]
    assert score("multiclass", truth, held_out)["accuracy"] == metrics["accuracy"]
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert len(curve["points"]) == 12
    best = min(curve["points"], key=lambda point: point["validation_loss"])
    # the epoch kept is the best one; among equals, that of the least log loss
    assert best["validation_loss"] == pytest.approx(
        1 - metrics["accuracy"] + 1e-4 * metrics["log_loss"]
    )


def test_the_seed_decides_and_the_clock_does_not(image_task: Task, tmp_path: Path) -> None:
    evaluator = TrainAndValidate(SPACE, image_task)
    first, again = evaluator(job(tmp_path)), evaluator(job(tmp_path))
    other = evaluator(replace(job(tmp_path), seed=4))
    assert first["log_loss"] == again["log_loss"] != other["log_loss"]


def test_fidelity_is_the_share_of_the_epochs(image_task: Task, tmp_path: Path) -> None:
    evaluator = TrainAndValidate(SPACE, image_task)
    assert evaluator(job(tmp_path, fidelity=0.25))["epochs"] == 3


def test_training_ends_by_itself_before_the_deadline(image_task: Task, tmp_path: Path) -> None:
    values = {"network.0.channels": 4, "epochs": 1_000_000}
    deadline = time.monotonic() + 3
    metrics = TrainAndValidate(SPACE, image_task)(job(tmp_path, values, deadline=deadline))
    assert time.monotonic() < deadline
    assert metrics["epochs"] > 1


def test_best_epoch_follows_the_monitored_metric(image_task: Task, tmp_path: Path) -> None:
    metrics = TrainAndValidate(SPACE, image_task, monitor="log_loss")(job(tmp_path))
    curve = json.loads((tmp_path / "curve.json").read_text())
    best = min(point["validation_loss"] for point in curve["points"])
    assert best == pytest.approx(metrics["log_loss"], rel=1e-3)


def test_costs_are_those_of_the_network_that_is_built(image_task: Task, tmp_path: Path) -> None:
    metrics = NetworkCosts(SPACE, image_task)(job(tmp_path))
    network = SPACE.fill(SPACE.fix(SHORT).default()).network
    module = build(network, (1, 9, 8), outputs=3)
    assert metrics["parameters"] == sum(p.numel() for p in module.parameters())
    assert [path.name for path in tmp_path.iterdir()] == [ABOUT]  # nothing was trained


def layers_of(network: Any, input_shape: tuple[int, ...], /, **given: Any) -> float:
    """A cost of one's own: how many layers there are, and how many outputs."""
    assert input_shape == (1, 9, 8)
    return len(network) + given["outputs"] / 100


def test_further_costs_are_predicted_from_the_network_and_the_shape(
    image_task: Task, tmp_path: Path
) -> None:
    costs = NetworkCosts(SPACE, image_task, {"layers": layers_of})
    n_layers = len(SPACE.fill(SPACE.fix(SHORT).default()).network)
    assert costs(job(tmp_path))["layers"] == n_layers + 0.03
    assert costs.metrics[-1] == "layers"
    candidate = SPACE.fix(SHORT).default()
    assert costs.capabilities.knowledge is not None
    assert costs.capabilities.knowledge.metrics(candidate)["layers"] == n_layers + 0.03


def test_a_metric_with_a_predictor_is_known_before_training(
    image_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Metric("min", "ms", "a device's", predictor="networks.costs:weight_bytes")
    monkeypatch.setitem(METRICS, "device", row)  # type: ignore[arg-type]  # a dict
    monkeypatch.setattr("netwright.networks.costs.weight_bytes", layers_of, raising=False)
    evaluator = default_evaluator(SPACE, image_task, objectives(["accuracy", "device"]))
    assert "device" in evaluator.metrics
    known = capabilities_of(evaluator).knowledge
    assert known is not None
    assert known.metrics(SPACE.default())["device"] > 0
    assert "device" not in default_evaluator(SPACE, image_task, objectives(["accuracy"])).metrics


def test_latency_times_the_exported_file_alone_on_the_machine(
    image_task: Task, tmp_path: Path
) -> None:
    alone: list[str] = []

    @contextmanager
    def quiet() -> Iterator[None]:
        alone.append("in")
        yield
        alone.append("out")

    evaluator = combine(TrainAndValidate(SPACE, image_task), Latency(SPACE, image_task))
    metrics = evaluator(job(tmp_path, alone=quiet))
    assert alone == ["in", "out"]
    assert metrics["size"] == (tmp_path / "model.onnx").stat().st_size
    assert min(metrics[name] for name in Latency(SPACE, image_task).metrics) > 0
    said = Model(tmp_path / "model.onnx").predict_scores(
        image_task.features.take(image_task.validation)
    )
    assert np.abs(said - np.load(tmp_path / "validation.npy")).max() < 1e-5


def test_a_timing_is_the_median_of_calls_after_the_warm_up() -> None:
    calls: list[float] = []

    def call() -> None:
        calls.append(0.05 if len(calls) < 2 else 0.002)  # the first two are slow
        time.sleep(calls[-1])

    timing = time_calls(call, seconds=0.05)
    assert timing.n_calls == len(calls) - 2 >= 5
    assert 0.002 <= timing.median < 0.04
    assert timing.iqr >= 0
    assert time_calls(lambda: time.sleep(0.02), seconds=0.01).n_calls == 2  # long ones


def test_search_never_sees_test_rows(tmp_path: Path) -> None:
    found = task("digits")
    assert found.test is not None
    pixels = found.test.features.pixels[:40].tobytes()  # type: ignore[union-attr]  # images
    evaluator = default_evaluator(SPACE, found, objectives(["accuracy", "latency"]))
    assert pixels in pickle.dumps(found, protocol=5)
    assert pixels not in pickle.dumps(evaluator, protocol=5)


def test_expensive_candidate_is_refused_before_training(image_task: Task, tmp_path: Path) -> None:
    limits = [parse_limit("parameters<=100")]
    evaluator = default_evaluator(SPACE, image_task, objectives(["accuracy"]), limits)
    with pytest.raises(InfeasibleCandidate, match="parameters<=100 is broken: "):
        evaluator(job(tmp_path))
    assert not (tmp_path / "weights.safetensors").exists()


def test_latency_is_measured_only_where_it_is_asked_for(image_task: Task) -> None:
    plain = default_evaluator(SPACE, image_task, objectives(["accuracy"]))
    timed = default_evaluator(
        SPACE, image_task, objectives(["accuracy"]), [parse_limit("batch_latency<=2")]
    )
    assert "latency" not in plain.metrics
    assert "latency" in timed.metrics


def test_a_metric_of_another_kind_of_task_is_refused(image_task: Task) -> None:
    with pytest.raises(InputError, match="must be metrics of a multiclass task, got 'rmse'"):
        default_evaluator(SPACE, image_task, objectives(["rmse"]))


def test_a_description_for_other_features_is_refused(binary_task: Task, tmp_path: Path) -> None:
    from netwright.pipelines.pipeline import ImagePipeline

    space = Space(ImagePipeline(Training(NET)))
    with pytest.raises(InputError, match="description must be a Training or TablePipeline"):
        TrainAndValidate(space, binary_task)(
            Job(Proposal(space.default()), seed=0, folder=tmp_path)
        )
