"""40 of the hostile inputs of `benchmarks/hostile_inputs.py`, and what its judge calls right."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

_SCRIPT = Path(__file__).parents[1] / "benchmarks" / "hostile_inputs.py"
_SECONDS = 60.0
"""For each: a limit of 10 seconds holds on a machine that does nothing else."""


def _loaded() -> ModuleType:
    """The script, which is in no package of ours."""
    before = [*sys.path]
    spec = importlib.util.spec_from_file_location("hostile_inputs", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hostile_inputs"] = module
    try:
        spec.loader.exec_module(module)
        module.CHOSEN = module.cases(40, seed=1)
    finally:
        sys.path[:] = before
    return module


hostile_inputs = _loaded()
CASES = hostile_inputs.CHOSEN


def launch(folder: Path, arguments: Sequence[str]) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(_SCRIPT.parent)])  # for the new process
        return hostile_inputs.Ended(*hostile_inputs.preloaded.run(folder, arguments, _SECONDS))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    hostile_inputs.make_good(folder, launch)
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes are made")
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_hostile_input_is_refused_or_read_and_touches_nothing(
    case: object, good: Path, tmp_path: Path
) -> None:
    result = hostile_inputs.run_case(case, good, tmp_path / "case", launch, seed=1)
    assert result.verdict in hostile_inputs.RIGHT, result


@pytest.mark.parametrize(
    ("ended", "untouched", "verdict"),
    [
        ((0, "", ""), True, "read"),
        ((2, "", "run/a must be a file, got a link.\n"), True, "refused"),
        ((2, "", "Usage: netwright fit\nNo such option.\n"), True, "code 2"),
        ((1, "", "Traceback (most recent call last):\nKeyError\n"), True, "traceback"),
        ((-11, "", ""), True, "traceback"),
        ((1, "", "Aborted!\n"), True, "traceback"),
        ((None, "", ""), True, "hang"),
        ((0, "", ""), False, "canary touched"),
        ((0, hostile_inputs.SECRET, ""), True, "canary read"),
    ],
)
def test_the_judge_tells_wrong_from_right(
    ended: tuple[int | None, str, str], untouched: bool, verdict: str
) -> None:
    assert hostile_inputs.judge(hostile_inputs.Ended(*ended), untouched) == verdict
