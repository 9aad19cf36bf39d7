"""Affine maps with weights: matrix products, convolutions, normalisation by fixed statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from certify.graph import Shape
from certify.io import lowering
from certify.io.torch.call import Call, Handler, Operand


def _linear(call: Call, x: Operand, weight: Operand, bias: Operand = None) -> str:
    node = call.variable(x)
    if len(call.shape_of(weight)) == 1:
        return matmul(call, node, weight, call.source)
    return call.emit("linear", [node], _weighted(call, weight, bias))


def _weighted(call: Call, weight: Operand, bias: Operand) -> dict[str, str]:
    params = {"weight": call.constant(weight, "weight")}
    return params if bias is None else {**params, "bias": call.constant(bias, "bias")}


def _matmul(call: Call, x: Operand, other: Operand) -> str:
    return matmul(call, x, other, call.source)


def matmul(call: Call, x: Operand, other: Operand, source: str) -> str:
    """x @ other, one of which is constant. Vectors become matrices of one row or column, and lose that axis again at the end."""
    if isinstance(x, str) and isinstance(other, str):
        raise ValueError("both factors depend on the network's input, and products of two perturbed matrices are not supported yet")
    left, right = call.shape_of(x), call.shape_of(other)
    step = f"{source}.product" if 1 in (len(left), len(right)) else source
    product = _times_constant(call, x, other, step) if isinstance(x, str) else _constant_times(call, x, call.variable(other), step)
    shape = torch.matmul(torch.empty(left, device="meta"), torch.empty(right, device="meta")).shape
    return lowering.reshape(call.builder, product, tuple(shape), source)


def _times_constant(call: Call, x: str, weight: Operand, source: str) -> str:
    """x @ W for a matrix W: a linear layer whose rows are those of W.T. Several matrices are multiplied as they are."""
    node = lowering.reshape(call.builder, x, _at_least_2d(call.shape_of(x), front=True), f"{source}.row")
    shape = _at_least_2d(call.shape_of(weight), front=False)
    if len(shape) > 2:
        return lowering.matmul(call.builder, node, call.constant(weight, "weight"), source)
    rows = call.changed(weight, "rows", lambda value: value.reshape(shape).T, (shape[1], shape[0]))
    return call.builder.add("linear", [node], {"weight": rows}, source=source)


def _constant_times(call: Call, weight: Operand, x: str, source: str) -> str:
    """W @ x = (x.T @ W.T).T"""
    column = lowering.reshape(call.builder, x, _at_least_2d(call.shape_of(x), front=False), f"{source}.column")
    turned = _turn(call, column, f"{source}.turned")
    shape = _at_least_2d(call.shape_of(weight), front=True)
    if len(shape) > 2:
        swapped = call.changed(weight, "turned", lambda value: value.swapaxes(-1, -2), (*shape[:-2], shape[-1], shape[-2]))
        product = lowering.matmul(call.builder, turned, swapped, f"{source}.product")
    else:
        rows = call.changed(weight, "rows", lambda value: value.reshape(shape), shape)
        product = call.builder.add("linear", [turned], {"weight": rows}, source=f"{source}.product")
    return _turn(call, product, source)


def _at_least_2d(shape: Shape, front: bool) -> Shape:
    """The shape of a vector as a row (an axis in front) or a column; that of a matrix as it is."""
    return shape if len(shape) > 1 else (1, *shape) if front else (*shape, 1)


def _turn(call: Call, x: str, source: str) -> str:
    rank = len(call.shape_of(x))
    return lowering.transpose(call.builder, x, (*range(rank - 2), rank - 1, rank - 2), source)


def _addmm(call: Call, x: Operand, mat1: Operand, mat2: Operand, beta: float = 1, alpha: float = 1) -> str:
    """beta * x + alpha * mat1 @ mat2"""
    return _plus_product(call, x, matmul(call, mat1, mat2, call.step("product")), beta, alpha)


def _baddbmm(call: Call, x: Operand, batch1: Operand, batch2: Operand, beta: float = 1, alpha: float = 1) -> str:
    return _addmm(call, x, batch1, batch2, beta, alpha)


def _plus_product(call: Call, x: Operand, product: str, beta: float, alpha: float) -> str:
    if alpha != 1:
        product = lowering.scale(call.builder, product, float(alpha), call.step("alpha"))
    if isinstance(x, str):
        added = x if beta == 1 else lowering.scale(call.builder, x, float(beta), call.step("beta"))
        return lowering.combine(call.builder, "add", product, added, call.source)
    shape = call.shape_of(x)
    bias = call.constant(x, "bias") if beta == 1 else call.changed(x, "bias", lambda value: float(beta) * value, shape)
    return lowering.shift(call.builder, product, bias, call.source)


# --- convolution -----------------------------------------------------------------------------------------------------------


def _conv(
    call: Call,
    x: Operand,
    weight: Operand,
    bias: Operand,
    stride: Sequence[int],
    padding: Sequence[int] | str,
    dilation: Sequence[int],
    groups: int,
) -> str:
    kernel, space = _kernel(call, weight)
    dilation = spread(dilation, space)
    before, after = _amounts(padding, kernel, dilation)
    node, result = _batched(call, call.variable(x), space)
    out = lowering.conv(
        call.builder,
        node,
        call.constant(weight, "weight"),
        None if bias is None else call.constant(bias, "bias"),
        stride=spread(stride, space),
        before=before,
        after=after,
        dilation=dilation,
        groups=groups,
        source=call.step("" if result is None else "batched"),
    )
    return out if result is None else lowering.reshape(call.builder, out, result, call.source)


def _conv_transpose(
    call: Call,
    x: Operand,
    weight: Operand,
    bias: Operand,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
) -> str:
    _, space = _kernel(call, weight)
    node, result = _batched(call, call.variable(x), space)
    attrs = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    out = call.emit(
        "conv_transpose",
        [node],
        _weighted(call, weight, bias),
        step="" if result is None else "batched",
        groups=groups,
        **{name: spread(value, space) for name, value in attrs.items()},
    )
    return out if result is None else lowering.reshape(call.builder, out, result, call.source)


def _convolution(
    call: Call,
    x: Operand,
    weight: Operand,
    bias: Operand,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> str:
    if transposed:
        return _conv_transpose(call, x, weight, bias, stride, padding, output_padding, groups, dilation)
    return _conv(call, x, weight, bias, stride, padding, dilation, groups)


def _kernel(call: Call, weight: Operand) -> tuple[Shape, int]:
    """Sizes of the kernel, and the number of axes it slides along."""
    kernel = call.shape_of(weight)[2:]
    return kernel, len(kernel)


def _batched(call: Call, x: str, space: int) -> tuple[str, Shape | None]:
    """x with a batch axis in front, and the shape that the result gets back where there was none."""
    shape = call.shape_of(x)
    if len(shape) == space + 2:
        return x, None
    return lowering.reshape(call.builder, x, (1, *shape), call.step("batch")), call.shape


def _amounts(padding: Sequence[int] | str, kernel: Shape, dilation: Shape) -> tuple[Shape, Shape]:
    """Cells added before and after each axis; of an odd number "same" puts the larger half after."""
    if padding == "same":
        total = tuple(d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
        return tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    amounts = (0,) * len(kernel) if isinstance(padding, str) else spread(padding, len(kernel))  # the other name is "valid"
    return amounts, amounts


def spread(values: Sequence[int] | int, axes: int) -> Shape:
    """One number for every axis, as torch reads a single one."""
    values = (values,) if isinstance(values, int) else tuple(values)
    return values * axes if len(values) == 1 else values


# --- normalisation ---------------------------------------------------------------------------------------------------------


def _batch_norm(
    call: Call,
    x: Operand,
    weight: Operand,
    bias: Operand,
    running_mean: Operand,
    running_var: Operand,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    cudnn_enabled: bool = False,
) -> str:
    if training or running_mean is None:
        raise ValueError("it uses the statistics of the batch; call .eval() on the module, with running statistics, first")
    return lowering.batch_norm(
        call.builder,
        call.variable(x),
        None if weight is None else call.constant(weight, "gamma"),
        None if bias is None else call.constant(bias, "beta"),
        call.constant(running_mean, "mean"),
        call.constant(running_var, "variance"),
        eps,
        call.source,
    )


def _decomposed_batch_norm(call: Call, **arguments: object) -> list[str | None]:
    """BatchNorm of a decomposed program, which also returns statistics that nobody reads."""
    return [_batch_norm(call, **arguments), None, None]  # type: ignore[arg-type]


def _dropout(call: Call, x: Operand, p: float, train: bool = False, training: bool = False, **_: object) -> str:
    if (train or training) and p > 0:
        raise ValueError("it is random in training mode; call .eval() on the module first")
    return call.variable(x)


DROPOUTS = "dropout feature_dropout alpha_dropout feature_alpha_dropout"

HANDLERS: Mapping[str, Handler] = {
    "linear.default": _linear,
    "matmul.default": _matmul,
    "mm.default": lambda call, x, mat2: _matmul(call, x, mat2),
    "bmm.default": lambda call, x, mat2: _matmul(call, x, mat2),
    "mv.default": lambda call, x, vec: _matmul(call, x, vec),
    "dot.default": lambda call, x, tensor: _matmul(call, x, tensor),
    "addmm.default": _addmm,
    "addmv.default": lambda call, x, mat, vec, **factors: _addmm(call, x, mat, vec, **factors),
    "baddbmm.default": _baddbmm,
    **{f"conv{n}d.{overload}": _conv for n in (1, 2, 3) for overload in ("default", "padding")},
    "conv_transpose1d.default": _conv_transpose,
    "conv_transpose2d.input": _conv_transpose,
    "conv_transpose3d.input": _conv_transpose,
    "convolution.default": _convolution,
    "batch_norm.default": _batch_norm,
    "_native_batch_norm_legit_no_training.default": _decomposed_batch_norm,
    **{f"{name}.default": _dropout for name in DROPOUTS.split()},
}
