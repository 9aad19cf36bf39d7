"""Norms of vectors and matrices, and distances to constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf

from certify.io import lowering
from certify.io.torch import elementwise
from certify.io.torch.call import Call, Constant, Handler, Operand

Norm = Callable[[Call, str, Sequence[int], bool], str]


def _over(function: str, reduce: Callable[..., str]) -> Norm:
    """A reduction of a function of the elements."""

    def norm(call: Call, x: str, axes: Sequence[int], keepdim: bool) -> str:
        return reduce(call.builder, call.emit(function, [x], step=function), axes, keepdim, call.source)

    return norm


def _root_of_powers(doublings: int) -> Norm:
    """The 2^doublings-th root of the sum of the powers of that exponent; of one element, its absolute value."""

    def norm(call: Call, x: str, axes: Sequence[int], keepdim: bool) -> str:
        if all(call.shape_of(x)[axis] == 1 for axis in axes):
            return _over("abs", _named("reduce_sum"))(call, x, axes, keepdim)
        for i in range(doublings):
            x = call.emit("square", [x], step=f"square{i}")
        y = lowering.reduce(call.builder, "reduce_sum", x, axes, keepdim, call.step("sum"))
        for i in reversed(range(doublings)):
            y = call.emit("sqrt", [y], step=f"root{i}" if i else "")
        return y

    return norm


def _named(op: str) -> Callable[..., str]:
    return lambda builder, x, axes, keepdim, source: lowering.reduce(builder, op, x, axes, keepdim, source)


NORMS: Mapping[float, Norm] = {
    1.0: _over("abs", _named("reduce_sum")),
    2.0: _root_of_powers(1),
    4.0: _root_of_powers(2),
    8.0: _root_of_powers(3),
    inf: _over("abs", _named("reduce_max")),
    -inf: _over("abs", lowering.reduce_min),
}


def _vector(call: Call, x: str, order: float, dim: Sequence[int] | int | None, keepdim: bool) -> str:
    if float(order) not in NORMS:
        raise ValueError(f"the norm of order {order:g} is not supported; those of order 1, 2, 4, 8, inf and -inf are")
    axes = (dim,) if isinstance(dim, int) else tuple(dim or range(len(call.shape_of(x))))
    return NORMS[float(order)](call, x, axes, keepdim)


def _matrix(call: Call, x: str, order: float | str, dim: Sequence[int], keepdim: bool) -> str:
    """The largest, or with a minus the smallest, sum of absolute values in a column (order 1) or a row (inf); the root of all squares."""
    if order in ("fro", None):
        return _vector(call, x, 2.0, dim, keepdim)
    if isinstance(order, str) or abs(order) not in (1.0, inf):
        raise ValueError(f"the matrix norm of order {order} is not supported; those of order 'fro', 1, -1, inf and -inf are")
    rank = len(call.shape_of(x))
    along, across = (axis % rank for axis in (dim if abs(order) == 1 else dim[::-1]))
    absolute = call.emit("abs", [x], step="abs")
    sums = lowering.reduce(call.builder, "reduce_sum", absolute, (along,), True, call.step("sums"))
    extreme = _named("reduce_max") if order > 0 else lowering.reduce_min
    out = extreme(call.builder, sums, (across,), True, call.step("extreme"))
    return lowering.reshape(call.builder, out, call.shape, call.source)


def _vector_norm(
    call: Call, x: Operand, ord: float = 2, dim: Sequence[int] | int | None = None, keepdim: bool = False, **_: object
) -> str:
    return _vector(call, call.variable(x), ord, dim, keepdim)


def _p_norm(
    call: Call, x: Operand, p: float | None = 2, dim: Sequence[int] | None = None, keepdim: bool = False, **_: object
) -> str:
    return _vector(call, call.variable(x), 2.0 if p is None else p, dim, keepdim)


def _matrix_norm(call: Call, x: Operand, ord: float | str, dim: Sequence[int], keepdim: bool, **_: object) -> str:
    return _matrix(call, call.variable(x), ord, dim, keepdim)


def _any_norm(call: Call, x: Operand, ord: float | str | None, dim: Sequence[int] | int | None, keepdim: bool, **_: object) -> str:
    """Of a matrix where an order is given and two axes are, or there are but two; otherwise that of a vector."""
    node = call.variable(x)
    rank = len(call.shape_of(node))
    axes = tuple(range(rank)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if ord is not None and len(axes) == 2:
        return _matrix(call, node, ord, axes, keepdim)
    if isinstance(ord, str):
        raise ValueError(f"the norm {ord!r} is one of matrices")
    return _vector(call, node, 2.0 if ord is None else ord, axes, keepdim)


# --- distances -------------------------------------------------------------------------------------------------------------------


def _difference(call: Call, x: Operand, other: Operand) -> str:
    return elementwise.add(replace(call, source=call.step("difference")), x, other, -1)


def _distance(call: Call, x: Operand, other: Operand, p: float = 2) -> str:
    return _vector(call, _difference(call, x, other), p, None, False)


def _pairwise_distance(call: Call, x1: Operand, x2: Operand, p: float, eps: float, keepdim: bool) -> str:
    """The norms of x1 - x2 + eps along the last axis."""
    shifted = lowering.shift(call.builder, _difference(call, x1, x2), eps, call.step("eps"))
    return _vector(call, shifted, p, -1, keepdim)


def _distances(call: Call, x1: Operand, x2: Operand, p: float = 2, compute_mode: int | None = None) -> str:
    """The norms of all differences between a row of the one and a row of the other."""
    left, right = (_with_axis(call, x, axis) for x, axis in ((x1, -1), (x2, -2)))
    return _vector(call, _difference(call, left, right), p, -1, False)


def _with_axis(call: Call, x: Operand, axis: int) -> Operand:
    shape = list(call.shape_of(x))
    shape.insert(len(shape) + axis, 1)
    if isinstance(x, str):
        return lowering.reshape(call.builder, x, shape, call.step("rows"))
    name = call.changed(x, "rows", lambda value: value.reshape(shape), shape)
    return replace(x, value=x.value.reshape(shape), name=name) if isinstance(x, Constant) else x


HANDLERS: Mapping[str, Handler] = {
    "linalg_vector_norm.default": _vector_norm,
    "norm.Scalar": _p_norm,
    "norm.ScalarOpt_dim": _p_norm,
    "norm.ScalarOpt_dtype": _p_norm,
    "norm.ScalarOpt_dim_dtype": _p_norm,
    "frobenius_norm.dim": lambda call, x, dim, keepdim=False: _vector(call, call.variable(x), 2.0, dim, keepdim),
    "linalg_matrix_norm.default": _matrix_norm,
    "linalg_matrix_norm.str_ord": _matrix_norm,
    "linalg_norm.default": _any_norm,
    "linalg_norm.ord_str": _any_norm,
    "dist.default": _distance,
    "pairwise_distance.default": _pairwise_distance,
    "cdist.default": _distances,
}
