"""Every row of the affine tables against itself: transpose, magnitude, constant, unit rows and windows describe one map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from certify.graph import GraphBuilder, Node
from certify.graph.evaluate import apply
from certify.operators.base import Affine
from certify.operators.convolution import CONVOLUTIONS
from certify.operators.linear import WEIGHTED
from certify.operators.row_norms import row_norms
from certify.operators.rows import DenseRows, PickedRows, UnitRows
from certify.operators.structure import STRUCTURE

TABLE: Mapping[str, Affine] = {**STRUCTURE, **WEIGHTED, **CONVOLUTIONS}
Random = np.random.Generator
Setting = tuple[list[tuple[int, ...]], dict[str, Any], dict[str, Any]]
"""Shapes of the inputs, parameters, attributes."""


def ints(random: Random, low: int, high: int, count: int) -> tuple[int, ...]:
    """`count` integers from low to high, both included."""
    return tuple(int(n) for n in random.integers(low, high + 1, count))


def window_attributes(random: Random, axes: int) -> dict[str, Any]:
    """Stride, padding and dilation of a convolution, and groups."""
    return {
        "stride": ints(random, 1, 3, axes),
        "padding": ints(random, 0, 3, axes),
        "dilation": ints(random, 1, 2, axes),
        "groups": int(random.integers(1, 4)),
    }


def conv(random: Random) -> Setting:
    axes = int(random.integers(1, 4))
    attrs, kernel = window_attributes(random, axes), ints(random, 1, 3, axes)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, attrs["dilation"], strict=True)]
    space = [max(n, r - 2 * p) for n, r, p in zip(ints(random, 1, 9 - 2 * axes, axes), reach, attrs["padding"], strict=True)]
    per_group, out = ints(random, 1, 3, 2)
    weight = random.normal(size=(out * attrs["groups"], per_group, *kernel))
    bias = {"bias": random.normal(size=len(weight))} if random.random() < 0.5 else {}
    leading = int(random.integers(1, 3))
    return [(leading, per_group * attrs["groups"], *space)], {"weight": weight, **bias}, attrs


def conv_transpose(random: Random) -> Setting:
    axes = int(random.integers(1, 4))
    attrs, kernel = window_attributes(random, axes), ints(random, 1, 3, axes)
    most = [max(s, d) - 1 for s, d in zip(attrs["stride"], attrs["dilation"], strict=True)]
    attrs["output_padding"] = tuple(int(random.integers(0, m + 1)) for m in most)
    space = []
    for s, p, d, k in zip(attrs["stride"], attrs["padding"], attrs["dilation"], kernel, strict=True):
        least = 1 + max(0, -(-(2 * p - d * (k - 1)) // s))  # so that something is left of the output
        space.append(least + int(random.integers(0, 2)))
    channels, per_group = ints(random, 1, 2, 2)
    weight = random.normal(size=(channels * attrs["groups"], per_group, *kernel))
    bias = {"bias": random.normal(size=per_group * attrs["groups"])} if random.random() < 0.5 else {}
    return [(int(random.integers(1, 3)), len(weight), *space)], {"weight": weight, **bias}, attrs


def some_shape(random: Random) -> tuple[int, ...]:
    return ints(random, 1, 4, int(random.integers(1, 5)))


def broadcastable(random: Random, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts into `shape`."""
    own = tuple(n if random.random() < 0.6 else 1 for n in shape)
    return own[int(random.integers(0, len(shape) + 1)) :]


def linear(random: Random) -> Setting:
    shape = some_shape(random)
    weight = random.normal(size=(3, shape[-1]))
    return [shape], {"weight": weight, **({"bias": random.normal(size=3)} if random.random() < 0.5 else {})}, {}


def matmul(random: Random) -> Setting:
    shape = (*some_shape(random), 3)
    leading = tuple(n if random.random() < 0.7 else (1 if n > 1 else 2) for n in shape[:-2])
    cut = int(random.integers(0, len(leading) + 1))
    return [shape], {"weight": random.normal(size=(*leading[cut:], 3, 2))}, {}


def elementwise(role: str) -> Callable[[Random], Setting]:
    def setting(random: Random) -> Setting:
        shape = some_shape(random)
        return [shape], {role: random.normal(size=broadcastable(random, shape))}, {}

    return setting


def two_alike(random: Random) -> Setting:
    shape = some_shape(random)
    return [shape, shape], {}, {}


def reshape(random: Random) -> Setting:
    shape = some_shape(random)
    return [shape], {}, {"shape": tuple(int(n) for n in random.permutation(shape))}


def transpose(random: Random) -> Setting:
    shape = some_shape(random)
    return [shape], {}, {"perm": tuple(int(n) for n in random.permutation(len(shape)))}


def take(random: Random) -> Setting:
    shape = some_shape(random)
    return [shape], {"index": random.integers(prod(shape), size=some_shape(random))}, {}


