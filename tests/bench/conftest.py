"""Makes modules of this folder importable, here and in the workers (they get this process's path)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from netwright.evaluators.benchmarks.table import TableBenchmark

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> TableBenchmark:
    from bench_table import make, write

    return make(write(tmp_path_factory.mktemp("table")))
