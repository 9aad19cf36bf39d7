"""All ONNX operators that the importer knows, and what to do about some that it refuses."""

from __future__ import annotations

from collections.abc import Mapping

from certify.io.onnx import arithmetic, choices, dense, elementwise, infinities, moves, reduce, resize, scatter, structure, windows
from certify.io.onnx.call import Handler

HANDLERS: Mapping[str, Handler] = {
    **elementwise.HANDLERS,
    **arithmetic.HANDLERS,
    **choices.HANDLERS,
    **dense.HANDLERS,
    **windows.HANDLERS,
    **reduce.HANDLERS,
    **resize.HANDLERS,
    **moves.HANDLERS,
    **structure.HANDLERS,
    **infinities.HANDLERS,
    **scatter.HANDLERS,
}

# What is done to comparisons and to tensors with infinite entries, which are no nodes of the graph.
CONDITIONED = choices.CONDITIONED
MASKED: Mapping[str, Handler] = {**infinities.MASKED, **{op: choices.HANDLERS[op] for op in ("Where", "Max", "Min")}}

# Which of them take whole numbers that depend on the network's input.
INTEGER = structure.INTEGER | {*moves.HANDLERS}

# What else a model may hold: operators that make constants of nothing or of shapes.
OPERATORS = sorted({*HANDLERS, "Constant", "ConstantOfShape", "EyeLike", "Range"})

_PRODUCT = "attention and normalisation by own statistics have no bounds yet; a product of two tensors element by element (Mul) has"
_DISCRETE = "a discrete choice has no bounds; compare the scores before it, in the property"
_LOGITS = "export the model without it and verify the scores: the largest class is the same"
_QUANTISED = "quantised models are not supported; export the model in floating point"
_CONTROL = "control flow is not supported; export the model without it"
_RANDOM = "draws random numbers; export the model in evaluation mode"

# Refused even where all inputs are constants: the value is not theirs alone.
RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
CONTROL = ("If", "Loop", "Scan")

# Why an operator is refused where its input is not constant, and how to go on.
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _LOGITS),
    **dict.fromkeys(("LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization", "LRN"), _PRODUCT),
    **dict.fromkeys(("Attention", "RotaryEmbedding"), _PRODUCT),
    **dict.fromkeys(("ArgMax", "ArgMin", "TopK", "NonZero", "OneHot", "Equal", "And", "Or", "Xor"), _DISCRETE),
    **dict.fromkeys(("NonMaxSuppression", "Unique"), _DISCRETE),
    **dict.fromkeys(
        ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"), _QUANTISED
    ),
    **dict.fromkeys(CONTROL, _CONTROL),
    **dict.fromkeys(RANDOM, _RANDOM),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "recurrent layers are not supported; unroll them into Gemm and element-wise operators"),
}
