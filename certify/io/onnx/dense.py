"""Products with constant matrices, and BatchNormalization."""

from __future__ import annotations

from collections.abc import Mapping

from certify.graph.double_double import exactly
from certify.io import lowering
from certify.io.einsum import einsum
from certify.io.onnx.call import Call, Handler, Numbers


def _gemm(call: Call) -> str:
    """alpha * A' @ B' + beta * C, one of A and B a constant."""
    trans_a, trans_b = call.attrs.get("transA", 0), call.attrs.get("transB", 0)
    alpha, beta = float(call.attrs.get("alpha", 1.0)), float(call.attrs.get("beta", 1.0))
    _refuse_two_variables(call)
    if call.is_variable(0):
        x = _swapped(call, call.variable(0)) if trans_a else call.variable(0)
        weight = call.required_numbers(1) if trans_b else call.required_numbers(1).T
        y = _linear(call, x, _times(weight, alpha))
    else:
        x = call.variable(1) if trans_b else _swapped(call, call.variable(1))
        weight = call.required_numbers(0).T if trans_a else call.required_numbers(0)
        y = _swapped(call, _linear(call, x, _times(weight, alpha)))
    if call.value(2) is None or beta == 0:
        return y
    if call.is_variable(2):
        return lowering.combine(call.builder, "add", y, lowering.scale(call.builder, call.variable(2), beta, call.name), call.name)
    return lowering.shift(call.builder, y, _times(call.required_numbers(2), beta), call.name)


def _matmul(call: Call) -> str:
    """One factor is constant. A vector is a matrix of one row (left) or one column (right); the product loses that axis again."""
    _refuse_two_variables(call)
    left, right = (call.shape(i) if call.is_variable(i) else call.required_numbers(i).shape for i in (0, 1))
    y = (
        _times_constant(call, len(left), call.required_numbers(1))
        if call.is_variable(0)
        else _constant_times(call, call.required_numbers(0), len(right))
    )
    *batch, rows, columns = call.builder.shape(y)
    shape = (*batch, *((rows,) if len(left) > 1 else ()), *((columns,) if len(right) > 1 else ()))
    return lowering.reshape(call.builder, y, shape, call.name)


def _times_constant(call: Call, rank: int, weight: Numbers) -> str:
    """x @ weight, as a matrix."""
    x = call.variable(0) if rank > 1 else lowering.reshape(call.builder, call.variable(0), (1, *call.shape(0)), call.name)
    return _product(call, x, weight if weight.ndim > 1 else weight[:, None])


def _constant_times(call: Call, weight: Numbers, rank: int) -> str:
    """weight @ x, as a matrix: the transpose of x' @ weight'."""
    x = call.variable(1)
    turned = _swapped(call, x) if rank > 1 else lowering.reshape(call.builder, x, (1, *call.shape(1)), call.name)
    return _swapped(call, _product(call, turned, (weight if weight.ndim > 1 else weight[None]).swapaxes(-1, -2)))


def _product(call: Call, x: str, weight: Numbers) -> str:
    """x @ weight, for x of at least two axes."""
    if weight.ndim == 2:
        return _linear(call, x, weight.T)
    return lowering.matmul(call.builder, x, call.builder.constant(f"{call.name}.weight", weight), call.name)


def _refuse_two_variables(call: Call, first: int = 0, second: int = 1) -> None:
    if call.is_variable(first) and call.is_variable(second):
        raise call.error(
            "multiplies two tensors that both depend on the network's input; only products with a constant have a rule"
        )


def _linear(call: Call, x: str, weight: Numbers) -> str:
    return call.emit("linear", x, params={"weight": weight})


def _swapped(call: Call, x: str) -> str:
    """x with its last two axes swapped."""
    rank = len(call.builder.shape(x))
    return lowering.transpose(call.builder, x, (*range(rank - 2), rank - 1, rank - 2), call.name)


def _times(array: Numbers, factor: float) -> Numbers:
    """The product without loss of digits, or the array as it is where the factor is one."""
    return array if factor == 1 else (exactly(array) * factor).simplest


def _batch_normalization(call: Call) -> str:
    if call.attrs.get("training_mode", 0):
        raise call.error("is in training mode, where it depends on the whole batch; export the model in evaluation mode")
    if call.attrs.get("spatial", 1) != 1:
        raise call.error("has spatial=0, which is not supported")
    gamma, beta, mean, variance = (call.builder.constant(f"{call.name}.{i}", call.required_numbers(i)) for i in range(1, 5))
    epsilon = float(call.attrs.get("epsilon", 1e-5))
    return lowering.batch_norm(call.builder, call.variable(), gamma, beta, mean, variance, epsilon, call.name)


def _einsum(call: Call) -> str:
    """A product that is linear in the one factor that depends on the network's input."""
    (position, *others) = [index for index in range(len(call.inputs)) if call.is_variable(index)]
    if others:
        _refuse_two_variables(call, position, others[0])
    fixed = [call.required_numbers(index) for index in range(len(call.inputs)) if index != position]
    names = [call.builder.constant(f"{call.name}.factor{number}", value) for number, value in enumerate(fixed)]
    equation = call.attrs["equation"].replace(" ", "")
    return einsum(call.builder, equation, call.variable(position), position, names, call.name)


HANDLERS: Mapping[str, Handler] = {"Einsum": _einsum, "Gemm": _gemm, "MatMul": _matmul, "BatchNormalization": _batch_normalization}
