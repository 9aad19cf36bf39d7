"""Affine functions of l_1 and l_2 balls: intervals that hold of exact points of the ball, and that are those of the rows themselves."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt, prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from certify.bounds.compute import compute_bounds, relax
from certify.bounds.rounding import NEAREST, OUTWARD
from certify.graph import Graph, GraphBuilder
from certify.operators.program import Program
from certify.sets import LpBall
from tests.networks import program

SEEDS = st.integers(0, 10**6)
NORMS = st.sampled_from([1.0, 2.0])


def affine(seed: int, size: float = 1.0) -> Graph:
    """One to three moves and scalings of a small image, and a convolution or a product with a matrix, whose weights may be zero."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder()
    x = builder.input("x", (1, 2, int(random.integers(3, 6)), int(random.integers(3, 6))))

    def constant(*shape: int) -> str:
        return builder.constant("c", size * random.normal(size=shape) * (random.random(shape) < 0.8))

    def pad(x: str) -> str:
        before, after = ((0, 0, *(int(n) for n in random.integers(0, 3, 2))) for _ in range(2))
        return builder.add("pad", [x], attrs={"before": before, "after": after, "value": float(random.choice([0.0, -0.5]))})

    moves = [
        lambda x: builder.add("transpose", [x], attrs={"perm": (0, 1, 3, 2)}),
        lambda x: builder.add("scale", [x], {"factor": builder.constant("c", random.normal(size=builder.shape(x)))}),
        lambda x: builder.add("shift", [x], {"offset": builder.constant("c", random.normal(size=builder.shape(x)))}),
        pad,
    ]
    for _ in range(random.integers(0, 3)):
        x = moves[random.integers(len(moves))](x)
    shape = builder.shape(x)
    if random.random() < 0.3:
        x = builder.add("reshape", [x], attrs={"shape": (1, prod(shape))})
        return builder.build(builder.add("linear", [x], {"weight": constant(3, prod(shape)), "bias": constant(3)}))
    groups = int(random.integers(1, 3))
    attrs: dict[str, Any] = {key: tuple(int(n) for n in random.integers(1, 3, 2)) for key in ("stride", "dilation")}
    attrs |= {"padding": tuple(int(n) for n in random.integers(0, 3, 2)), "groups": groups}
    kernel = (int(random.integers(1, 3)), int(random.integers(1, 3)))
    return builder.build(
        builder.add("conv", [x], {"weight": constant(2 * groups, 2 // groups, *kernel), "bias": constant(2 * groups)}, attrs)
    )


def case(seed: int, dtype: torch.dtype = torch.float64, size: float = 1.0) -> tuple[Program, Tensor, np.random.Generator]:
    net, random = program(affine(seed, size), dtype), np.random.default_rng(seed + 1)
    return net, torch.from_numpy(random.random((2, *net.graph.input_shape))).to(dtype), random


@given(seed=SEEDS, p=NORMS, eps=st.sampled_from([0.0, 0.1, 3.0]), cut=st.booleans(), method=st.sampled_from(["ibp", "crown"]))
def test_the_interval_is_the_one_of_the_rows(seed: int, p: float, eps: float, cut: bool, method: str) -> None:
    """Rows of an objective are bounded one by one over the set itself, its domain included."""
    net, center, _ = case(seed)
    region = LpBall(center, eps, p, (0.0, 1.0) if cut else None)
    outputs = prod(net.graph.output_shape)
    found = compute_bounds(net, region, method)
    expected = compute_bounds(net, region, method, torch.eye(outputs, dtype=torch.float64))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.flatten(1), other, rtol=1e-9, atol=1e-6 * eps)


def rational_step(row: list[Fraction], p: float, eps: Fraction) -> list[Fraction]:
    """A point of the ball of radius eps at which the row is within a hair of its least value."""
    largest = max(map(abs, row))
    if largest == 0 or eps == 0:
        return [Fraction(0)] * len(row)
    if p == 1:
        spot = [abs(v) for v in row].index(largest)
        return [-eps * (1 if row[i] > 0 else -1) if i == spot else Fraction(0) for i in range(len(row))]
    unit = [v / largest for v in row]
    square = sum(v * v for v in unit)
    scaled = 10**40
    length = Fraction(isqrt(int(square * scaled * scaled)) + 1, scaled)  # not less than the real one
    return [-eps * v / length for v in unit]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(max_examples=25)
@given(seed=SEEDS, p=NORMS, eps=st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 1e20]), size=st.sampled_from([1e-36, 1e-19, 1.0, 1e15]))
def test_no_exact_point_of_the_ball_leaves_the_interval(dtype: torch.dtype, seed: int, p: float, eps: float, size: float) -> None:
    """In rational arithmetic, where squares of weights underflow or overflow in float32."""
    net, center, _ = case(seed, dtype, size)
    region = LpBall(center[:1], eps, p)
    lower, upper = (bound.flatten().tolist() for bound in compute_bounds(net, region, "ibp", rounding=OUTWARD))
    wide = Program(
        net.graph, {k: c.double() if c.is_floating_point() else c for k, c in net.constants.items()}, torch.float64, net.device
    )
    matrix, start = exact_map(wide), [Fraction(v) for v in region.center.flatten().tolist()]
    constant = matrix.pop()
    for i, row in enumerate(zip(*matrix, strict=True)):
        step = rational_step(list(row), p, Fraction(float(region.eps[0])))
        value = constant[i] + sum(a * c for a, c in zip(row, start, strict=True))
        change = sum(a * d for a, d in zip(row, step, strict=True))
        assert Fraction(lower[i]) <= value + change
        assert value - change <= Fraction(upper[i])


