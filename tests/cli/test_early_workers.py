"""Workers that start before the search is known: they are ready sooner, and end with the command."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from netwright.cli import early_workers as early
from netwright.errors import InputError
from netwright.space.candidate import Candidate
from netwright.study.workers.executors import Supervised
from netwright.trials.trial import Job, Metrics, Proposal, Status


def leave_a_sign() -> None:
    """What workers call before they know the evaluator."""
    with Path(os.environ["SIGN"]).open("a") as file:
        file.write(f"{os.getpid()}\n")


@dataclass(frozen=True)
class WhoAmI:
    """Measures the number of its process."""

    metrics: tuple[str, ...] = ("pid",)

    def __call__(self, job: Job) -> Metrics:
        return {"pid": float(os.getpid())}


def wait_for(sign: Path, seconds: float = 30) -> list[int]:
    end = time.monotonic() + seconds
    while not sign.exists() or not sign.read_text().endswith("\n"):
        assert time.monotonic() < end
        time.sleep(0.02)
    return [int(line) for line in sign.read_text().splitlines()]


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.fixture
def sign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("SIGN", str(tmp_path / "sign"))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return tmp_path / "sign"


def test_a_worker_warms_up_before_it_knows_the_evaluator(sign: Path, tmp_path: Path) -> None:
    executor = Supervised(2)
    try:
        executor.start("test_early_workers:leave_a_sign")
        (warm,) = wait_for(sign)  # one less than there will be: the command itself works, too
        executor.open(WhoAmI())
        executor.submit(
            1, Job(Proposal(Candidate({})), 0, tmp_path)
        ) if executor.free_slots else None
        outcomes = list(executor.poll(20))
        while not outcomes:
            if executor.free_slots == 2:
                executor.submit(1, Job(Proposal(Candidate({})), 0, tmp_path))
            outcomes = list(executor.poll(20))
        assert outcomes[0].status is Status.DONE
        pids = set(map(int, sign.read_text().split()))
        assert warm in pids
        assert outcomes[0].metrics["pid"] in pids
    finally:
        executor.close()


def test_unneeded_workers_end(sign: Path, tmp_path: Path) -> None:
    executor = Supervised(3)
    try:
        executor.start("test_early_workers:leave_a_sign")
        executor.open(WhoAmI(), 1)
        while not executor.free_slots:
            executor.poll(20)
        executor.submit(1, Job(Proposal(Candidate({})), 0, tmp_path))
        (outcome,) = executor.poll(20)
        assert outcome.status is Status.DONE
        assert executor.free_slots <= 1
    finally:
        executor.close()


def test_failing_warm_up_is_ignored(tmp_path: Path) -> None:
    executor = Supervised(1)
    try:
        executor.start("no_such_module:function")
        executor.open(WhoAmI())
        while not executor.free_slots:
            executor.poll(20)
    finally:
        executor.close()


def test_early_workers_end_with_the_command(tmp_path: Path) -> None:
    before = children()

    def command() -> None:
        with early.early_workers(
            "x.csv", str(tmp_path / "run"), fresh=False, workers=2
        ) as executor:
            assert executor is not None
            assert children() - before
            raise InputError("no such file")

    with pytest.raises(InputError, match="no such file"):
        command()
    assert not children() - before


@pytest.mark.parametrize(
    ("data", "run", "fresh", "there"),
    [
        ("adult.csv", None, False, ["runs/adult-3f9c1a"]),
        ("in/Adult Income.csv.gz", None, False, ["runs/adult-income-3f9c1a"]),
        ("adult.csv", "mine", False, ["mine"]),
    ],
)
def test_no_early_workers_for_a_run_that_may_exist(
    data: str, run: str | None, fresh: bool, there: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in there:
        (tmp_path / name).mkdir(parents=True)
    with early.early_workers(data, run, fresh=fresh, workers=1) as executor:
        assert executor is None
    with early.early_workers(
        data, run, fresh=True, workers=1
    ) as executor:  # fresh: it is forgotten
        assert executor is not None


def test_invalid_worker_count_starts_no_early_workers(tmp_path: Path) -> None:
    with early.early_workers("x.csv", str(tmp_path / "run"), fresh=False, workers=-1) as executor:
        assert executor is None
