"""The unseen-data exam: netwright beside fixed networks, equal wall time for each whole command.

    python benchmarks/exam/exam.py IMAGES_FOLDER [--seconds 120] [--sets addnist,left_or_right,...]
        [--systems netwright,search_off,fixed_recipe,...] [--seeds 3] [--out CSV]
    python benchmarks/exam/exam.py --report CSV

IMAGES_FOLDER holds ``mnist.npz`` and ``cifar10_jpeg.npz``, for the set ``flowers17`` its archive as
well. One run after the other, with nothing else on the machine; each finished run is a row of the CSV,
and the same command goes on after a kill. The two sets of `families.UNSEEN` are run only when they are
named.

The score of a run is (accuracy - benchmark) * 10 / (100 - benchmark) in per cent of accuracy, at
least -10, where the benchmark is the mean of the ResNet on that set, at most 99 (as in the NAS
Unseen-Data Challenge). A crash, or more than 10 % and 5 seconds over the time, scores -10.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from csv_rows import append_row, read_rows  # noqa: E402

from exam.families import FAMILIES, SEED, UNSEEN, Exam, Images, Sources, make_exam  # noqa: E402

CONTROLS = ("fixed_recipe", "resnet", "darts")
OURS = {
    "netwright": (),
    "search_off": ("--strategy", "none"),
    "random": ("--strategy", "random"),
}
"""System -> options of ``netwright fit``."""
ABLATIONS = ("no_views", "any_lead", "no_augmentation", "inheritance")
"""netwright without a part, see ``ablation.py``; run only when they are named."""
N_CIFAR = 10_000
"""Training images of the sets ``cifar10``; ``cifar10_all`` has all of them."""
N_DIGITS_TRAIN = 1297
"""Training images of the set ``digits``, which is scikit-learn's; 500 are for the test."""
LEFT_OUT = {"accuracy", "seconds", "leaderboard", "notes", "run", "model"}
"""Of what a command prints: what has a column, what is long, and paths of the machine."""
OVERRUN, OVERRUN_SECONDS = 0.1, 5.0


@dataclass(frozen=True)
class Run:
    """A row of the CSV. `detail`: trials, images a second, what was chosen, as JSON."""

    set: str
    system: str
    seed: int
    limit: float
    seconds: float
    accuracy: float
    error: str
    detail: str


def archive(name: str, sources: Sources, images_folder: Path, folder: Path) -> Path:
    """The set's archive in `folder`, written when it is first needed."""
    path = folder / f"{name}-{SEED}.npz"
    if not path.exists():
        exam = _known_set(name, sources, images_folder) or make_exam(name, sources)
        exam.save(path.with_suffix(".part.npz"))
        path.with_suffix(".part.npz").rename(path)
    return path


def _known_set(name: str, sources: Sources, images_folder: Path) -> Exam | None:
    """A set that is not generated; None if `name` is a family."""
    if name.startswith("cifar10"):
        return _photographs(name, sources)
    if name == "mnist":
        return Exam(*sources.mnist)
    if name == "digits":
        digits = load_digits()
        pixels = (digits.images * 15).astype(np.uint8)
        order = np.random.default_rng(SEED).permutation(len(pixels))
        train, test = order[:N_DIGITS_TRAIN], order[N_DIGITS_TRAIN:]
        return Exam(*(Images(pixels[rows], digits.target[rows]) for rows in (train, test)))
    if name == "flowers17":
        with np.load(next(images_folder.glob("flowers17*.npz"))) as file:
            parts = [Images(file[f"x_{part}"], file[f"y_{part}"]) for part in ("train", "test")]
        return Exam(*parts)
    return None


def _photographs(name: str, sources: Sources) -> Exam:
    train, test = sources.cifar
    n_images = len(train.labels) if name == "cifar10_all" else N_CIFAR
    chosen = np.random.default_rng(SEED).permutation(len(train.labels))[:n_images]
    return Exam(Images(train.pixels[chosen], train.labels[chosen]), test)


