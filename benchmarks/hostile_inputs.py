"""200 hostile inputs: run folders, databases, models and archives as strangers may hand them over.

Each is made by a seeded generator of a copy of a good one, and given to the command line in a new
process. Right is: refused in one sentence with exit code 2, or read; within 10 seconds, without a
traceback, and with nothing changed in a tree beside the folder, to which links in it point.

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
"""Inputs of a whole run."""
LIMIT = 10.0
"""Seconds that a command may take."""
RIGHT = ("refused", "read")


class Ended(NamedTuple):
    """How a command ended; `code` is None where it was killed at the limit."""

    code: int | None
    out: str
    err: str


Launch = Callable[[Path, Sequence[str]], Ended]
"""Runs `netwright` with arguments in a folder."""


class Result(NamedTuple):
    """What became of a case."""

    name: str
    command: str
    verdict: str
    words: str


def cases(number: int, seed: int) -> list[Case]:
    """So many cases of all modules of the package, drawn in equal parts as far as they reach."""
    pools: list[list[Case]] = []
    for module in pkgutil.iter_modules(hostile.__path__):
        found = getattr(importlib.import_module(f"hostile.{module.name}"), "CASES", ())
        if found:
            pools.append(random.Random(f"{seed} {module.name}").sample(found, len(found)))
    chosen: list[Case] = []
    while len(chosen) < number and any(pools):
        chosen += [pool.pop() for pool in pools if pool]
    return chosen[:number]


def process(folder: Path, arguments: Sequence[str], limit: float = LIMIT) -> Ended:
    """A new process, which a command line is."""
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
    """A run, a comparison, a model, images and a table, from which hostile ones are made."""
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
    """Two classes of small grey images, as a folder in an archive."""
    import zipfile

    from PIL import Image

    with zipfile.ZipFile(path, "w") as archive, tempfile.TemporaryDirectory() as scratch:
        for i in range(20):
            file = Path(scratch) / f"{i}.png"
            Image.new("L", (8, 8), 40 + 10 * i).save(file)
            archive.write(file, f"{'dark' if i < 10 else 'bright'}/{i}.png")


def run_case(case: Case, good: Path, work: Path, launch: Launch, seed: int = 0) -> Result:
    """Makes the hostile folder below `work`, runs the command there, and judges what it did."""
    work.mkdir(parents=True)
    place = work / "place"
    shutil.copytree(good, place)
    make_canary(canary_of(place))
    case.make(place, random.Random(f"{seed} {case.name}"))
    before = snapshot(canary_of(place))
    ended = launch(place, case.command)
    verdict = judge(ended, before == snapshot(canary_of(place)))
    words = " ".join((ended.err.strip().splitlines() or [""])[-1].split())
    return Result(case.name, " ".join(case.command), verdict, words)


def judge(ended: Ended, untouched: bool) -> str:
    """One word, or two, for how a command ended."""
    if not untouched:
        return "canary touched"
    if ended.code is None:
        return "hang"
    said = ended.out + ended.err
    if "Traceback (most recent call last)" in said or ended.code == 1 or ended.code < 0:
        return "traceback"
    if SECRET in said:
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
    """One after the other; each folder is deleted when it has been judged."""
    for number, case in enumerate(chosen):
        yield run_case(case, good, work / str(number), launch, seed)
        shutil.rmtree(work / str(number), ignore_errors=True)


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

        found: list[Result] = []
        for result in results(chosen, good, work, launch, options.seed):
            found.append(result)
            mark = " " if result.verdict in RIGHT else "!"
            print(f"{mark} {result.verdict:<15}{result.name:<40}{result.words[:100]}", flush=True)
    if options.out:
        with options.out.open("w", newline="") as file:
            csv.writer(file).writerows([Result._fields, *found])
    counts = Counter(result.verdict for result in found)
    print(f"\n{len(found)} inputs: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.items()))
    sys.exit(any(result.verdict not in RIGHT for result in found))


if __name__ == "__main__":
    main()
