"""Read the weights that a trial inherits from a parent's folder; write what its children need."""

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
"""Candidates take kilobytes; a larger file is not one."""
NO_INHERITANCE = Inheritance(0.0)


@dataclass(frozen=True)
class InheritedWeights:
    """The weights that a trial starts from.

    Args:
        module: the network with its initial weights; None to train from scratch.
        parent: id of the trial that they come from.
        inheritance: how much of them, and whether the parent's function is preserved.
        missing: why other parents gave nothing, in sentences.
    """

    module: nn.Module | None = None
    parent: int | None = None
    inheritance: Inheritance = NO_INHERITANCE
    missing: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Share of the weights that come from the parent."""
        return self.inheritance.inherited_share

    def epochs_share(self, min_share: float) -> float:
        """Return the share of the epochs to train.

        It is `min_share` if the network computes the parent's function, and rises to 1 with the
        share of weights that are new.
        """
        if self.module is None:
            return 1.0
        preserves_function = self.inheritance.preserves_function
        new_share = 0.0 if preserves_function else 1 - self.inheritance.inherited_share
        return min_share + (1 - min_share) * new_share

    def as_json(self) -> Mapping[str, object]:
        """Return the entry `inherited` of `about.json`."""
        return {
            "parent": self.parent,
            "share": self.share,
            "preserved": self.module is not None and self.inheritance.preserves_function,
            "losses": [*self.missing, *self.inheritance.changes],
        }


def weights_of_best_parent(
    space: Space[Any], task: Task, pipeline: Pipeline, job: Job
) -> InheritedWeights:
    """Return the weights of the parent that gives the most, the first of equals; only of networks."""
    if not isinstance(pipeline.model, Training):
        return InheritedWeights()
    best, missing = InheritedWeights(), []
    for parent in job.proposal.parents:
        folder = sibling_folder(job, parent)
        if not folder.has(CANDIDATE) or not folder.has(WEIGHTS):
            missing.append(f"the weights of trial {parent} are gone")
            continue
        try:
            parent_pipeline = as_pipeline(space.fill(read_candidate(folder)), task)
            if not isinstance(parent_pipeline.model, Training):
                missing.append(f"trial {parent} is no network")
                continue
            fitted_parent = load(parent_pipeline, folder)
        except InvalidCandidate:  # a baseline of another space
            missing.append(f"trial {parent} is of another space")
            continue
        except BrokenFile as error:
            missing.append(f"trial {parent} has left nothing to start from: {error}")
            continue
        module, inheritance = inherit_weights(
            pipeline, task, parent_pipeline, fitted_parent, seed=job.seed
        )
        if inheritance.inherited_share > best.share:
            best = InheritedWeights(module, parent, inheritance)
    return InheritedWeights(best.module, best.parent, best.inheritance, tuple(missing))


def save_for_children(inherited: InheritedWeights, job: Job) -> None:
    """Write what children need beside the weights, and what was inherited, into the job's folder."""
    folder = Folder(job.folder)
    folder.write(CANDIDATE, job.proposal.candidate.json())
    about = read_json(folder, ABOUT) if folder.has(ABOUT) else {}
    folder.write(ABOUT, json.dumps(about | {"inherited": inherited.as_json()}))


def sibling_folder(job: Job, trial_id: int) -> Folder:
    """Return the folder of another trial of the same run."""
    return Folder(job.folder.parent) / str(trial_id)


def read_candidate(folder: Folder) -> Candidate:
    """Read the candidate that a trial has left in its folder.

    Raises:
        BrokenFile: the file is missing.
        InvalidCandidate: it has no candidate in it.
    """
    return Candidate.from_json(folder.read(CANDIDATE, _MAX_CANDIDATE_BYTES))
