import itertools
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from study_tools import Clocked, DiesAlone, Hill, Hostile, alive, wait_for

from netwright.errors import InputError, RunError
from netwright.space.candidate import Candidate
from netwright.study.workers.executors import InProcess, Supervised, total_memory
from netwright.study.workers.supervisor import JobResult
from netwright.trials.trial import Job, Metrics, Proposal, Status

LINUX = sys.platform.startswith("linux")
only_linux = pytest.mark.skipif(not LINUX, reason="elsewhere no process adopts orphans")


def job(folder: Path, trial: int, x: int) -> Job:
    folder = folder / str(trial)
    folder.mkdir(exist_ok=True)
    return Job(Proposal(Candidate({"x": x, "y": 0})), seed=trial, folder=folder)


def evaluate(
    executor: Any, evaluator: Any, folder: Path, *xs: int, limit: float = math.inf
) -> list[JobResult]:
    """The outcomes of trials 1, 2, ... by id; the executor stays open."""
    executor.open(evaluator)
    waiting = list(enumerate(xs, start=1))
    outcomes: list[JobResult] = []
    end = time.monotonic() + 60
    while len(outcomes) < len(xs):
        assert time.monotonic() < end
        while waiting and executor.free_slots:
            trial, x = waiting.pop(0)
            executor.submit(trial, job(folder, trial, x), limit)
        outcomes += executor.poll(0.1)
    return sorted(outcomes, key=lambda outcome: outcome.trial_id)


@pytest.fixture
def executor() -> Any:
    made = Supervised(memory_limit=300e6, grace_period=0.2)
    yield made
    made.close()


CRASHES = [
    (
        "abort",
        Status.FAILED,
        r"crashed \(SIGABRT\): Fatal Python error: Aborted, File .*study_tools",
    ),
    ("segfault", Status.FAILED, r"crashed \(SIGSEGV\): Fatal Python error: Segmentation fault, Fi"),
    ("leave", Status.FAILED, r"ended by itself \(exit status 3\)"),
    ("exit", Status.FAILED, "SystemExit: 4"),
    (
        "fail",
        Status.FAILED,
        r"ValueError: the code is at fault \(study_tools.py, line \d+, in fail",
    ),
    ("refuse", Status.INFEASIBLE, "^3 channels cannot be halved$"),
    ("fall_short", Status.INFEASIBLE, "^ran out of memory: no 9 GB$"),
    ("sleep", Status.INFEASIBLE, r"^took longer than 0\.5 s$"),
    ("allocate", Status.INFEASIBLE, r"^took more memory than 300 MB: \d+ MB$"),
    ("chatter", Status.DONE, "^$"),
]


@pytest.mark.parametrize(("what", "status", "error"), CRASHES)
def test_next_trial_runs_after_any_crash(
    what: str, status: Status, error: str, executor: Any, tmp_path: Path
) -> None:
    limit = 0.5 if what == "sleep" else 30
    bad, good = evaluate(executor, Hostile(what, tmp_path), tmp_path, 2, 3, limit=limit)
    assert bad.status is status
    assert re.search(error, bad.error)
    assert good == JobResult(2, Status.DONE, {"loss": 3.0}, good.seconds)
    assert good.seconds < 1


def test_worker_stays_warm_until_max_jobs(tmp_path: Path) -> None:
    executor = Supervised(max_jobs_per_worker=3)
    outcomes = evaluate(executor, Hostile("sleep", tmp_path), tmp_path, 1, 3, 5, 7, 9, 11, 13)
    executor.close()
    assert [outcome.metrics["loss"] for outcome in outcomes] == [1, 3, 5, 7, 9, 11, 13]
    assert len(list(tmp_path.glob("worker-*"))) == 3
    assert not alive(tmp_path, "worker")


def test_a_trial_that_uses_no_processor_time_hangs(tmp_path: Path) -> None:
    executor = Supervised(idle_timeout=1.0)
    bad, good = evaluate(executor, Hostile("sleep", tmp_path), tmp_path, 2, 3)
    executor.close()
    assert bad.status is Status.FAILED
    assert bad.error == "hung: it used no processor time for 1 s"
    assert good.status is Status.DONE
    assert not alive(tmp_path, "worker")


