"""Latency of the exported model under onnxruntime, while no other trial of the study runs."""

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
    """Median and interquartile range of timed calls, in seconds, and their number."""

    median: float
    iqr: float
    n_calls: int


@dataclass(frozen=True)
class Latency:
    """Evaluator of the exported model: latencies under onnxruntime, and file size.

    Exports the trained candidate to `model.onnx` in the job's folder, and times it from raw columns
    or pixels to labels while no other trial of the study runs. It needs the files of
    `TrainAndValidate` or `CrossValidate`, so `combine` it after one of them.

    Args:
        space: of the candidates.
        task: gives the rows that are timed.

    Example:
        >>> evaluator = combine(TrainAndValidate(space, task), Latency(space, task))
    """

    space: Space[Any]
    task: Task

    @property
    def metrics(self) -> tuple[str, ...]:
        """Latencies in ms (``latency_spread`` is the interquartile range), ``size`` in bytes."""
        return (
            "latency",
            "latency_spread",
            "latency_threads",
            "batch_latency",
            "batch_latency_threads",
            "size",
        )

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
    """Return a batch of validation rows as onnxruntime feeds, repeated if the task has fewer."""
    is_images = isinstance(task.features, Images)
    features = task.features.take(
        np.resize(task.validation, BATCH_ROWS["images" if is_images else "table"])
    )
    arrays = {"image": features.pixels} if isinstance(features, Images) else features.arrays
    names = [node.name for node in model.session.get_inputs()]
    return {name: arrays[name] for name in names}


def measure_latency(model: Model, feeds: dict[str, NDArray[Any]]) -> Metrics:
    """Return the latencies (ms) and file size (bytes) of a model that was loaded with all threads.

    The caller makes sure that nothing else runs.
    """
    row_feeds = {name: array[:1] for name, array in feeds.items()}
    batch_rows = len(next(iter(feeds.values())))
    single_threaded = Model(model.path, threads=1)
    ms_per_1000_rows = 1e3 / batch_rows * 1e3  # from seconds a batch
    row_timing = time_calls(lambda: single_threaded.session.run(None, row_feeds))
    return {
        "latency": row_timing.median * 1e3,
        "latency_spread": row_timing.iqr * 1e3,
        "latency_threads": time_calls(lambda: model.session.run(None, row_feeds)).median * 1e3,
        "batch_latency": (
            time_calls(lambda: single_threaded.session.run(None, feeds)).median * ms_per_1000_rows
        ),
        "batch_latency_threads": (
            time_calls(lambda: model.session.run(None, feeds)).median * ms_per_1000_rows
        ),
        "size": float(model.path.stat().st_size),
    }


def time_calls(
    call: Callable[[], object], *, seconds: float = 0.05, min_calls: int = 5, max_calls: int = 200
) -> Timing:
    """Time a function after two warm-up calls, for `seconds` and at least `min_calls` calls.

    If a single call takes longer than `seconds`, only two are timed.
    """
    clock, durations = time.perf_counter, list[float]()
    call()  # the first call allocates, the second fills the caches
    start = clock()
    call()
    min_calls = min_calls if clock() - start < seconds else min(min_calls, 2)
    end = clock() + seconds
    while len(durations) < min_calls or (clock() < end and len(durations) < max_calls):
        start = clock()
        call()
        durations.append(clock() - start)
    quartile_1, median, quartile_3 = np.quantile(durations, [0.25, 0.5, 0.75])
    return Timing(float(median), float(quartile_3 - quartile_1), len(durations))
