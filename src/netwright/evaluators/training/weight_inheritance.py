"""What a trial takes over from its parents' folders, and what it leaves there for its children."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from netwright.data.task import Task
from netwright.errors import BrokenFile, InvalidCandidate
from netwright.files.folder import Folder
from netwright.files.json_files import read_json
from netwright.files.run_layout import ABOUT, CANDIDATE, WEIGHTS
from netwright.networks.morphism.morph import Inheritance
from netwright.networks.training.recipe import Training
from netwright.pipelines.pipeline import Pipeline, as_pipeline, inherit_weights, load
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.trials.trial import Job

_MAX_CANDIDATE_BYTES = 1 << 20
NOTHING = Inheritance(0.0)


@dataclass(frozen=True)
class Heritage:
    """From whom a trial starts; `missing`: why there is nothing from whom it could have.

    Without a `module` it starts from scratch.
    """

    module: nn.Module | None = None
    parent: int | None = None
    found: Inheritance = NOTHING
    missing: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Of its weights those of the parent."""
        return self.found.inherited_share

    def effort(self, least: float) -> float:
        """The share of the epochs to train: `least` where the parent's function is kept.

        Else the more the less was inherited, up to all of them.
        """
        if self.module is None:
            return 1.0
        fresh = 0.0 if self.found.preserves_function else 1 - self.found.inherited_share
        return least + (1 - least) * fresh

    def record(self) -> Mapping[str, Any]:
        """As it stands in `ABOUT`."""
        return {
            "parent": self.parent, "share": self.share,
            "preserved": self.module is not None and self.found.preserves_function,
            "losses": [*self.missing, *self.found.changes],
        }  # fmt: skip


def begin(space: Space[Any], task: Task, pipeline: Pipeline, job: Job) -> Heritage:
    """From the parent that gives the most weights, the first of equals; only networks inherit."""
    if not isinstance(pipeline.model, Training):
        return Heritage()
    best, missing = Heritage(), []
    for number in job.proposal.parents:
        folder = beside(job, number)
        if not folder.has(CANDIDATE) or not folder.has(WEIGHTS):
            missing.append(f"the weights of trial {number} are gone")
            continue
        try:
            old = as_pipeline(space.fill(candidate_in(folder)), task)
            if not isinstance(old.model, Training):
                missing.append(f"trial {number} is no network")
                continue
            parent = load(old, folder)
        except InvalidCandidate:  # a baseline of another space
            missing.append(f"trial {number} is of another space")
            continue
        except BrokenFile as error:
            missing.append(f"trial {number} has left nothing to start from: {error}")
            continue
        module, found = inherit_weights(pipeline, task, old, parent, seed=job.seed)
        if found.inherited_share > best.share:
            best = Heritage(module, number, found)
    return Heritage(best.module, best.parent, best.found, tuple(missing))


def leave(heritage: Heritage, job: Job) -> None:
    """What children need beside the weights; and in `ABOUT`, beside what is there, the record."""
    folder = Folder(job.folder)
    folder.write(CANDIDATE, job.proposal.candidate.json())
    known = read_json(folder, ABOUT) if folder.has(ABOUT) else {}
    folder.write(ABOUT, json.dumps(known | {"inherited": heritage.record()}))


def beside(job: Job, number: int) -> Folder:
    """The folder of another trial of the same run."""
    return Folder(job.folder.parent) / str(number)


def candidate_in(folder: Folder) -> Candidate:
    """The candidate of a trial as it has left it for its children.

    Raises BrokenFile where the file is missing, InvalidCandidate where it holds none.
    """
    return Candidate.from_json(folder.read(CANDIDATE, _MAX_CANDIDATE_BYTES))
