"""The record that a run folder keeps of its final trainings: their seconds, and which one failed."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from netwright.errors import BrokenFile
from netwright.files.folder import Folder
from netwright.files.json_files import from_plain, read_json
from netwright.files.run_layout import CANDIDATE, FINAL_TRAINING, SECONDS


@dataclass(frozen=True)
class FinalRecord:
    """Record of the final trainings of a run, ``final/seconds.json``.

    Args:
        seconds: wall time of all rounds, killed ones included.
        round_seconds: of the last round, or of the one that runs.
        left_out_after: id of the last trial of the search when a round left no model; 0 if none did.
    """

    seconds: float = 0.0
    round_seconds: float = 0.0
    left_out_after: int = 0

    @classmethod
    def read(cls, run: Path) -> FinalRecord:
        """Read the record of a run folder; one of zeros if it is missing or damaged."""
        folder = Folder(run) / FINAL_TRAINING
        with suppress(BrokenFile):
            return from_plain(read_json(folder, SECONDS), cls, str(folder.path / SECONDS))
        return cls()

    def write(self, run: Path) -> None:
        """Replace the record of a run folder."""
        folder = Folder(run) / FINAL_TRAINING
        folder.make()
        folder.write(SECONDS, json.dumps(asdict(self)))


def is_unfinished(run: Path) -> bool:
    """Return whether a final training was stopped and can go on from its checkpoint."""
    return (Folder(run) / FINAL_TRAINING).has_file(CANDIDATE)