def test_a_stopped_trial_hangs(tmp_path: Path) -> None:
    executor = Supervised(idle_timeout=1.0)
    executor.open(Spinning())
    wait_for(lambda: executor.poll(0.05) or executor.free_slots)
    executor.submit(1, job(tmp_path, 1, 60))
    wait_for((tmp_path / "1" / "pid").exists)
    os.kill(int((tmp_path / "1" / "pid").read_text()), signal.SIGSTOP)
    outcomes: list[JobResult] = []
    wait_for(lambda: outcomes.extend(executor.poll(0.05)) or outcomes)
    executor.close()
    assert outcomes[0].status is Status.FAILED


def test_a_trial_that_works_does_not_hang(tmp_path: Path) -> None:
    executor = Supervised(idle_timeout=0.5)
    (outcome,) = evaluate(executor, Spinning(), tmp_path, 2)
    executor.close()
    assert outcome.status is Status.DONE


def test_a_trial_that_works_for_too_long_has_failed(tmp_path: Path) -> None:
    executor = Supervised()
    executor.open(Spinning())
    wait_for(lambda: executor.poll(0.05) or executor.free_slots)
    executor.submit(1, job(tmp_path, 1, 60), hang_timeout=1.0)
    outcomes: list[JobResult] = []
    wait_for(lambda: outcomes.extend(executor.poll(0.05)) or outcomes)
    executor.close()
    assert outcomes[0].status is Status.FAILED
    assert outcomes[0].error == "hung: it ran for more than 1 s"


def test_waiting_to_run_alone_is_not_a_hang(tmp_path: Path) -> None:
    executor = Supervised(2, idle_timeout=0.5)
    outcomes = evaluate(executor, Measuring(), tmp_path, 1, 2)
    executor.close()
    assert [outcome.status for outcome in outcomes] == [Status.DONE] * 2


class Spinning:
    """Uses the processor for x seconds of it."""

    metrics = ("loss",)

    def __call__(self, job: Job) -> Metrics:
        (job.folder / "started").write_text(str(os.getpid()))
        (job.folder / "started").rename(job.folder / "pid")
        end = time.process_time() + float(str(job.proposal.candidate.values["x"]))
        while time.process_time() < end:
            pass
        return {"loss": 0.0}


class Measuring:
    """Works for 1.5 s, alone on the machine."""

    metrics = ("loss",)

    def __call__(self, job: Job) -> Metrics:
        with job.alone():
            return Spinning()(job)


@only_linux
def test_timed_out_trial_leaves_no_process(executor: Any, tmp_path: Path) -> None:
    (outcome,) = evaluate(executor, Hostile("orphan", tmp_path), tmp_path, 2, limit=1.5)
    assert outcome.error == "took longer than 1.5 s"
    assert len(list(tmp_path.glob("orphan-*"))) == 1
    assert not alive(tmp_path, "orphan")
    assert not alive(tmp_path, "worker")
    assert 1.5 < outcome.seconds < 3.5


@only_linux
def test_processes_left_by_a_finished_trial_are_killed(executor: Any, tmp_path: Path) -> None:
    bred, after = evaluate(executor, Hostile("breed", tmp_path), tmp_path, 2, 3)
    assert bred.status is after.status is Status.DONE
    wait_for(lambda: not alive(tmp_path, "orphan"))
    assert len(alive(tmp_path, "worker")) == 1  # the same, still warm
    assert len(list(tmp_path.glob("worker-*"))) == 1