def concat(random: Random) -> Setting:
    shape = some_shape(random)
    axis = int(random.integers(len(shape)))
    return [(*shape[:axis], n, *shape[axis + 1 :]) for n in ints(random, 1, 3, int(random.integers(1, 4)))], {}, {"axis": axis}


def pad(random: Random) -> Setting:
    shape = some_shape(random)
    before, after = (ints(random, 0, 2, len(shape)) for _ in range(2))
    return [shape], {}, {"before": before, "after": after, "value": float(random.choice([0.0, 0.5, -2.0]))}


def reduce_sum(random: Random) -> Setting:
    shape = some_shape(random)
    axes = sorted(int(n) for n in random.permutation(len(shape))[: int(random.integers(1, len(shape) + 1))])
    return [shape], {}, {"axes": tuple(axes), "keepdims": bool(random.random() < 0.5)}


SETTINGS: Mapping[str, Callable[[Random], Setting]] = {
    "reshape": reshape,
    "transpose": transpose,
    "take": take,
    "concat": concat,
    "pad": pad,
    "reduce_sum": reduce_sum,
    "linear": linear,
    "matmul": matmul,
    "scale": elementwise("factor"),
    "shift": elementwise("offset"),
    "add": two_alike,
    "sub": two_alike,
    "conv": conv,
    "conv_transpose": conv_transpose,
}
SEEDS = st.integers(0, 10**6)


