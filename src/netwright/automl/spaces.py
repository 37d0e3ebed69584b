"""The space that is searched: the one that suits the task, or the user's own."""

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

OWN = "own"
"""The name of a space that was passed as an object."""
IMAGE_SPACES = {row.name: row.import_path for row in catalog.IMAGE_SPACES}


def name_of_space(given: Any) -> str:
    """What the run notes of the space that was asked for; empty for the one that suits the task."""
    if not isinstance(given, str):
        return "" if given is None else OWN
    return "" if given == catalog.IMAGE_SPACES[0].name else given


def space_for(brief: TaskMetadata, given: Any = None) -> Space[Pipeline]:
    """The space to search.

    Args:
        brief: of the task; its `space` is taken where it is a name of the catalog.
        given: see `Method`.

    Raises:
        InputError: when `given` is no description, or cannot be imported.
    """
    if isinstance(given, str):
        given = _named(given, brief)
    elif given is None and brief.space in IMAGE_SPACES:
        given = _named(brief.space, brief)
    if given is not None:
        return given if isinstance(given, Space) else _space(given, brief)
    if brief.image is None:
        return Space(table_description(brief))
    return Space(catalog.load(catalog.IMAGE_SPACES[0].import_path)(brief))


def _named(name: str, brief: TaskMetadata) -> Any:
    """A description of the catalog, or what ``module:Object`` is."""
    if name in IMAGE_SPACES:
        if brief.image is None:
            raise InputError(expected("space", "one for tables", name, "Use module:Object."))
        make: Callable[[TaskMetadata], Any] = catalog.load(IMAGE_SPACES[name])
        return make(brief)
    if ":" not in name:
        fix = closest(name, IMAGE_SPACES) or f"Known for images: {', '.join(IMAGE_SPACES)}."
        raise InputError(expected("space", "a known name or module:Object", name, fix))
    return import_object(name, "space")


def _space(description: Any, brief: TaskMetadata) -> Space[Any]:
    """Of a description; a bare `Training` gets the standard preparation."""
    if isinstance(description, Training):
        description = ImagePipeline(description) if brief.image else TablePipeline(description)
    try:
        return Space(description)
    except (SpaceError, TypeError) as error:
        rule = "a Space, or a description with open choices"
        raise InputError(
            f"space must be {rule}, got {type(description).__name__}: {error}"
        ) from error


def check_describes(space: Space[Any], task: Task, metrics: Iterable[str]) -> None:
    """InputError where what the space describes cannot be fitted to the task's features, or has no
    network where one of the metrics is a cost of networks."""
    described = space.fill(space.default())
    images = isinstance(task.features, Images)
    name = "ImagePipeline" if images else "TablePipeline"
    try:
        as_pipeline(described, task)
    except InputError as error:
        rule = f"a Space or a description of {name}s, or a Training, for {name[:5].lower()}s"
        got = Phrase(f"one of {type(described).__name__}")
        raise InputError(expected("space", rule, got)) from error
    if (costs := network_costs(metrics)) and not _holds_network(space.description):
        rule = f"one with a network where {min(costs)} counts"
        raise InputError(expected("space", rule, Phrase("one without")))
    if isinstance(described, Training):
        fix = f"Wrap its description: {name}(Training(...))."
        raise InputError(expected("space", f"one of {name}s", Phrase("a bare Training"), fix))


def _holds_network(part: Any) -> bool:
    """Whether there is a network's recipe anywhere in an open description."""
    return isinstance(part, Training) or any(_holds_network(one) for _, one in children(part))


def table_description(brief: TaskMetadata) -> Pipeline:
    """One of the brief's families: a choice of whole pipelines."""
    found = family_pipelines(brief)
    return OneOf(dict(found), name=FAMILY) if len(found) > 1 else next(iter(found.values()))
