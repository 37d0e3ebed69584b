"""Search spaces: the default for a task, those of the catalog, and the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from netwright import catalog
from netwright.automl.name_resolution import import_object
from netwright.automl.tabular.families import family_pipelines
from netwright.automl.task_metadata import TaskMetadata
from netwright.data.task import Images, Task
from netwright.errors import InputError, Phrase, SpaceError, closest, expected
from netwright.networks.training.recipe import Training
from netwright.pipelines.pipeline import ImagePipeline, Pipeline, TablePipeline, as_pipeline
from netwright.space.choices import OneOf
from netwright.space.space import Space
from netwright.space.visitor import children
from netwright.trials.metrics import network_costs
from netwright.trials.trial import FAMILY

UNNAMED_SPACE = "own"
"""Name that a run records for a space that was passed as an object."""
IMAGE_SPACES = {row.name: row.import_path for row in catalog.IMAGE_SPACES}


def space_name(own_space: object) -> str:
    """Return the name that a run records for the user's space; empty for the default space."""
    if not isinstance(own_space, str):
        return "" if own_space is None else UNNAMED_SPACE
    return "" if own_space == catalog.IMAGE_SPACES[0].name else own_space


def space_for(metadata: TaskMetadata, own_space: object = None) -> Space[Pipeline]:
    """Return the space to search.

    Args:
        metadata: of the task; its `space` is used if it is a name of the catalog.
        own_space: the user's space, see `Method`.

    Raises:
        InputError: `own_space` is not a description, or cannot be imported.
    """
    if isinstance(own_space, str):
        own_space = _load_space(own_space, metadata)
    elif own_space is None and metadata.space in IMAGE_SPACES:
        own_space = _load_space(metadata.space, metadata)
    if own_space is not None:
        return own_space if isinstance(own_space, Space) else _as_space(own_space, metadata)
    if metadata.image is None:
        return Space(table_description(metadata))
    return Space(catalog.load(catalog.IMAGE_SPACES[0].import_path)(metadata))


def _load_space(name: str, metadata: TaskMetadata) -> object:
    """Return the space or description with this name of the catalog, or at ``module:Object``."""
    if name in IMAGE_SPACES:
        if metadata.image is None:
            raise InputError(expected("space", "one for tables", name, "Use module:Object."))
        make_description: Callable[[TaskMetadata], object] = catalog.load(IMAGE_SPACES[name])
        return make_description(metadata)
    if ":" not in name:
        fix = closest(name, IMAGE_SPACES) or f"Known for images: {', '.join(IMAGE_SPACES)}."
        raise InputError(expected("space", "a known name or module:Object", name, fix))
    return import_object(name, "space")


def _as_space(description: Any, metadata: TaskMetadata) -> Space[Any]:  # noqa: ANN401  # any tree
    """Make a space of a description; a bare `Training` gets the default preprocessing."""
    if isinstance(description, Training):
        make_pipeline = ImagePipeline if metadata.image else TablePipeline
        description = make_pipeline(description)
    try:
        return Space(description)
    except (SpaceError, TypeError) as error:
        rule = "a Space, or a description with open choices"
        raise InputError(
            f"space must be {rule}, got {type(description).__name__}: {error}"
        ) from error


def check_space_fits_task(space: Space[Any], task: Task, metrics: Iterable[str]) -> None:
    """Check that the space describes models for the task's features.

    Raises:
        InputError: It describes something else, or has no network although one of the metrics is a
            cost of networks.
    """
    described = space.fill(space.default())
    images = isinstance(task.features, Images)
    name = "ImagePipeline" if images else "TablePipeline"
    try:
        as_pipeline(described, task)
    except InputError as error:
        rule = f"a Space or a description of {name}s, or a Training, for {name[:5].lower()}s"
        got = Phrase(f"one of {type(described).__name__}")
        raise InputError(expected("space", rule, got)) from error
    if (costs := network_costs(metrics)) and not _has_network(space.description):
        rule = f"one with a network, since {min(costs)} is an objective or a limit"
        raise InputError(expected("space", rule, Phrase("one without")))
    if isinstance(described, Training):
        fix = f"Wrap its description: {name}(Training(...))."
        raise InputError(expected("space", f"one of {name}s", Phrase("a bare Training"), fix))


def _has_network(description: object) -> bool:
    """Return whether an open description contains the training of a network."""
    if isinstance(description, Training):
        return True
    return any(_has_network(child) for _, child in children(description))


def table_description(metadata: TaskMetadata) -> Pipeline:
    """Return the choice among the pipelines of the families, or the pipeline of a single one."""
    pipelines = family_pipelines(metadata)
    if len(pipelines) > 1:
        return OneOf(dict(pipelines), name=FAMILY)
    return next(iter(pipelines.values()))