@only_linux
def test_killed_study_leaves_no_process_after_two_seconds(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path[:0] = sys.argv[2:]\n"
        "from study_tools import Hostile; from test_supervisor import evaluate\n"
        "from netwright.study.workers.executors import Supervised\n"
        "place = Path(sys.argv[1])\n"
        "evaluate(Supervised(2), Hostile('orphan', place), place, 2, 4)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), *map(str, Path(__file__).parents[:2])]
    study = subprocess.Popen(command, start_new_session=True)
    wait_for(lambda: len(alive(tmp_path, "orphan")) == 2, seconds=20)
    assert len(alive(tmp_path, "worker")) == 2
    os.killpg(study.pid, signal.SIGKILL)
    study.wait()
    wait_for(lambda: not alive(tmp_path, "orphan") + alive(tmp_path, "worker"), seconds=2)


@only_linux
def test_a_worker_dies_with_its_guard(executor: Any, tmp_path: Path) -> None:
    executor.open(Hostile("sleep", tmp_path))
    wait_for(lambda: executor.poll(0.05) or executor.free_slots)
    executor.submit(1, job(tmp_path, 1, 2))
    wait_for(lambda: alive(tmp_path, "worker"))
    os.kill(executor._supervisor._workers[0].process.pid, signal.SIGKILL)
    outcomes: list[JobResult] = []
    wait_for(lambda: outcomes.extend(executor.poll(0.05)) or outcomes)
    assert outcomes[0].status is Status.FAILED
    wait_for(lambda: not alive(tmp_path, "worker"))


def test_other_workers_pause_while_one_runs_alone(tmp_path: Path) -> None:
    executor = Supervised(3, grace_period=0.2)
    outcomes = evaluate(executor, Clocked(tmp_path), tmp_path, 1, 2, 3, limit=30)
    executor.close()
    assert [outcome.status for outcome in outcomes] == [Status.DONE] * 3
    assert outcomes[0].metrics == {"still": 2.0, "moved": 0.0}
    assert min(outcome.metrics["moved"] for outcome in outcomes[1:]) > 0


def test_pauses_do_not_count_as_trial_time(tmp_path: Path) -> None:
    executor = Supervised(2, grace_period=0.0)
    executor.open(Pausing(tmp_path))
    wait_for(lambda: executor.poll(0.05) or executor.free_slots == 2)
    executor.submit(1, job(tmp_path, 1, 0), time_limit=30)
    executor.submit(2, job(tmp_path, 2, 0), time_limit=1.0)  # takes 0.5 s and is paused for 1.5 s
    outcomes: list[JobResult] = []
    wait_for(lambda: outcomes.extend(executor.poll(0.05)) or len(outcomes) == 2)
    executor.close()
    assert [outcome.status for outcome in outcomes] == [Status.DONE] * 2
    (second,) = (outcome for outcome in outcomes if outcome.trial_id == 2)
    assert second.metrics["wall"] > 1.5
    assert second.seconds < 1.0


class Pausing:
    metrics = ("wall",)

    def __init__(self, folder: Path) -> None:
        self.place = folder

    def __call__(self, job: Job) -> Metrics:
        start = time.monotonic()
        if job.folder.name == "1":
            wait_for((self.place / "second").exists)
            with job.alone():
                time.sleep(1.5)
        else:
            (self.place / "second").touch()
            while time.process_time() < 0.5:  # its own clock, which a pause stops
                pass
            time.sleep(0.1)
        return {"wall": time.monotonic() - start}


def test_trials_run_alone_in_turn(tmp_path: Path) -> None:
    executor = Supervised(3)
    outcomes = evaluate(executor, Taking(tmp_path), tmp_path, 1, 2, 3, 4, 5, 6)
    executor.close()
    spans = sorted((one.metrics["start"], one.metrics["end"]) for one in outcomes)
    assert len(spans) == 6
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


class Taking:
    metrics = ("start", "end")

    def __init__(self, folder: Path) -> None:
        self.place = folder

    def __call__(self, job: Job) -> Metrics:
        with job.alone():
            start = time.monotonic()
            time.sleep(0.1)
            return {"start": start, "end": time.monotonic()}


def test_workers_resume_after_one_dies_alone(tmp_path: Path) -> None:
    executor = Supervised(2)
    dead, other = evaluate(executor, DiesAlone(tmp_path), tmp_path, 1, 3, limit=20)
    executor.close()
    assert dead.status is Status.FAILED
    assert "SIGKILL" in dead.error
    assert other.status is Status.DONE


def test_workers_get_their_threads_and_never_spin(tmp_path: Path) -> None:
    executor = Supervised(2, threads=3)
    outcomes = evaluate(executor, Environment(), tmp_path, 1)
    executor.close()
    assert outcomes[0].metrics == {"OMP_NUM_THREADS": 3, "MKL_NUM_THREADS": 3, "passive": 1}


def test_threads_may_spin_on_cores_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    executor = Supervised(2, threads=2).divided(1, owns_cores=True)
    outcomes = evaluate(executor, Environment(), tmp_path, 1)
    executor.close()
    assert outcomes[0].metrics == {"OMP_NUM_THREADS": 4, "MKL_NUM_THREADS": 4, "passive": 0}


class Environment:
    metrics = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "passive")

    def __call__(self, job: Job) -> Metrics:
        found = {name: float(os.environ[name]) for name in self.metrics[:2]}
        return found | {"passive": float(os.environ.get("OMP_WAIT_POLICY") == "PASSIVE")}


