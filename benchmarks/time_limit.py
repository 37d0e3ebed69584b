"""Check that the command ends in time with a model that beats the constant prediction.

``python benchmarks/time_limit.py --out results/time-limit.csv`` runs ``netwright fit`` as a new
process on eight inputs with ``--time`` 10, 20 and 60, on an idle machine and next to a busy loop on
one core, and writes a row for each: wall time of the whole command, exit code, the delivered model,
its loss on rows that the search never saw, and that of the constant prediction. Rows already in the
file are not measured again.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

import netwright as nw
from netwright.trials.metrics import default_metric, score

FIELDS = (
    "input", "time", "neighbour", "door", "wall_s", "late_s", "code", "delivered", "trials",
    "loss", "constant_loss", "score", "constant_score",
)  # fmt: skip


@dataclass(frozen=True)
class Data:
    """Training and test rows of a table, or images (n, h, w)."""

    train: pd.DataFrame | NDArray[np.uint8]
    test: pd.DataFrame | NDArray[np.uint8]
    y_train: NDArray[Any]
    y_test: NDArray[Any]
    options: tuple[str, ...] = ()
    signal: bool = True


def _table(
    rows: int, columns: int, classes: int, seed: int = 0, options: tuple[str, ...] = ()
) -> Data:
    """Make a table whose class is the largest of `classes` noisy linear scores; 0: regression."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2 * rows if rows < 100_000 else rows + 10_000, columns))
    weights = rng.normal(size=(columns, max(classes, 1)))
    scores = x @ weights / np.sqrt(columns) + 0.3 * rng.normal(size=(len(x), max(classes, 1)))
    y = scores.argmax(1) if classes else scores[:, 0] + np.abs(x[:, 0])
    if classes > 2:  # many whole numbers would be taken for regression
        y = np.array([f"class {label}" for label in y])
    frame = pd.DataFrame(x.round(4), columns=[f"x{i}" for i in range(columns)])
    return Data(frame[:rows], frame[rows:], y[:rows], y[rows:], options)


def _one_column() -> Data:
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, 1000)
    y = np.sin(2 * x) + 0.2 * rng.normal(size=1000)
    frame = pd.DataFrame({"x": x})
    return Data(frame[:500], frame[500:], y[:500], y[500:])


def _texts() -> Data:
    rng = np.random.default_rng(0)
    words = {
        0: ["bad", "awful", "broken", "slow", "poor"],
        1: ["good", "great", "solid", "fast", "fine"],
    }
    fillers = [
        "the",
        "a",
        "this",
        "item",
        "box",
        "order",
        "came",
        "it",
        "was",
        "and",
        "then",
        "with",
        "from",
        "shop",
    ]
    y = rng.integers(0, 2, 4000)
    sentiment = np.where(rng.random(len(y)) < 0.8, y, 1 - y)
    texts = [
        " ".join([*rng.choice(fillers, 12), *rng.choice(words[label], 2)]) for label in sentiment
    ]
    frame = pd.DataFrame({"review": texts, "stars": rng.integers(1, 6, len(y))})
    return Data(frame[:2000], frame[2000:], y[:2000], y[2000:])


def _images() -> Data:
    """Make images of 64 x 64 pixels: noisy stripes in four directions."""
    rng = np.random.default_rng(0)
    y = np.arange(1000) % 4
    grid = np.stack(np.meshgrid(np.arange(64), np.arange(64)))
    angle = y * np.pi / 4
    phase = np.cos(angle)[:, None, None] * grid[0] + np.sin(angle)[:, None, None] * grid[1]
    start = rng.uniform(0, 6, len(y))[:, None, None]
    grey = 128 + 60 * np.sin(phase / 2 + start) + 40 * rng.normal(size=(len(y), 64, 64))
    pixels = grey.clip(0, 255).astype(np.uint8)
    return Data(pixels[:500], pixels[500:], y[:500], y[500:])


INPUTS: dict[str, Callable[[], Data]] = {
    "8 rows": lambda: _table(8, 3, 2),
    "one column": _one_column,
    "2,000 columns": lambda: _table(800, 2000, 2),
    "200,000 x 10": lambda: _table(200_000, 10, 2),
    "60 classes": lambda: _table(1800, 12, 60),
    "texts": _texts,
    "500 images": _images,
    "supernet": lambda: _table(600, 6, 3, options=("--strategy", "drnas")),
}


def write(data: Data, folder: Path) -> list[str]:
    """Write the training rows as a user has them; return the arguments of ``fit``."""
    folder.mkdir(parents=True)
    if isinstance(data.train, pd.DataFrame):
        data.train.assign(y=data.y_train).to_csv(folder / "rows.csv", index=False)
        return [str(folder / "rows.csv"), "--target", "y", *data.options]
    for i, (pixels, label) in enumerate(zip(data.train, data.y_train, strict=True)):
        (folder / "images" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "images" / str(label) / f"{i}.png")
    return [str(folder / "images"), *data.options]


@contextmanager
def neighbour(busy: bool) -> Iterator[None]:
    """Keep one core busy in the context, if `busy`."""
    if not busy:
        yield
        return
    loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        loop.kill()
        loop.wait()


