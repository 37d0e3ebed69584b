"""Latency of the exported file, under onnxruntime, with nothing else of the study running."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Images, Task
from netwright.deploy.export import export_onnx, make_card
from netwright.deploy.model import Model
from netwright.files.run_layout import MODEL
from netwright.interfaces.evaluator import Capabilities
from netwright.pipelines.pipeline import as_pipeline
from netwright.pipelines.weighted_ensemble import load_trial_model
from netwright.space.space import Space
from netwright.trials.trial import Job, Metrics

BATCH_ROWS = {"table": 256, "images": 64}
"""Rows of a batch in the batch latencies."""


class Timing(NamedTuple):
    """Median and interquartile range of one call, in seconds, and how many calls were timed."""

    median: float
    spread: float
    calls: int


@dataclass(frozen=True)
class Latency:
    """Exports the trained candidate to `model.onnx` in the job's folder, and times it.

    Needs what `TrainAndValidate` or `CrossValidate` left there: combine it after that. Times are of
    raw columns or pixels to labels, in milliseconds; `latency_spread` is their interquartile range.
    """

    space: Space[Any]
    task: Task

    @property
    def metrics(self) -> tuple[str, ...]:
        return (
            "latency", "latency_spread", "latency_threads",
            "batch_latency", "batch_latency_threads", "size",
        )  # fmt: skip

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(leaves_files=True)

    def __call__(self, job: Job) -> Metrics:
        pipeline = as_pipeline(self.space.fill(job.proposal.candidate), self.task)
        path = job.folder / MODEL
        model = export_onnx(load_trial_model(pipeline, job.folder), make_card(self.task), path)
        feeds = example_feeds(model, self.task)
        with job.alone():
            return measure_latency(model, feeds)


def example_feeds(model: Model, task: Task) -> dict[str, NDArray[Any]]:
    """A batch of real rows, repeated where the task has fewer."""
    images = isinstance(task.features, Images)
    features = task.features.take(
        np.resize(task.validation, BATCH_ROWS["images" if images else "table"])
    )
    arrays = {"image": features.pixels} if isinstance(features, Images) else features.arrays
    return {name: arrays[name] for name in (one.name for one in model.session.get_inputs())}


def measure_latency(threaded: Model, feeds: dict[str, NDArray[Any]]) -> Metrics:
    """The latencies (ms) and size (bytes) of a model's file, loaded with all threads.

    The caller keeps the machine quiet.
    """
    one = {name: array[:1] for name, array in feeds.items()}
    rows = len(next(iter(feeds.values())))
    single = Model(threaded.path, threads=1)
    thousand = 1e3 / rows * 1e3  # seconds a batch -> milliseconds a thousand rows
    alone = time_calls(lambda: single.session.run(None, one))
    return {
        "latency": alone.median * 1e3,
        "latency_spread": alone.spread * 1e3,
        "latency_threads": time_calls(lambda: threaded.session.run(None, one)).median * 1e3,
        "batch_latency": time_calls(lambda: single.session.run(None, feeds)).median * thousand,
        "batch_latency_threads": (
            time_calls(lambda: threaded.session.run(None, feeds)).median * thousand
        ),
        "size": float(threaded.path.stat().st_size),
    }


def time_calls(
    call: Callable[[], object], *, seconds: float = 0.05, min_calls: int = 5, max_calls: int = 200
) -> Timing:
    """Times `call` after two warm-up calls, for `seconds` or `least` calls, whichever is later.

    Of calls that take longer than `seconds`, two are timed.
    """
    clock, taken = time.perf_counter, list[float]()
    call()  # the first call allocates, the second fills the caches
    start = clock()
    call()
    min_calls = min_calls if clock() - start < seconds else min(min_calls, 2)
    end = clock() + seconds
    while len(taken) < min_calls or (clock() < end and len(taken) < max_calls):
        start = clock()
        call()
        taken.append(clock() - start)
    low, median, high = np.quantile(taken, [0.25, 0.5, 0.75])
    return Timing(float(median), float(high - low), len(taken))
