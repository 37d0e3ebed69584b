"""The operators that a model file may have: those that our exporter writes.

None of them has a body, draws random numbers, reads a file or runs code, so that a graph of them
terminates. An export checks its own file against this table, too: a step that needs another
operator fails there first, and adds it here.
"""

from __future__ import annotations

from typing import Final

ONNX, ML = "", "ai.onnx.ml"
"""Domains of operators; all others are refused."""
MAX_OPSET: Final = {ONNX: 20, ML: 3}
"""The latest operator set of each domain that our exporter has declared."""

_PIPELINE_OPERATORS = {
    "Add", "ArgMax", "Cast", "Clip", "Concat", "Div", "Equal", "Exp", "Expand", "Gather",
    "GreaterOrEqual", "Identity", "IsNaN", "Less", "LessOrEqual", "Log", "MatMul", "Max", "Min",
    "Mod", "Mul", "Pow", "ReduceSum", "RegexFullMatch", "Slice", "Softmax", "Sqrt", "Squeeze",
    "StringConcat", "StringSplit", "Sub", "Sum", "TfIdfVectorizer", "Transpose", "Unsqueeze",
    "Where",
}  # fmt: skip
"""Written by the steps of pipelines (`OnnxGraphBuilder.add`) and by the outputs of the file."""
_LAYER_OPERATORS = {
    "AveragePool", "BatchNormalization", "Constant", "ConstantOfShape", "Conv", "Cos", "Elu", "Erf",
    "Flatten", "GRU", "Gemm", "HardSwish", "InstanceNormalization", "LSTM", "LayerNormalization",
    "LeakyRelu", "LogSoftmax", "MaxPool", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "Relu",
    "Reshape", "Selu", "Shape", "Sigmoid", "Sin", "Softplus", "Split", "Tanh",
}  # fmt: skip
"""Written by torch for netwright's layers."""
_USER_LAYER_OPERATORS = {
    "Abs", "Acos", "Acosh", "And", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu",
    "Cosh", "CumSum", "Floor", "Gelu", "GatherElements", "GlobalAveragePool",
    "GlobalMaxPool", "Greater", "GroupNormalization", "HardSigmoid", "Hardmax", "IsInf", "LRN",
    "LpNormalization", "LpPool", "GlobalLpPool", "Mean", "Mish", "Neg", "Not", "Or", "PRelu",
    "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceMin", "ReduceProd",
    "ReduceSumSquare", "Round", "Sign", "Sinh", "Size", "Softsign", "Tan", "ThresholdedRelu",
    "TopK", "Xor",
}  # fmt: skip
"""For layers of users: arithmetic whose output is no larger than its input."""
_ML_OPERATORS = {"LabelEncoder", "TreeEnsembleRegressor"}

OPERATORS: Final = frozenset(
    [(ONNX, name) for name in _PIPELINE_OPERATORS | _LAYER_OPERATORS | _USER_LAYER_OPERATORS]
    + [(ML, name) for name in _ML_OPERATORS]
)
"""All permitted (domain, operator) pairs."""
OPERATOR_NAMES: Final = frozenset((domain.encode(), name.encode()) for domain, name in OPERATORS)
"""The same pairs as bytes, as a file has them."""

SIZE_ATTRIBUTES: Final = frozenset({
    b"dilations", b"group", b"hidden_size", b"kernel_shape", b"n_targets", b"ngram_indexes", b"pads",
    b"strides",
})  # fmt: skip
"""Attributes that determine how much an operator writes or reads."""
TREE_MODES: Final = ("LEAF", "BRANCH_LEQ")
"""Texts that a file repeats for each node of each tree."""
