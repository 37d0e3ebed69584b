"""The space that suits a task: preparation, model and recipe in one description."""

from __future__ import annotations

from netwright.automl.image.space import image_description
from netwright.automl.tabular.families import families
from netwright.automl.task_metadata import Brief
from netwright.pipelines.pipeline import Pipeline
from netwright.space.choices import OneOf
from netwright.space.space import Space
from netwright.trials.trial import FAMILY


def space_for(brief: Brief) -> Space[Pipeline]:
    """The space searched when the user gives none."""
    return Space(image_description(brief) if brief.image else table_description(brief))


def table_description(brief: Brief) -> Pipeline:
    """One of the brief's families: a choice of whole pipelines."""
    found = families(brief)
    return OneOf(dict(found), name=FAMILY) if len(found) > 1 else next(iter(found.values()))
