"""What the training loop does under a deadline, and over many epochs."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netwright.files.run_layout import TRAINING_CHECKPOINT
from netwright.networks.build import build
from netwright.networks.layers.basic import Dropout, GlobalPool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training import loop
from netwright.networks.training.adaptive_threads import AdaptiveThreads
from netwright.networks.training.checkpoint import TrainingState, read_state, save_checkpoint
from netwright.networks.training.compute_settings import ComputeSettings
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.loop import CurvePoint, LearningCurve, predict, train
from netwright.networks.training.muon import Muon
from netwright.networks.training.recipe import Training

RECIPE = Training((Linear(8, activation="relu"), Linear(2)), lr=1e-2, batch_size=8, epochs=4)
ROWS = LabelledData(
    torch.randn(32, 3, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 2
)
IMAGES = LabelledData(
    torch.randint(256, (24, 3, 6, 6), dtype=torch.uint8).float(), torch.arange(24) % 2
)
IMAGE_RECIPE = Training(
    (Conv(4), Dropout(0.2), GlobalPool(), Linear(2)), batch_size=8, epochs=3, optimizer=Muon(),
    select="last",
)  # fmt: skip


def fresh(recipe: Training, rows: LabelledData) -> nn.Module:
    torch.manual_seed(11)
    return build(recipe.network, tuple(rows.inputs.shape[1:]))


def trained(
    recipe: Training = RECIPE, rows: LabelledData = ROWS, **options: Any
) -> tuple[nn.Module, LearningCurve]:
    module = options.pop("module", None) or fresh(recipe, rows)
    options = {"validation_loss": lambda out: 0.0, "seed": 0, **options}
    return module, train(recipe, module, rows, rows.inputs, **options)


def soon() -> float:
    """A deadline that these trainings do not reach."""
    return time.monotonic() + 1000


def weights_of(module: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(module.parameters()).detach().clone()


@dataclass(frozen=True)
class RecordingSchedule:
    """A schedule of learning nothing that records the progress."""

    seen: list[float] = field(default_factory=list, hash=False)

    def factor(self, progress: float) -> float:
        self.seen.append(progress)
        return 0.0


class RecordingModule(nn.Module):
    """Calls a function in each training step."""

    def __init__(self, on_step: Callable[[], object]) -> None:
        super().__init__()
        self.linear, self.on_step = nn.Linear(3, 2), on_step

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.linear(x)
        if self.training:
            self.on_step()
        return output


# Which weights are kept


def test_select_last_keeps_the_weights_of_the_end() -> None:
    module, seen = fresh(RECIPE, ROWS), []
    losses = iter([1.0, 2.0, 3.0, 4.0])

    def validation_loss(out: Tensor) -> float:
        seen.append(weights_of(module))
        return next(losses)

    _, curve = trained(
        replace(RECIPE, select="last"), module=module, validation_loss=validation_loss
    )
    assert curve.best_index == 3
    assert torch.equal(weights_of(module), seen[-1])
    assert not torch.equal(seen[-1], seen[0])
    losses = iter([1.0, 2.0, 3.0, 4.0])
    best, curve = trained(RECIPE, validation_loss=lambda out: next(losses))
    assert curve.best_index == 0
    assert torch.equal(weights_of(best), seen[0])


# Without a deadline nothing depends on the clock


def test_training_without_deadline_times_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions: list[int] = []

    def recorded(module: nn.Module, inputs: Tensor, **options: Any) -> Tensor:
        predictions.append(len(inputs))
        return predict(module, inputs, **options)

    monkeypatch.setattr(loop, "fastest_settings", None)
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "predict", recorded)
    _, curve = trained(IMAGE_RECIPE, IMAGES, checkpoint_folder=tmp_path)
    assert predictions == [24] * len(curve.points)
    assert [*tmp_path.iterdir()] == []


def test_trainings_of_images_without_deadline_are_bit_equal() -> None:
    (first, curve), (again, same) = (trained(IMAGE_RECIPE, IMAGES) for _ in range(2))
    assert torch.equal(weights_of(first), weights_of(again))
    assert curve.points == same.points


def test_speed_leaves_out_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def take_time() -> None:
        now[0] += 10.0 if not now[0] else 0.5

    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))
    _, curve = trained(module=RecordingModule(take_time))
    assert curve.rows_per_second == pytest.approx(8 / 0.5)
    assert curve.seconds == pytest.approx(10 + 15 * 0.5)
    _, single = trained(replace(RECIPE, batch_size=32, epochs=1))
    assert single.rows_per_second == 0


# Precision and threads


def test_images_under_a_deadline_are_trained_with_the_fastest_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches: list[Tensor] = []

    def choose(module: nn.Module, inputs: Tensor, max_seconds: float) -> ComputeSettings:
        assert 0 < max_seconds <= 100  # a tenth of the time
        batches.append(inputs)
        return ComputeSettings(torch.bfloat16, n_threads=1)

    monkeypatch.setattr(loop, "fastest_settings", choose)
    _, plain = trained(IMAGE_RECIPE, IMAGES)
    _, timed = trained(IMAGE_RECIPE, IMAGES, deadline=soon())
    assert (plain.precision, timed.precision) == ("float32", "bfloat16")
    assert plain.points[0].loss != timed.points[0].loss
    assert [batch.shape for batch in batches] == [(8, 3, 6, 6)]
    _, table = trained(deadline=soon())
    assert (len(batches), table.precision) == (1, "float32")


def test_number_of_threads_is_reported_and_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "fastest_settings", lambda *_: ComputeSettings(n_threads=2))
    _, curve = trained(IMAGE_RECIPE, IMAGES, deadline=soon())
    assert curve.n_threads == 2
    assert torch.get_num_threads() == 1


# Validations


def test_validations_are_at_most_fifty() -> None:
    _, curve = trained(replace(RECIPE, epochs=120, batch_size=32))
    assert [point.epochs for point in curve.points] == [*range(3, 121, 3)]
    assert len(trained(replace(RECIPE, epochs=40, batch_size=32))[1].points) == 40


def test_expensive_validations_are_rarer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: 0.0))
    interval, last = loop._validation_interval, replace(RECIPE, select="last")
    assert interval(RECIPE, 30.0, math.inf) == 0.02
    assert interval(RECIPE, 0.01, 100.0) == 0.02
    assert interval(RECIPE, 1.0, 100.0) == pytest.approx(0.2)  # 5 validations of 1 s in 100 s
    assert interval(last, 0.1, 100.0) == pytest.approx(0.1)  # 10 of 0.1 s
    assert interval(last, 30.0, 100.0) == 1.0
    assert interval(RECIPE, 1.0, -5.0) == 1.0


def test_time_of_predictions_is_estimated_and_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def predict_slowly(module: nn.Module, inputs: Tensor) -> Tensor:
        now[0] += len(inputs) / 64  # 2 s for 128 rows
        return torch.zeros(len(inputs), 2)

    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(loop, "predict", predict_slowly)
    inputs, module = torch.zeros(1280, 3), nn.Linear(3, 2)
    assert loop._validation_seconds(module, inputs, math.inf) == now[0] == 0
    assert loop._validation_seconds(module, inputs, now[0] + 1000) == pytest.approx(20)
    # 50 s less those of three timings, of which at most 30 % are kept back
    assert loop._validation_seconds(module, inputs, now[0] + 50) == pytest.approx(0.3 * 44)
    assert loop._validation_seconds(module, inputs, now[0] - 1) == 0
    assert loop._validation_seconds(module, inputs[:0], now[0] + 50) == 0


def test_training_ends_before_the_last_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    """The schedule runs its course in the time that predictions leave."""
    schedule, now = RecordingSchedule(), [0.0]

    def take_time() -> None:
        now[0] += 1.0

    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(
        "netwright.networks.training.training_clock.time", SimpleNamespace(monotonic=lambda: now[0])
    )
    monkeypatch.setattr(loop, "_validation_seconds", lambda *_: 20.0)
    recipe = replace(RECIPE, epochs=1000, schedule=schedule)
    trained(recipe, module=RecordingModule(take_time), deadline=100.0)
    assert schedule.seen == pytest.approx([step / 80 for step in range(80)])


# Checkpoints


class Killed(Exception):
    pass


def killed_training(folder: Path, recipe: Training, validations: int, **options: Any) -> nn.Module:
    """A training that is killed in one of its validations."""
    module, count = fresh(recipe, ROWS), itertools.count(1)

    def kill(point: CurvePoint) -> None:
        if next(count) == validations:
            raise Killed

    with pytest.raises(Killed):
        trained(recipe, module=module, callback=kill, checkpoint_folder=folder, deadline=soon())
    return module


@pytest.fixture
def _saves_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0.0)


saves_each_step = pytest.mark.usefixtures("_saves_each_step")


@saves_each_step
def test_killed_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    module = killed_training(tmp_path, RECIPE, validations=2)
    state = read_state(tmp_path)
    assert state is not None
    assert (state.step, state.progress) == (8, pytest.approx(7 / 16))
    schedule = RecordingSchedule()
    resumed, curve = trained(
        replace(RECIPE, schedule=schedule), checkpoint_folder=tmp_path, deadline=soon()
    )
    assert torch.equal(weights_of(resumed), weights_of(module))  # the schedule let nothing change
    assert schedule.seen == pytest.approx([step / 16 for step in range(8, 16)], abs=1e-3)
    assert [point.epochs for point in curve.points] == [3, 4]


def test_resumed_schedule_divides_the_rest_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill at three fifths the last two fifths take the time that is left."""
    module, schedule, now = fresh(RECIPE, ROWS), RecordingSchedule(), [0.0]
    recipe = replace(RECIPE, epochs=1000, schedule=schedule)
    optimizer = recipe.optimizer.make(module, recipe.lr)
    save_checkpoint(tmp_path, module, optimizer, TrainingState(0.6, 7))
    module.register_forward_hook(lambda *_: now.__setitem__(0, now[0] + 1.0 * module.training))
    for name in (loop.__name__, "netwright.networks.training.training_clock"):
        monkeypatch.setattr(f"{name}.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(loop, "_validation_seconds", lambda *_: 0.0)
    trained(recipe, module=module, checkpoint_folder=tmp_path, deadline=20.0)
    assert schedule.seen == pytest.approx([0.6 + 0.4 * second / 20 for second in range(20)])


def _module_and_optimizer() -> tuple[nn.Module, torch.optim.Optimizer]:
    module = fresh(RECIPE, ROWS)
    return module, RECIPE.optimizer.make(module, RECIPE.lr)


def test_training_killed_after_its_last_step_still_ends(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, *_module_and_optimizer(), TrainingState(15 / 16, 16))
    schedule = RecordingSchedule()
    recipe = replace(RECIPE, schedule=schedule)
    _, curve = trained(recipe, checkpoint_folder=tmp_path, deadline=soon())
    assert len(schedule.seen) == 1
    assert [point.epochs for point in curve.points] == [4]


@saves_each_step
def test_checkpoint_is_written_within_an_epoch(tmp_path: Path) -> None:
    states: list[TrainingState | None] = []
    module = RecordingModule(lambda: states.append(read_state(tmp_path)))
    trained(replace(RECIPE, epochs=1), module=module, checkpoint_folder=tmp_path, deadline=soon())
    assert [state and state.step for state in states] == [None, 1, 2, 3]


def test_checkpoint_is_written_every_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, steps_with_file = [0.0], []

    def take_time() -> None:
        now[0] += 25.0
        if state := read_state(tmp_path):
            steps_with_file.append(state.step)

    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(
        "netwright.networks.training.training_clock.time", SimpleNamespace(monotonic=lambda: now[0])
    )
    trained(
        replace(RECIPE, epochs=2),
        module=RecordingModule(take_time),
        checkpoint_folder=tmp_path,
        deadline=1e6,
    )
    assert steps_with_file == [3, 3, 3, 6, 6]


@saves_each_step
def test_full_disk_costs_the_checkpoint_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop, "save_checkpoint", fail)
    _, curve = trained(checkpoint_folder=tmp_path, deadline=soon())
    assert curve.points[-1].epochs == 4


@saves_each_step
def test_first_step_after_the_deadline_leaves_no_checkpoint(tmp_path: Path) -> None:
    """There is nothing left to go on with."""
    _, curve = trained(checkpoint_folder=tmp_path, deadline=time.monotonic() - 1)
    assert len(curve.points) == 1
    assert not (tmp_path / TRAINING_CHECKPOINT).exists()


class OneAfterThree(AdaptiveThreads):
    """Changes to one thread after three steps."""

    n_steps = 0

    def add(self, seconds: float) -> None:
        self.n_steps += 1
        self.n_threads = 1 if self.n_steps >= 3 else 2


def test_only_images_under_a_deadline_change_their_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The number of before returns at the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(loop, "AdaptiveThreads", OneAfterThree)
    try:
        assert trained(IMAGE_RECIPE, IMAGES, deadline=soon())[1].n_threads == 1
        assert torch.get_num_threads() == 2
        assert trained(IMAGE_RECIPE, IMAGES)[1].n_threads == 2
        assert trained(deadline=soon())[1].n_threads == 2
    finally:
        torch.set_num_threads(before)
