"""Workers that load their libraries while this process loads its own and reads the data."""

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
    data: str, run: str | None, fresh: bool, workers: int, own_code: bool = False
) -> Iterator[Supervised | None]:
    """The workers of a search that is to be opened; they end with the context.

    Of ten seconds more than three would go by otherwise, before the first trial starts.

    Args:
        workers: how many; 0: one for each core.
        own_code: whether modules of the working folder will be imported: a worker knows the import
            path as it is when it starts.

    Yields:
        None where the line may have been run before, since a finished run needs no workers, and
        where there can be none: who opens the search says why.
    """
    if os.name != "posix" or workers < 0 or own_code or (not fresh and _may_be_there(data, run)):
        yield None
        return
    executor = Supervised(workers or available_cores())
    executor.start(_WARM_UP)
    try:
        yield executor
    finally:
        executor.close()


def _may_be_there(data: str, run: str | None) -> bool:
    """Whether there is a run folder that the line may go on with."""
    if run:
        return Path(run).exists()
    name = folder_name(Path(data).name.partition(".")[0])
    return any(folder.name.startswith(name) for folder in Path("runs").glob("*"))
