"""Lines of a maximum hold in exact arithmetic, at every scale, and are the best of their kind."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certify.graph import Node
from certify.operators.maximum import REDUCE_MAX

SEEDS = st.integers(0, 10**6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(seed=SEEDS, power=st.integers(-323, 300), ties=st.booleans())
def test_the_lines_hold_at_every_corner_in_exact_arithmetic(dtype: torch.dtype, seed: int, power: int, ties: bool) -> None:
    """max is convex and the lines are affine: below a line at all corners of the box is below it everywhere."""
    random = np.random.default_rng(seed)
    scale = 10.0 ** (power if dtype == torch.float64 else power // 9)
    low = np.round(random.normal(size=3), 0 if ties else 8) * scale
    high = low + np.round(random.random(3), 0 if ties else 8) * scale
    l, u = (torch.from_numpy(end).to(dtype)[None] for end in (low, high))
    u = torch.maximum(l, u)
    lines = REDUCE_MAX.relax(l, u, Node("y", "reduce_max", ("x",), (), attrs={"axes": (0,), "keepdims": False}), {})
    i, j = int(lines.lower_index), int(lines.upper_index)
    slope, shift = Fraction(lines.slope.item()), Fraction(lines.shift.item())
    assert 0 <= slope <= 1
    for corner in product(*zip(l[0].tolist(), u[0].tolist(), strict=True)):
        x = [Fraction(value) for value in corner]
        assert x[i] <= max(x) <= slope * x[j] + shift


@given(seed=SEEDS, keepdims=st.booleans())
def test_several_axes_are_reduced_like_torch_reduces_them(seed: int, keepdims: bool) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(int(n) for n in random.integers(1, 4, 4))
    axes = tuple(sorted(int(n) for n in random.permutation(4)[: random.integers(1, 4)]))
    out = tuple(1 if a in axes else n for a, n in enumerate(shape) if keepdims or a not in axes)
    node = Node("y", "reduce_max", ("x",), out, attrs={"axes": axes, "keepdims": keepdims})
    x = torch.from_numpy(random.normal(size=(2, *shape)))
    lines = REDUCE_MAX.relax(x, x, node, {})
    expected = x.amax(dim=[axis + 1 for axis in axes], keepdim=keepdims)
    for index, line in ((lines.lower_index, lambda v: v), (lines.upper_index, lambda v: v * lines.slope + lines.shift)):
        assert tuple(index.shape) == (2, *out)
        found = line(x.flatten(1).gather(1, index.flatten(1)).reshape(2, *out))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_member_that_is_surely_the_largest_is_passed_on_exactly() -> None:
    node = Node("y", "reduce_max", ("x",), (), attrs={"axes": (0,), "keepdims": False})
    l, u = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 5.0]])
    lines = REDUCE_MAX.relax(l, u, node, {})
    assert (int(lines.lower_index), int(lines.upper_index)) == (1, 1)
    assert (float(lines.slope), float(lines.shift)) == (1.0, 0.0)
    assert REDUCE_MAX.linear(l, u, node, {}).tolist() == [[True, False]]
