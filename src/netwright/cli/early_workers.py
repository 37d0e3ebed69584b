"""Start workers early: they import their libraries while this process imports its own and reads data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netwright.study.workers.executors import Supervised, available_cores
from netwright.trials.formats import folder_name

_WARM_UP = "netwright.evaluators.training.cross_validation:warm_up"


@contextmanager
def early_workers(
    data: str,
    run: str | None,
    *,
    fresh: bool,
    workers: int,
    imports_own_code: bool = False,
) -> Iterator[Supervised | None]:
    """Start the workers of a search before it is opened, and stop them at the end of the context.

    Otherwise more than three seconds would pass before the first trial.

    Args:
        data: the data, whose name is part of the default run folder.
        run: the run folder; None for the default one.
        fresh: whether an earlier run is deleted.
        workers: number of workers; 0 for one per core.
        imports_own_code: whether modules of the working folder will be imported: a worker has the
            import path of the time when it was started.

    Yields:
        None if there may be an earlier run, since a finished one needs no workers, and if workers
        are impossible, which is reported when the search is opened.
    """
    may_be_resumed = not fresh and _may_exist(data, run)
    if os.name != "posix" or workers < 0 or imports_own_code or may_be_resumed:
        yield None
        return
    executor = Supervised(workers or available_cores())
    executor.start(_WARM_UP)
    try:
        yield executor
    finally:
        executor.close()


def _may_exist(data: str, run: str | None) -> bool:
    """Return whether there may be a run folder to resume."""
    if run:
        return Path(run).exists()
    name = folder_name(Path(data).name.partition(".")[0])
    return any(folder.name.startswith(name) for folder in Path("runs").glob("*"))