class Case:
    """One random node of an operator, with its parameters as float64 tensors."""

    def __init__(self, op: str, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.rule = TABLE[op]
        self.shapes, self.arrays, attrs = SETTINGS[op](self.random)
        builder = GraphBuilder()
        first = builder.input("x", (sum(prod(shape) for shape in self.shapes),))
        inputs = []
        for shape in self.shapes:
            index = builder.constant("i", np.zeros(shape, np.int64))
            inputs.append(builder.add("take", [first], {"index": index}))
        params = {role: builder.constant(role, array) for role, array in self.arrays.items()}
        output = builder.add(op, inputs, params, attrs)
        self.node: Node = builder.build(output).node(output)
        self.params = {role: torch.from_numpy(array) for role, array in self.arrays.items()}

    @property
    def known(self) -> dict[str, Any]:
        return {"node": self.node, "params": self.params}

    def points(self, batch: int) -> list[Tensor]:
        return [torch.from_numpy(self.random.normal(size=(batch, *shape))) for shape in self.shapes]

    def matrix(self, function: Callable[..., Tensor]) -> list[Tensor]:
        """The matrix of a linear function of the inputs, one (outputs, inputs) block an input."""
        blocks = []
        for i, shape in enumerate(self.shapes):
            units = torch.eye(prod(shape), dtype=torch.float64).reshape(-1, *shape)
            others = [torch.zeros(len(units), *s, dtype=torch.float64) for s in self.shapes]
            others[i] = units
            blocks.append(function(*others, **self.known).reshape(len(units), -1).t())
        return blocks


def test_every_affine_operator_has_a_generator() -> None:
    assert SETTINGS.keys() == TABLE.keys()


@pytest.mark.parametrize("op", TABLE)
@given(seed=SEEDS)
def test_the_value_is_the_numpy_definition(op: str, seed: int) -> None:
    case = Case(op, seed)
    points = case.points(2)
    expected = np.stack([apply(case.node, [p[i].numpy() for p in points], case.arrays) for i in range(2)])
    found = case.rule.value(*points, **case.known)
    assert tuple(found.shape[1:]) == case.node.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("op", TABLE)
@given(seed=SEEDS)
def test_the_value_is_linear_plus_constant_and_the_magnitude_is_the_absolute_matrix(op: str, seed: int) -> None:
    case = Case(op, seed)
    points = case.points(3)
    constant = case.rule.constant(case.node, case.params)
    shifted = case.rule.linear(*points, **case.known) + (0 if constant is None else constant)
    torch.testing.assert_close(case.rule.value(*points, **case.known), shifted, rtol=1e-12, atol=1e-12)
    signed, absolute = case.matrix(case.rule.linear), case.matrix(case.rule.magnitude or case.rule.linear)
    for a, b in zip(signed, absolute, strict=True):
        torch.testing.assert_close(a.abs(), b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("op", TABLE)
@given(seed=SEEDS)
def test_the_transpose_is_the_transposed_matrix(op: str, seed: int) -> None:
    case = Case(op, seed)
    rows = torch.from_numpy(case.random.normal(size=(4, *case.node.shape)))
    pulled = case.rule.transpose(rows, case.node, case.params, case.shapes)
    for block, shape, back in zip(case.matrix(case.rule.linear), case.shapes, pulled, strict=True):
        assert tuple(back.shape) == (4, *shape)
        torch.testing.assert_close(back.reshape(4, -1), rows.reshape(4, -1) @ block, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("op", [op for op in TABLE if op not in ("concat", "add", "sub")])  # those have several inputs
@given(seed=SEEDS, p=st.sampled_from([1.0, 2.0]), power=st.sampled_from([-150, 0, 150]))
def test_norms_of_rows_are_those_of_the_matrix(op: str, seed: int, p: float, power: int) -> None:
    """Dual norms, of rows scaled and some of them zero, where squares of weights underflow or overflow."""
    case = Case(op, seed)
    size = 2.0 ** (4 * power if case.rule.magnitude is not None else 0)
    params = {role: value * size if value.is_floating_point() else value for role, value in case.params.items()}
    scale = torch.from_numpy(case.random.random((1, *case.shapes[0])) * case.random.integers(0, 2, (1, *case.shapes[0])))
    found = row_norms(case.rule, case.node, params, scale, p)
    assert found is not None or (p == 1 and op == "conv_transpose")
    if found is None:
        return
    (matrix,) = case.matrix(case.rule.linear)
    rows = matrix * scale.reshape(1, -1)
    expected = rows.abs().amax(dim=1) if p == 1 else rows.norm(dim=1)
    torch.testing.assert_close(found.values.flatten() / size, expected, rtol=1e-12, atol=1e-15)
    assert float(found.least) <= max(1e-140 * size, 1e-307)


@pytest.mark.parametrize("op", TABLE)
@given(seed=SEEDS)
def test_unit_rows_pull_back_like_dense_rows(op: str, seed: int) -> None:
    case = Case(op, seed)
    index = torch.from_numpy(case.random.integers(prod(case.node.shape), size=5))
    unit = UnitRows(index, torch.tensor([1.0, -1, 1, -1, 0.5], dtype=torch.float64), case.node.shape)
    pulled = unit.pull_back(case.rule, case.node, case.params, case.shapes)
    expected = DenseRows(unit.dense()).pull_back(case.rule, case.node, case.params, case.shapes)
    for a, b in zip(pulled, expected, strict=True):
        torch.testing.assert_close(a.dense(), b.dense(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("op", [op for op, rule in TABLE.items() if rule.picked])
@given(seed=SEEDS)
def test_single_coefficients_pull_back_like_dense_rows(op: str, seed: int) -> None:
    case = Case(op, seed)
    index = torch.from_numpy(case.random.integers(prod(case.node.shape), size=(5, 2)))
    rows = PickedRows(torch.from_numpy(case.random.normal(size=(5, 2))), index, case.node.shape)
    (pulled,) = rows.pull_back(case.rule, case.node, case.params, case.shapes)
    (expected,) = DenseRows(rows.dense()).pull_back(case.rule, case.node, case.params, case.shapes)
    torch.testing.assert_close(pulled.dense(), expected.dense(), rtol=1e-12, atol=1e-12)


@given(seed=SEEDS, depth=st.integers(1, 3))
def test_windows_pull_back_through_convolutions_like_dense_rows(seed: int, depth: int) -> None:
    """Unit rows through a chain of convolutions: windows overlap the border, and become dense where they fill the image."""
    random = np.random.default_rng(seed)
    axes = int(random.integers(1, 4))
    builder, shape = GraphBuilder(), (1, int(random.integers(1, 3)), *ints(random, 3, 12 - 2 * axes, axes))
    names, arrays = [builder.input("x", shape)], {}
    for _ in range(depth):
        attrs, channels = window_attributes(random, axes), builder.shape(names[-1])[1]
        attrs |= {"dilation": (1,) * axes, "groups": int(random.choice([1, channels]))}
        space = builder.shape(names[-1])[2:]
        kernel = tuple(min(k, n + 2 * p) for k, n, p in zip(ints(random, 1, 3, axes), space, attrs["padding"], strict=True))
        weight = builder.constant("w", random.normal(size=(2 * attrs["groups"], channels // attrs["groups"], *kernel)))
        names.append(builder.add("conv", [names[-1]], {"weight": weight}, attrs))
        arrays[names[-1]] = builder._constants[weight]
    graph = builder.build(names[-1])
    index = torch.from_numpy(random.integers(prod(graph.output_shape), size=6))
    rows: Any = UnitRows(index, torch.ones(6, dtype=torch.float64), graph.output_shape)
    dense: Any = DenseRows(rows.dense())
    for node in reversed(graph.nodes[1:]):
        params, shapes = {"weight": torch.from_numpy(arrays[node.name])}, [graph.node(node.inputs[0]).shape]
        rows, dense = (r.pull_back(CONVOLUTIONS["conv"], node, params, shapes)[0] for r in (rows, dense))
        torch.testing.assert_close(rows.dense(), dense.dense(), rtol=1e-11, atol=1e-11)
