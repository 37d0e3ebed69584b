"""The fitted preparation: all steps of a pipeline, from a task's features to one tensor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Images, Table
from netwright.pipelines.interfaces import Inputs
from netwright.pipelines.onnx.graph_builder import Nodes
from netwright.pipelines.preprocessing.arithmetic_features import Pair
from netwright.pipelines.preprocessing.categories import FittedCategories
from netwright.pipelines.preprocessing.encoders import Aims, OneHots, TargetMeans
from netwright.pipelines.preprocessing.exact import ExactNumber
from netwright.pipelines.preprocessing.numeric import FittedNumeric
from netwright.pipelines.preprocessing.pixels import FittedScale
from netwright.pipelines.preprocessing.scales import Affine, Quantiles
from netwright.pipelines.preprocessing.steps import joined
from netwright.pipelines.preprocessing.text import FittedText

Groups: TypeAlias = NDArray[np.int64] | None
"""(rows,): rows of one group belong together; see `Task.groups`."""


class Preparation(Protocol):
    """Fitted steps: from the task's own kind of features to the one tensor a model takes."""

    def inputs(self, features: Any, /) -> NDArray[Any]:
        """Any rows but those learnt from."""
        ...

    def training_inputs(
        self, features: Any, aims: Aims, seed: int, groups: Groups = None, /
    ) -> NDArray[Any]:
        """The rows learnt from, with their targets, of which a row is not told its own.

        Nor those of its group. The same as `inputs` where no step knows the target.
        """
        ...

    def emit(self, nodes: Nodes) -> str:
        """`inputs` as nodes; returns the tensor's name."""
        ...

    def for_network(self, outputs: int) -> Inputs:
        """What the model is told of its inputs."""
        ...

    @property
    def supervised(self) -> bool:
        """Whether a step knows the targets of the rows it was fitted on."""
        ...

    def sharing(self, whole: Any, /) -> Preparation:
        """With those steps of `whole`, fitted on more rows, that know no target."""
        ...


@dataclass(frozen=True)
class TableInputs:
    """Fitted preparation of a table: numbers, texts, then categories, whose codes come last."""

    numeric: FittedNumeric
    categories: FittedCategories
    text: FittedText

    def inputs(self, features: Table) -> NDArray[np.float32]:
        """(rows, columns), float32."""
        return self._matrix(features, self.categories.inputs(features))

    def training_inputs(
        self, features: Table, aims: Aims, seed: int, groups: Groups = None
    ) -> NDArray[np.float32]:
        coded = self.categories.training_inputs(features, aims, seed, groups)
        return self._matrix(features, coded)

    @property
    def supervised(self) -> bool:
        return bool(self._knowing)

    def sharing(self, whole: TableInputs) -> TableInputs:
        steps = {name: getattr(whole, name) for name in ("numeric", "categories", "text")}
        return replace(self, **{n: one for n, one in steps.items() if n not in whole._knowing})

    @property
    def _knowing(self) -> set[str]:
        """The steps that know targets: pairs, crosses and terms are chosen by them."""
        coded = self.categories.means.columns or self.categories.crosses
        knows = {"numeric": self.numeric.pairs, "categories": coded, "text": self.text.columns}
        return {name for name, what in knows.items() if what}

    def _matrix(self, features: Table, coded: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = [self.numeric.inputs(features), self.text.inputs(features), coded]
        return np.concatenate(parts, axis=1)

    def emit(self, nodes: Nodes) -> str:
        steps = [step for step in (self.numeric, self.text, self.categories) if step.outputs]
        return joined(nodes, [step.emit(nodes) for step in steps])

    def for_network(self, outputs: int) -> Inputs:
        width = self.numeric.outputs + self.text.outputs + self.categories.outputs
        given = {"outputs": outputs, "cardinalities": self.categories.cardinalities}
        return Inputs((width,), given)


@dataclass(frozen=True)
class ImageInputs:
    """Fitted preparation of images: the first layer of the network scales them."""

    scale: FittedScale
    size: tuple[int, int, int]
    """Height, width, channels of the training images."""

    @property
    def supervised(self) -> bool:
        return False

    def sharing(self, whole: ImageInputs) -> ImageInputs:
        return whole

    def inputs(self, features: Images) -> NDArray[np.uint8]:
        """(rows, c, h, w), uint8."""
        return self.scale.inputs(features)

    def training_inputs(
        self, features: Images, aims: Aims, seed: int, groups: Groups = None
    ) -> NDArray[np.uint8]:
        return self.inputs(features)

    def emit(self, nodes: Nodes) -> str:
        return self.scale.emit(nodes, "image")

    def for_network(self, outputs: int) -> Inputs:
        h, w, c = self.size
        return Inputs((c, h, w), {"outputs": outputs}, self.scale.mean, self.scale.std)


STEPS = (
    TableInputs, ImageInputs, FittedNumeric, Pair, Affine, Quantiles, FittedCategories, OneHots,
    TargetMeans, FittedText, FittedScale, ExactNumber,
)  # fmt: skip
"""Everything that a kept preparation is made of."""