def by_command(arguments: list[str], seconds: int, run: Path) -> tuple[float, int]:
    """Return wall time and exit code of the whole command."""
    command = [sys.executable, "-m", "netwright", "fit", *arguments]
    command += ["--time", str(seconds), "--run", str(run), "--json"]
    start = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _, error = process.communicate(timeout=5 * seconds + 60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return time.monotonic() - start, 124
    if process.returncode:
        sys.stderr.write(error.decode())
    return time.monotonic() - start, process.returncode


def by_estimator(data: Data, seconds: int, run: Path) -> tuple[float, int]:
    """Return wall time and exit code of an estimator's `fit` in its own process."""
    estimator = "AutoRegressor" if data.y_train.dtype.kind == "f" else "AutoClassifier"
    code = (
        "import sys, time, warnings, pandas as pd, netwright as nw\n"
        "warnings.simplefilter('ignore')\n"
        "frame = pd.read_csv(sys.argv[1]); y = frame.pop('y')\n"
        f"estimator = nw.{estimator}(time=int(sys.argv[2]), run=sys.argv[3])\n"
        "begun = time.monotonic(); estimator.fit(frame, y); print(time.monotonic() - begun)"
    )
    assert isinstance(data.train, pd.DataFrame)
    file = run.parent / "rows.csv"
    command = [sys.executable, "-c", code, str(file), str(seconds), str(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    sys.stderr.write(done.stderr)
    return (float(done.stdout.split()[-1]) if done.stdout else float("nan")), done.returncode


def test_scores(data: Data, model: nw.Model) -> dict[str, float]:
    """Return test scores of the model and of the constant prediction.

    Log loss and the default metric (AUC for two classes, accuracy for more); for regression the
    root mean squared error for both.
    """
    if not model.classes:
        predicted = np.asarray(model.predict(data.test), float)
        constant = np.full(len(predicted), data.y_train.mean())
        errors = [float(np.sqrt(np.mean((p - data.y_test) ** 2))) for p in (predicted, constant)]
        return dict(
            zip(("loss", "constant_loss", "score", "constant_score"), errors * 2, strict=True)
        )
    class_index = {str(label): i for i, label in enumerate(model.classes)}
    is_known = np.array([str(label) in class_index for label in data.y_test])
    truth = np.array([class_index.get(str(label), 0) for label in data.y_test])[is_known]
    probabilities = model.predict_proba(data.test)[is_known]
    frequencies = np.array([np.mean(data.y_train.astype(str) == text) for text in class_index])
    constant = np.tile(frequencies / frequencies.sum(), (len(truth), 1))
    kind = "binary" if len(class_index) == 2 else "multiclass"
    name = default_metric(kind)
    scores = [score(kind, truth, p) for p in (probabilities, constant)]
    return {
        "loss": scores[0]["log_loss"], "constant_loss": scores[1]["log_loss"],
        "score": scores[0].get(name, np.nan), "constant_score": scores[1].get(name, np.nan),
    }  # fmt: skip


def measure(name: str, seconds: int, busy: bool, api: str, work: Path) -> dict[str, object]:
    """Return one row of the file."""
    data, folder = INPUTS[name](), work / "data"
    shutil.rmtree(folder, ignore_errors=True)
    arguments, run = write(data, folder), folder / "run"
    with neighbour(busy):
        if api == "command":
            wall, code = by_command(arguments, seconds, run)
        else:
            wall, code = by_estimator(data, seconds, run)
    line: dict[str, object] = {
        "input": name, "time": seconds, "neighbour": int(busy), "door": api,
        "wall_s": round(wall, 2), "late_s": round(wall - seconds, 2), "code": code,
    }  # fmt: skip
    if code or not (run / "model.onnx").is_file():
        return line | {"delivered": "nothing"}
    from netwright.automl.saved_run import load_run

    reopened = load_run(run)
    best = reopened.trial(None)
    row = next(row for row in reopened.leaderboard_rows() if row.trial == best.id)
    finished = sum(trial.status == "done" for trial in reopened.trials)
    line |= {"delivered": row.what[:60], "trials": finished}
    figures = test_scores(data, nw.load(run))
    return line | {name: round(figure, 4) for name, figure in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/time-limit.csv"))
    parser.add_argument("--inputs", nargs="*", default=list(INPUTS))
    parser.add_argument("--times", nargs="*", type=int, default=[10, 20, 60])
    parser.add_argument("--neighbours", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--door", choices=["command", "estimator"], default="command")
    options = parser.parse_args()
    done = set()
    if options.out.exists():
        with options.out.open() as file:
            done = {
                (r["input"], r["time"], r["neighbour"], r["door"]) for r in csv.DictReader(file)
            }
    with options.out.open("a", newline="") as file, tempfile.TemporaryDirectory() as work:
        writer = csv.DictWriter(file, FIELDS)
        if not done:
            writer.writeheader()
        for busy in options.neighbours:
            for seconds in options.times:
                for name in options.inputs:
                    if options.door == "estimator" and name in ("500 images", "supernet"):
                        continue  # tables only, with the default strategy
                    if (name, str(seconds), str(busy), options.door) in done:
                        continue
                    line = measure(name, seconds, bool(busy), options.door, Path(work))
                    writer.writerow(line)
                    file.flush()
                    print(" ".join(f"{key}={value}" for key, value in line.items()), flush=True)


if __name__ == "__main__":
    main()