class Unloadable:
    metrics = ("loss",)

    def __call__(self, job: Job) -> Metrics:
        return {}

    def __reduce__(self) -> Any:
        return (os.abort, ()) if self.metrics else (math.sqrt, (-1,))


def test_an_evaluator_that_does_not_load_stops_at_once(executor: Any, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"workers must start, got 3 that did not: .*SIGABRT"):
        evaluate(executor, Unloadable(), tmp_path, 1)
    executor.close()
    broken = Unloadable()
    broken.metrics = ()  # type: ignore[assignment]  # chooses the other way to break
    with pytest.raises(RunError, match="must load in a worker process, got ValueError: "):
        evaluate(executor, broken, tmp_path, 1)


def test_an_evaluator_that_does_not_pickle_is_an_input_error(executor: Any) -> None:
    evaluator = Environment()
    evaluator.held = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"must pickle, .* got Environment: cannot pickle"):
        executor.open(evaluator)


def test_evaluator_in_script_needs_no_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from netwright.space.choices import Integer\n"
        "from netwright.space.space import Space\n"
        "from netwright.study.study import Study\n"
        "from netwright.trials.objective import Objective\n"
        "print('script runs')\n"
        "OFFSET = 5\n"
        "class Mine:\n"
        "    metrics = ('loss',)\n"
        "    def __call__(self, job):\n"
        "        print('hello')\n"
        "        return {'loss': job.proposal.candidate.values['x'] + OFFSET}\n"
        "space = Space({'x': Integer(0, 9)})\n"
        "study = Study(space, Mine(), objectives=[Objective('loss', 'min')])\n"
        "print(study.run(trials=10).best.metrics)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("script runs\n{'loss': 5.0}\n", "")


def test_an_evaluator_larger_than_a_pipe_arrives(executor: Any, tmp_path: Path) -> None:
    (outcome,) = evaluate(executor, Large(b"x" * 30_000_000), tmp_path, 1)
    assert outcome.metrics == {"bytes": 30_000_000}


class Large:
    metrics = ("bytes",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __call__(self, job: Job) -> Metrics:
        return {"bytes": float(len(self.data))}


def test_no_more_workers_start_than_there_are_jobs(tmp_path: Path) -> None:
    executor = Supervised(8)
    executor.open(Hill(), max_jobs=2)
    wait_for(lambda: executor.poll(0.05) or executor.free_slots == 2)
    executor.close()
    assert executor.free_slots == 0


def test_in_process_gives_the_same_results(tmp_path: Path) -> None:
    for what, status, error in CRASHES:
        if what in ("exit", "fail", "refuse", "fall_short"):
            bad, good = evaluate(InProcess(), Hostile(what, tmp_path), tmp_path, 2, 3)
            assert (bad.status, good.status) == (status, Status.DONE)
            assert re.search(error, bad.error)


def test_invalid_settings_are_refused() -> None:
    with pytest.raises(InputError, match="workers must be at least 0, got -1"):
        Supervised(-1)
    assert total_memory() > 1e8
    with pytest.raises(RunError, match="must be open before it takes jobs"):
        Supervised().poll(0)
