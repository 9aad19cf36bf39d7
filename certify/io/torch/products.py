"""Products with constants other than matrix products, and sums along axes: what is linear in the one factor that is no constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from string import ascii_lowercase

import numpy as np
import torch

from certify.graph.double_double import exactly
from certify.graph.shapes import broadcast
from certify.io import lowering, pooling
from certify.io.einsum import einsum
from certify.io.torch import elementwise
from certify.io.torch.call import Call, Constant, Handler, Operand, Outputs
from certify.io.torch.dense import matmul


def _contracted(call: Call, equation: str, tensors: Sequence[Operand], source: str) -> str:
    variables = [i for i, tensor in enumerate(tensors) if isinstance(tensor, str)]
    if len(variables) > 1:
        raise ValueError("two of its factors depend on the network's input, and such products are not supported yet")
    (position,) = variables
    constants = [call.constant(t, f"factor{i}") for i, t in enumerate(tensors) if isinstance(t, Constant)]
    return einsum(call.builder, equation, call.variable(tensors[position]), position, constants, source)


def _einsum(call: Call, equation: str, tensors: Sequence[Operand], path: object = None) -> str:
    return _contracted(call, equation, tensors, call.source)


def _tensordot(call: Call, x: Operand, other: Operand, dims_self: Sequence[int], dims_other: Sequence[int]) -> str:
    left, right = len(call.shape_of(x)), len(call.shape_of(other))
    letters = iter(ascii_lowercase)
    first = [next(letters) for _ in range(left)]
    second = [next(letters) for _ in range(right)]
    for i, j in zip(dims_self, dims_other, strict=True):
        second[j % right] = first[i % left]
    output = [a for a in (*first, *second) if (first + second).count(a) == 1]
    return _contracted(call, f"{''.join(first)},{''.join(second)}->{''.join(output)}", [x, other], call.source)


def _by_equation(equation: str, *names: str) -> Handler:
    return lambda call, **operands: _contracted(call, equation, [operands[name] for name in names], call.source)


def _inner(call: Call, x: Operand, other: Operand) -> str:
    if not call.shape_of(x) or not call.shape_of(other):
        return elementwise.multiply(call, x, other)
    left, right = ascii_lowercase[: len(call.shape_of(x)) - 1], ascii_lowercase[10 : 9 + len(call.shape_of(other))]
    return _contracted(call, f"{left}z,{right}z->{left}{right}", [x, other], call.source)


def _kron(call: Call, x: Operand, other: Operand) -> str:
    """Every element of the one times the whole other."""
    shapes = [call.shape_of(x), call.shape_of(other)]
    rank = len(call.shape)
    left, right = ascii_lowercase[:rank], ascii_lowercase[13 : 13 + rank]
    woven = "".join(a + b for a, b in zip(left, right, strict=True))
    terms = [letters[rank - len(shape) :] for letters, shape in zip((left, right), shapes, strict=True)]
    kept = "".join(letter for letter in woven if letter in terms[0] + terms[1])
    product = _contracted(call, f"{terms[0]},{terms[1]}->{kept}", [x, other], call.step("product"))
    return lowering.reshape(call.builder, product, call.shape, call.source)


def _multi_dot(call: Call, **operands: Sequence[Operand]) -> str:
    """Matrix products, from the variable to both sides."""
    (tensors,) = operands.values()
    at = next(i for i, tensor in enumerate(tensors) if isinstance(tensor, str))
    if sum(isinstance(tensor, str) for tensor in tensors) > 1:
        raise ValueError("two of its factors depend on the network's input, and such products are not supported yet")
    product: Operand = tensors[at]
    steps = count()
    for factor in reversed(tensors[:at]):
        product = matmul(call, factor, product, call.step(f"product{next(steps)}"))
    for factor in tensors[at + 1 :]:
        product = matmul(call, product, factor, call.step(f"product{next(steps)}"))
    return call.variable(product)


def _bilinear(call: Call, input1: Operand, input2: Operand, weight: Operand, bias: Operand = None) -> str:
    step = call.source if bias is None else call.step("product")
    product = _contracted(call, "...i,oij,...j->...o", [input1, weight, input2], step)
    return product if bias is None else lowering.shift(call.builder, product, call.constant(bias, "bias"), call.source)


def _cross(call: Call, x: Operand, other: Operand, dim: int | None = -1) -> str:
    """The sum over j and k of e_ijk x_j y_k, with e the signs of the permutations of three."""
    rank = len(call.shape)
    axis = next(i for i, n in enumerate(call.shape) if n == 3) if dim is None else dim % rank
    signs = np.zeros((3, 3, 3))
    for i in range(3):
        signs[i, (i + 1) % 3, (i + 2) % 3], signs[i, (i + 2) % 3, (i + 1) % 3] = 1, -1
    letters = ascii_lowercase[:rank]
    left, right, out = (letters[:axis] + own + letters[axis + 1 :] for own in "yzx")
    tensors = [x, other, Constant(torch.from_numpy(signs))]
    return _contracted(call, f"{left},{right},xyz->{out}", tensors, call.source)


# --- sums ------------------------------------------------------------------------------------------------------------------------


def _lerp(call: Call, x: Operand, end: Operand, weight: Operand) -> Outputs:
    """(1 - weight) * x + weight * end"""
    if isinstance(weight, str):
        raise ValueError("its weight depends on the network's input; only a constant one is supported")
    shape = call.shape_of(weight)
    rest = call.changed(_as_constant(weight), "rest", lambda value: 1.0 - value, shape)
    left = _times(call, x, rest, call.step("start"))
    right = _times(call, end, call.constant(_as_constant(weight), "weight"), call.step("end"))
    return _plus(call, (x, left), (end, right))


def _as_constant(number: Operand) -> Constant:
    return number if isinstance(number, Constant) else Constant(torch.tensor(number, dtype=torch.float64))


def _times(call: Call, operand: Operand, factor: str, source: str) -> str:
    """The node, or the constant, operand * factor."""
    if isinstance(operand, str):
        return lowering.scale(call.builder, operand, factor, source)
    name = call.constant(operand, "operand")
    shape = broadcast(call.builder.constant_shape(name), call.builder.constant_shape(factor))
    return call.builder.combine(source, lambda value, by: value * by, name, factor, shape=shape)


def _plus(call: Call, *terms: tuple[Operand, str]) -> str:
    """The sum of two products, of which one at least is a node."""
    (first, left), (second, right) = terms
    if isinstance(first, str) and isinstance(second, str):
        return lowering.combine(call.builder, "add", left, right, call.source)
    node, offset = (left, right) if isinstance(first, str) else (right, left)
    return lowering.shift(call.builder, node, offset, call.source)


def _add_product(call: Call, x: Operand, tensor1: Operand, tensor2: Operand, value: float = 1) -> str:
    """x + value * tensor1 * tensor2"""
    if isinstance(tensor1, str) or isinstance(tensor2, str):
        product = elementwise.multiply(replace(call, source=call.step("product")), tensor1, tensor2)
        return elementwise.add(call, x, product, value)
    factor = call.constant(tensor2, "factor")
    scaled = call.builder.combine(
        call.step("value"), lambda by: float(value) * by, factor, shape=call.builder.constant_shape(factor)
    )
    return lowering.shift(call.builder, call.variable(x), _times(call, tensor1, scaled, call.step("product")), call.source)


def _add_quotient(call: Call, x: Operand, tensor1: Operand, tensor2: Operand, value: float = 1) -> str:
    """x + value * tensor1 / tensor2"""
    if isinstance(tensor1, str) or isinstance(tensor2, str):
        quotient = elementwise.divide(replace(call, source=call.step("quotient")), tensor1, tensor2)
        return elementwise.add(call, x, quotient, value)
    shape = call.shape_of(tensor2)
    factor = call.changed(tensor2, "factor", lambda by: float(value) / by, shape)
    return lowering.shift(call.builder, call.variable(x), _times(call, tensor1, factor, call.step("quotient")), call.source)


def _trace(call: Call, x: Operand) -> str:
    node = call.variable(x)
    diagonal = lowering.take(call.builder, node, lowering.take_index(call.shape_of(node), np.diagonal), call.step("diagonal"))
    return lowering.reduce(call.builder, "reduce_sum", diagonal, (0,), False, call.source)


def _cumulative_sum(call: Call, x: Operand, dim: int, dtype: object = None) -> str:
    node = call.variable(x)
    if not call.shape:
        return node
    axis = dim % len(call.shape)
    return pooling.along_axes(call.builder, node, {axis: exactly(np.tril(np.ones((call.shape[axis],) * 2)))}, call.source)


def _differences(call: Call, x: Operand, n: int = 1, dim: int = -1, prepend: Operand = None, append: Operand = None) -> str:
    """Each element less the one before it, n times over."""
    if prepend is not None or append is not None:
        raise ValueError("prepend and append are not supported; concatenate the tensors before")
    node = call.variable(x)
    axis = dim % len(call.shape_of(node))
    for step in range(n):
        later, earlier = (
            lowering.take(
                call.builder,
                node,
                lowering.take_index(call.shape_of(node), lambda index: np.delete(index, end, axis)),  # noqa: B023
                call.step(f"{'later' if end == 0 else 'earlier'}{step}"),
            )
            for end in (0, -1)
        )
        node = call.builder.add("sub", [later, earlier], source=call.step("" if step == n - 1 else f"step{step}"))
    return node


HANDLERS: Mapping[str, Handler] = {
    "einsum.default": _einsum,
    "tensordot.default": _tensordot,
    "outer.default": _by_equation("i,j->ij", "x", "vec2"),
    "ger.default": _by_equation("i,j->ij", "x", "vec2"),
    "inner.default": _inner,
    "vdot.default": _by_equation("i,i->", "x", "other"),
    "kron.default": _kron,
    "linalg_multi_dot.default": _multi_dot,
    "chain_matmul.default": _multi_dot,
    "bilinear.default": _bilinear,
    "linalg_cross.default": _cross,
    "cross.default": _cross,
    "lerp.Scalar": _lerp,
    "lerp.Tensor": _lerp,
    "addcmul.default": _add_product,
    "addcdiv.default": _add_quotient,
    "trace.default": _trace,
    "cumsum.default": _cumulative_sum,
    "diff.default": _differences,
}
