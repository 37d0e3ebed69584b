"""The operators that a model file may have: those that our exporter writes.

None of them has a body, draws random numbers, reads a file or runs code, so that a graph of them
ends. An export checks what it wrote against this table, too: a step that needs another operator
fails there first, and is entered here.
"""

from __future__ import annotations

from typing import Final

ONNX, ML = "", "ai.onnx.ml"
"""Domains of the operators; no other is let through."""
MAX_OPSET: Final = {ONNX: 20, ML: 3}
"""The operator sets that our exporter has ever declared, at the most."""

_STEPS = {
    "Add", "ArgMax", "Cast", "Clip", "Concat", "Div", "Equal", "Exp", "Expand", "Gather",
    "GreaterOrEqual", "Identity", "IsNaN", "Less", "LessOrEqual", "Log", "MatMul", "Max", "Min",
    "Mod", "Mul", "Pow", "ReduceSum", "RegexFullMatch", "Slice", "Softmax", "Sqrt", "Squeeze",
    "StringConcat", "StringSplit", "Sub", "Sum", "TfIdfVectorizer", "Transpose", "Unsqueeze",
    "Where",
}  # fmt: skip
"""Written by the steps of pipelines (`Nodes.add`) and by the heads of the file."""
_LAYERS = {
    "AveragePool", "BatchNormalization", "Constant", "ConstantOfShape", "Conv", "Cos", "Elu", "Erf",
    "Flatten", "GRU", "Gemm", "HardSwish", "InstanceNormalization", "LSTM", "LayerNormalization",
    "LeakyRelu", "LogSoftmax", "MaxPool", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "Relu",
    "Reshape", "Selu", "Shape", "Sigmoid", "Sin", "Softplus", "Split", "Tanh",
}  # fmt: skip
"""Written by torch for the layers of networks."""
_LAYERS_OF_USERS = {
    "Abs", "Acos", "Acosh", "And", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu",
    "Cosh", "CumSum", "Floor", "Gelu", "GatherElements", "GlobalAveragePool",
    "GlobalMaxPool", "Greater", "GroupNormalization", "HardSigmoid", "Hardmax", "IsInf", "LRN",
    "LpNormalization", "LpPool", "GlobalLpPool", "Mean", "Mish", "Neg", "Not", "Or", "PRelu",
    "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceMin", "ReduceProd",
    "ReduceSumSquare", "Round", "Sign", "Sinh", "Size", "Softsign", "Tan", "ThresholdedRelu",
    "TopK", "Xor",
}  # fmt: skip
"""For layers that users write themselves: arithmetic of the same kind, of no more than it is fed."""
_MODELS = {"LabelEncoder", "TreeEnsembleRegressor"}

OPERATORS: Final = frozenset(
    [(ONNX, name) for name in _STEPS | _LAYERS | _LAYERS_OF_USERS]
    + [(ML, name) for name in _MODELS]
)
"""(domain, operator): the whole table."""
OPERATOR_NAMES: Final = frozenset((domain.encode(), name.encode()) for domain, name in OPERATORS)
"""The same as they stand in a file."""

SIZE_ATTRIBUTES: Final = frozenset({
    b"dilations", b"group", b"hidden_size", b"kernel_shape", b"n_targets", b"ngram_indexes", b"pads",
    b"strides",
})  # fmt: skip
"""Attributes that say how much an operator writes or walks over."""
TREE_MODES: Final = ("LEAF", "BRANCH_LEQ")
"""Texts that stand once for each node of a tree, by the million."""