def run(system: str, name: str, path: Path, seed: int, limit: float, folder: Path) -> Run:
    """One command in a process of its own, its wall time and the accuracy that it prints."""
    if system in CONTROLS:
        command = [str(HERE / "control.py"), system, str(path)]
        command += ["--seconds", str(limit), "--seed", str(seed)]
    else:
        fit = ["-m", "netwright", "fit"]
        command = [str(HERE / "ablation.py"), system] if system in ABLATIONS else fit
        command += [str(path), "--time", str(limit), "--seed", str(seed)]
        command += ["--run", str(folder / f"{system}-{name}-{seed}-{limit:g}"), "--json", "--fresh"]
        command += OURS.get(system, ())
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * limit + 60,
        )
        error = "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1][:200]
        outcome = json.loads(done.stdout) if not error else {}
    except subprocess.TimeoutExpired:
        error, outcome = "killed after twice its time", {}
    seconds = time.monotonic() - began
    tested = outcome.get("best", {}).get("metrics", {}).get("test", {})
    accuracy = outcome.get("accuracy", tested.get("accuracy", float("nan")))
    if not error and seconds > limit * (1 + OVERRUN) + OVERRUN_SECONDS:
        error = f"took {seconds:.1f} s"
    detail = {k: outcome[k] for k in outcome if k not in LEFT_OUT}
    return Run(name, system, seed, limit, seconds, accuracy, error, json.dumps(detail)[:2000])


def score(accuracy: float, benchmark: float) -> float:
    """The challenge's score, both given from 0 to 1."""
    reference = min(100 * benchmark, 99.0)
    return max(-10.0, (100 * accuracy - reference) * 10 / (100 - reference))


def report(runs: Sequence[Run]) -> Iterable[str]:
    """A line for each set and limit: mean accuracy of each system, its score below."""
    systems = [s for s in (*OURS, *ABLATIONS, *CONTROLS) if any(run.system == s for run in runs)]
    yield f"{'set':22}" + "".join(f"{s:>14}" for s in systems)
    totals: dict[str, list[float]] = {system: [] for system in systems}
    for name, limit in dict.fromkeys((run.set, run.limit) for run in runs):
        here = [run for run in runs if (run.set, run.limit) == (name, limit)]
        benchmark = np.mean(
            [r.accuracy for r in here if r.system == "resnet" and not r.error] or [0]
        )
        cells, scores = [], []
        for system in systems:
            mine = [run for run in here if run.system == system]
            values = [-10.0 if run.error else score(run.accuracy, float(benchmark)) for run in mine]
            accuracies = [run.accuracy for run in mine if not run.error]
            cells.append(f"{np.mean(accuracies):.3f} ({len(mine)})" if accuracies else "-")
            scores.append(f"{np.mean(values):+.2f}" if values else "-")
            totals[system] += [float(np.mean(values))] if values else []
        yield f"{f'{name} {limit:g} s':22}" + "".join(f"{cell:>14}" for cell in cells)
        yield f"{'  score':22}" + "".join(f"{cell:>14}" for cell in scores)
    means = [f"{np.mean(values):+.2f}" if values else "-" for values in totals.values()]
    yield f"{'mean score':22}" + "".join(f"{cell:>14}" for cell in means)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--sets", default=",".join(name for name in FAMILIES if name not in UNSEEN))
    parser.add_argument("--systems", default=",".join((*OURS, *CONTROLS)))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs") / "exam")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "exam.csv")
    parser.add_argument("--report", type=Path)
    settings = parser.parse_args()
    if settings.report:
        print(*report(read_rows(settings.report, Run)), sep="\n")
        return
    settings.work.mkdir(parents=True, exist_ok=True)
    sources = Sources.load(settings.images)
    done = {(run.set, run.system, run.seed, run.limit) for run in read_rows(settings.out, Run)}
    for seed in range(settings.seeds):
        for name in settings.sets.split(","):
            path = archive(name, sources, settings.images, settings.work)
            for system in settings.systems.split(","):
                if (name, system, seed, settings.seconds) in done:
                    continue
                row = run(system, name, path, seed, settings.seconds, settings.work)
                append_row(settings.out, row)
                print(f"{name} {system} {seed}: {row.accuracy:.4f} {row.seconds:.1f} s {row.error}")
    print(*report(read_rows(settings.out, Run)), sep="\n")


if __name__ == "__main__":
    main()