def exact_map(net: Program) -> list[list[Fraction]]:
    """The columns of the network's matrix and last its constant, by evaluation in rational numbers of products of weights."""
    count = prod(net.graph.input_shape)
    values: dict[str, np.ndarray] = {net.graph.input: np.concatenate([np.eye(count), np.zeros((1, count))]).astype(object)}
    for node in net.graph.nodes:
        if not node.inputs:
            values[node.name] = np.vectorize(Fraction)(values[node.name].astype(int)).reshape(-1, *node.shape)
            continue
        params = {role: np.vectorize(Fraction)(value.numpy()) for role, value in net.params(node).items()}
        values[node.name] = np.stack([_apply(node, point, params) for point in values[node.inputs[0]]])
    ends = values[net.graph.output].reshape(count + 1, -1)
    return [list(column - ends[-1]) for column in ends[:-1]] + [list(ends[-1])]


def _apply(node: Any, x: np.ndarray, params: dict[str, np.ndarray]) -> np.ndarray:
    """A node of `affine` at a point of rational numbers."""
    if node.op == "transpose":
        return x.transpose(node.attrs["perm"])
    if node.op == "scale":
        return x * params["factor"]
    if node.op == "shift":
        return x + params["offset"]
    if node.op == "pad":
        pairs = list(zip(node.attrs["before"], node.attrs["after"], strict=True))
        return np.pad(x, pairs, constant_values=Fraction(node.attrs["value"]))
    if node.op == "reshape":
        return x.reshape(node.shape)
    if node.op == "linear":
        return x @ params["weight"].T + params["bias"]
    return _convolve(node, x, params)


def _convolve(node: Any, x: np.ndarray, params: dict[str, np.ndarray]) -> np.ndarray:
    weight, groups = params["weight"], node.attrs["groups"]
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in node.attrs["padding"])], constant_values=Fraction(0))
    out = np.empty(node.shape, dtype=object)
    (sy, sx), (dy, dx) = node.attrs["stride"], node.attrs["dilation"]
    height, width = weight.shape[2:]
    for o, y, z in np.ndindex(*node.shape[1:]):
        first = (o // (len(weight) // groups)) * weight.shape[1]
        rows, columns = slice(y * sy, y * sy + dy * (height - 1) + 1, dy), slice(z * sx, z * sx + dx * (width - 1) + 1, dx)
        window = x[0, first : first + weight.shape[1], rows, columns]
        out[0, o, y, z] = (window * weight[o]).sum() + params["bias"][o]
    return out


@pytest.mark.parametrize("p", [1.0, 2.0])
@settings(max_examples=20)
@given(seed=SEEDS)
def test_gradients_of_the_interval_are_finite_differences(p: float, seed: int) -> None:
    net, center, random = case(seed)
    names = [name for name, c in net.constants.items() if c.is_floating_point()]
    inputs = [center, torch.tensor([0.3, 0.5], dtype=torch.float64), *(net.constants[name] for name in names)]
    direction = [torch.from_numpy(random.normal(size=tuple(x.shape))) for x in inputs]

    def total(tensors: list[Tensor]) -> Tensor:
        constants = {**net.constants, **dict(zip(names, tensors[2:], strict=True))}
        lower, upper = compute_bounds(
            Program(net.graph, constants, net.dtype, net.device), LpBall(tensors[0], tensors[1], p), "ibp", rounding=NEAREST
        )
        return (upper - 0.5 * lower).sum()

    live = [x.clone().requires_grad_() for x in inputs]
    gradients = torch.autograd.grad(total(live), live, allow_unused=True)
    found = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True) if g is not None)
    with torch.no_grad():
        h = 1e-6
        ends = [float(total([x + t * d for x, d in zip(inputs, direction, strict=True)])) for t in (-h, 0.0, h)]
    smooth = abs(ends[0] + ends[2] - 2 * ends[1]) < 1e-8 * (1 + abs(ends[1]))  # l_1: the largest entry of a row may change
    assert not smooth or found == pytest.approx((ends[2] - ends[0]) / (2 * h), rel=1e-4, abs=1e-5)


@given(seed=SEEDS, p=NORMS)
def test_rows_out_of_reach_of_the_domain_are_not_bounded_one_by_one(seed: int, p: float) -> None:
    net, center, random = case(seed)
    center = center.clamp(0.2, 0.8)
    edge = tuple(int(random.integers(n)) for n in center.shape)
    center[edge] = 0.0
    loose = relax(net, LpBall(center, 0.1, p, (0.0, 1.0)), "ibp").ball.loose  # type: ignore[union-attr]
    moved = center.clone()
    moved[edge] = 1.0
    reads = net.evaluate(moved) != net.evaluate(center)
    assert bool((loose.get(net.graph.output, torch.zeros_like(reads)) == reads).all())
