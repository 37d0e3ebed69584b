"""Feed 200 hostile run folders, databases, models and archives to the command line.

Each is a good input damaged by a seeded generator, and given to a new process. Correct outcomes:
refused in one sentence with exit code 2, or read; within 10 seconds, without a traceback, and without
changing a tree next to the folder, to which links in it point.

    python benchmarks/hostile_inputs.py --out results.csv
    python benchmarks/hostile_inputs.py --quick 40 --seed 3
"""

from __future__ import annotations

import argparse
import csv
import importlib
import pkgutil
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import hostile
from hostile import preloaded
from hostile.case import BENCH, FIT, SECRET, Case, canary_of, make_canary, snapshot

NUMBER = 200
"""Inputs of a full run."""
LIMIT = 10.0
"""Seconds that a command may take."""
RIGHT = ("refused", "read")


class Ended(NamedTuple):
    """How a command ended; `code` is None if it was killed at the limit."""

    code: int | None
    out: str
    err: str


Launch = Callable[[Path, Sequence[str]], Ended]
"""Runs `netwright` with arguments in a folder."""


class Result(NamedTuple):
    """The verdict on a case, and the last line on stderr."""

    name: str
    command: str
    verdict: str
    words: str


def cases(n: int, seed: int) -> list[Case]:
    """Return `n` random cases, as evenly as possible from all modules of `hostile`."""
    pools: list[list[Case]] = []
    for module in pkgutil.iter_modules(hostile.__path__):
        module_cases = getattr(importlib.import_module(f"hostile.{module.name}"), "CASES", ())
        if module_cases:
            rng = random.Random(f"{seed} {module.name}")
            pools.append(rng.sample(module_cases, len(module_cases)))
    chosen: list[Case] = []
    while len(chosen) < n and any(pools):
        chosen += [pool.pop() for pool in pools if pool]
    return chosen[:n]


def process(folder: Path, arguments: Sequence[str], limit: float = LIMIT) -> Ended:
    """Run the command line in a new process."""
    command = [sys.executable, "-m", "netwright", *arguments]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
    ) as running:  # fmt: skip
        try:
            out, err = running.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            running.kill()
            return Ended(None, "", "")
    return Ended(running.returncode, out, err)


def make_good(folder: Path, launch: Launch) -> None:
    """Make a run, a comparison, a model, images and a table, which the cases damage."""
    rng = random.Random(0)
    lines = ["a,b,c,y"]
    for _ in range(200):
        a, b = rng.gauss(0, 1), rng.gauss(0, 1)
        lines.append(f"{a:.4f},{b:.4f},{rng.choice('uvw')},{'pq'[a + b > 0]}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    for line in (FIT, BENCH):
        ended = launch(folder, line)
        if ended.code != 0:
            raise SystemExit(f"the good folder could not be made:\n{ended.out}{ended.err}")
    shutil.copyfile(folder / "run" / "model.onnx", folder / "model.onnx")
    _images(folder / "images.zip")


def _images(path: Path) -> None:
    """Write an archive of small grey images in two class folders."""
    import zipfile

    from PIL import Image

    with zipfile.ZipFile(path, "w") as archive, tempfile.TemporaryDirectory() as scratch:
        for i in range(20):
            file = Path(scratch) / f"{i}.png"
            Image.new("L", (8, 8), 40 + 10 * i).save(file)
            archive.write(file, f"{'dark' if i < 10 else 'bright'}/{i}.png")


def run_case(case: Case, good: Path, work: Path, launch: Launch, seed: int = 0) -> Result:
    """Make the hostile folder below `work`, run the command there, and judge the outcome."""
    work.mkdir(parents=True)
    folder = work / "place"
    shutil.copytree(good, folder)
    make_canary(canary_of(folder))
    case.make(folder, random.Random(f"{seed} {case.name}"))
    before = snapshot(canary_of(folder))
    ended = launch(folder, case.command)
    verdict = judge(ended, before == snapshot(canary_of(folder)))
    words = " ".join((ended.err.strip().splitlines() or [""])[-1].split())
    return Result(case.name, " ".join(case.command), verdict, words)


def judge(ended: Ended, untouched: bool) -> str:
    """Return the verdict in one or two words."""
    if not untouched:
        return "canary touched"
    if ended.code is None:
        return "hang"
    output = ended.out + ended.err
    if "Traceback (most recent call last)" in output or ended.code == 1 or ended.code < 0:
        return "traceback"
    if SECRET in output:
        return "canary read"
    if ended.code == 0:
        return "read"
    lines = [line for line in ended.err.splitlines() if line.strip()]
    if (
        ended.code == 2
        and lines
        and lines[-1].rstrip().endswith((".", "?"))
        and "Usage" not in ended.err
    ):
        return "refused"
    return f"code {ended.code}"


def results(
    chosen: Sequence[Case], good: Path, work: Path, launch: Launch, seed: int
) -> Iterator[Result]:
    """Run the cases one after the other; delete each folder after its verdict."""
    for i, case in enumerate(chosen):
        yield run_case(case, good, work / str(i), launch, seed)
        shutil.rmtree(work / str(i), ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", type=int, default=NUMBER, help="only so many inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of each command")
    parser.add_argument("--preloaded", action="store_true", help="forked processes: much faster")
    parser.add_argument("--only", default="", help="only cases with this in their names")
    parser.add_argument("--out", type=Path, help="CSV of all results")
    options = parser.parse_args()
    chosen = cases(10**6 if options.only else options.quick, options.seed)
    chosen = [case for case in chosen if options.only in case.name]
    with tempfile.TemporaryDirectory(prefix="hostile-") as scratch:
        good, work = Path(scratch) / "good", Path(scratch) / "work"
        good.mkdir()
        make_good(good, lambda folder, line: process(folder, line, 600))

        def launch(folder: Path, arguments: Sequence[str]) -> Ended:
            if options.preloaded:
                return Ended(*preloaded.run(folder, arguments, options.limit))
            return process(folder, arguments, options.limit)

        all_results: list[Result] = []
        for result in results(chosen, good, work, launch, options.seed):
            all_results.append(result)
            mark = " " if result.verdict in RIGHT else "!"
            print(f"{mark} {result.verdict:<15}{result.name:<40}{result.words[:100]}", flush=True)
    if options.out:
        with options.out.open("w", newline="") as file:
            csv.writer(file).writerows([Result._fields, *all_results])
    counts = Counter(result.verdict for result in all_results)
    print(
        f"\n{len(all_results)} inputs: "
        + ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    )
    sys.exit(any(result.verdict not in RIGHT for result in all_results))


if __name__ == "__main__":
    main()
