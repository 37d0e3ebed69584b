"""Describe networks in a few words, and what a mutation changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from itertools import groupby

from netwright.networks.layers.channel_tower import ChannelTower
from netwright.networks.layers.views import AxisAsChannels
from netwright.networks.training.recipe import Training
from netwright.pipelines.interfaces import Learner
from netwright.pipelines.pipeline import ImagePipeline
from netwright.space.candidate import Candidate

_OMITTED_LAYERS = {
    "GlobalPool",
    "Dropout",
    "Skip",
    "Linear",
    "Columns",
    "Given",
    "OneHotOrEmbedding",
    "Activation",
    "Multiply",
    "Pool",
    "RowAndColumnMeans",
    "Whitening",
}
"""Layers that nearly every network has, or that come with another one, left out."""
_LAYER_NAMES = {
    "AxialConv": "conv",
    "ConvNeXtBlock": "convnext",
    "ImageAttention": "attention",
    "OneHotPixels": "codes",
}
"""Name of a layer in a description, where it is not its class's."""
_SIZE_FIELDS = ("channels", "features", "expand", "heads", "size")
_TREE_SETTINGS = {
    "num_leaves": "leaves",
    "max_leaf_nodes": "leaves",
    "max_depth": "depth",
    "depth": "depth",
}
"""Setting of a tree learner -> its name in a description."""


def summary(description: object, length: int = 34) -> str:
    """Return the layers that distinguish a network: ``conv 16, 2 residual, conv 32``.

    For images, what candidates differ in comes first: the view, then the augmentations.
    """
    network = _network(description)
    words = list(_learner(network)) if isinstance(network, Learner) else _sized(_words(network))
    if isinstance(description, ImagePipeline) and isinstance(description.model, Training):
        view, layers = (words[:1], words[1:]) if _starts_with_view(words) else ([], words)
        words = [*view, *_of_recipe(description.model), *layers]
    runs = [(word, len(list(same))) for word, same in groupby(words)]
    text = ", ".join(f"{n} {word}" if n > 1 else word for word, n in runs) or "linear"
    return text if len(text) <= length else text[: length - 1].rstrip(", ") + "…"


def _network(description: object) -> object:
    """Return the network inside a pipeline or a recipe."""
    while not isinstance(description, Training) and hasattr(description, "model"):
        description = description.model
    return description.network if isinstance(description, Training) else description


def _learner(learner: object) -> Iterator[str]:
    """Yield the words of ``LightGBM, leaves 31, rate 0.05``."""
    yield type(learner).__name__
    for setting, name in _TREE_SETTINGS.items():
        if hasattr(learner, setting) and hasattr(learner, "learning_rate"):
            yield f"{name} {getattr(learner, setting)}"
    if hasattr(learner, "learning_rate"):
        yield f"rate {show_value(learner.learning_rate)}"


def _sized(words: Iterable[str]) -> list[str]:
    """Give a layer without a size of its own that of the same layer before it, which it keeps."""
    sized: list[str] = []
    for word in words:
        keeps_size = bool(sized) and sized[-1].partition(" ")[0] == word == "conv"
        sized.append(sized[-1] if keeps_size else word)
    return sized


def _starts_with_view(words: list[str]) -> bool:
    """Return whether the first layer changes the view of the data."""
    return bool(words) and ("channel" in words[0] or words[0] == _LAYER_NAMES["OneHotPixels"])


def _of_recipe(recipe: Training) -> Iterator[str]:
    """Yield ``balanced classes`` and ``shift``, ``flip``, ``vertical flip``, or ``unaugmented``."""
    if recipe.class_weight == "balanced":
        yield "balanced classes"
    if not recipe.augment:
        yield "unaugmented"
    for augmentation in recipe.augment:
        is_vertical = getattr(augmentation, "axis", "") == "vertical"
        yield f"{'vertical ' if is_vertical else ''}{type(augmentation).__name__.lower()}"


def _words(network: object) -> Iterator[str]:
    if isinstance(network, AxisAsChannels):
        yield f"{network.axis} as channels"
    elif isinstance(network, ChannelTower):
        yield "channel tower" if network.combine == "sum_product" else f"channel {network.combine}"
        yield from _words(network.body)
    elif isinstance(network, tuple):
        for layer in network:
            yield from _words(layer)
    elif isinstance(network, Mapping):
        for layer in network.values():
            yield from _words(layer)
    elif is_dataclass(network) and type(network).__name__ == "Columns":
        for field in fields(network):
            yield from (word for word in _words(getattr(network, field.name)) if word != "skip")
    elif is_dataclass(network) and (name := type(network).__name__) not in _OMITTED_LAYERS:
        sizes = [
            getattr(network, attribute) for attribute in _SIZE_FIELDS if hasattr(network, attribute)
        ]
        first_size = [str(size) for size in sizes[:1] if isinstance(size, int) and size]
        yield " ".join([_LAYER_NAMES.get(name, name.lower()), *first_size])
    elif type(network).__name__ == "Linear" and isinstance(getattr(network, "features", 0), int):
        yield f"linear {network.features}"  # type: ignore[attr-defined]  # just asked


def changes(parent: Candidate, child: Candidate) -> Iterator[str]:
    """Yield ``network.1.times 2 -> 3`` for each decision that differs, shorter paths first."""
    before, after = parent.values, child.values
    for path in sorted({*before, *after}, key=lambda path: (path.count("."), path)):
        if path in before and path in after and before[path] != after[path]:
            yield f"{path} {show_value(before[path])} -> {show_value(after[path])}"


def show_value(decision: object) -> str:
    """Format a decision for people: floats with three significant digits, subsets in braces."""
    if isinstance(decision, float):
        return f"{decision:.3g}"
    if isinstance(decision, tuple):
        return "{" + ", ".join(map(show_value, decision)) + "}"
    return str(decision)
