"""Every decimal in the rules is derived here, to 80 digits; ranges are rounded outward."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from math import ulp
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf

import certify.operators
from certify.graph.passes.fuse_gates import PI, ROOT_OF_2
from certify.operators.elementwise.curves import CURVES
from certify.operators.elementwise.support import interval
from tests.operators.elementwise.conftest import EXACT

PLAIN = {"0.01", "0.25", "0.375", "1.75", "6.28"}
"""What is no approximation: the default slope of leaky_relu, powers of two and their sums; 6.28 is less than a period."""


def zero_of(name: str, order: int, near: float) -> mpf:
    """The zero of a derivative of a function next to a point."""
    return mpmath.findroot(lambda x: mpmath.diff(EXACT[name], x, order), near)


DERIVED: Mapping[str, Callable[[], mpf]] = {
    "0.7517915246935645": lambda: -zero_of("gelu", 1, -0.75),
    "0.16997120747990369": lambda: -EXACT["gelu"](zero_of("gelu", 1, -0.75)),
    "1.2784645427610738": lambda: -zero_of("silu", 1, -1.28),
    "0.27846454276107385": lambda: -EXACT["silu"](zero_of("silu", 1, -1.28)),
    "2.3993572805154677": lambda: zero_of("silu", 2, 2.4),
    "1.1924312145154952": lambda: -zero_of("mish", 1, -1.19),
    "0.30884341301725043": lambda: -EXACT["mish"](zero_of("mish", 1, -1.19)),
    "2.2563763963607931": lambda: -zero_of("mish", 2, -2.26),
    "1.4905711794854285": lambda: zero_of("mish", 2, 1.49),
    "1.5707963267948968": lambda: mpmath.pi / 2,
    "1.6732632423543772": lambda: selu()[0],
    "1.0507009873554805": lambda: selu()[1],
    "0.044715": lambda: mpf("0.044715"),  # a definition: arXiv 1606.08415
    "0.04": lambda: mpf("0.04"),
    "0.05": lambda: mpf("0.05"),
}


def selu() -> tuple[mpf, mpf]:
    """alpha and the factor for which mean 0 and variance 1 of a normal variable stay (arXiv 1706.02515)."""
    low = [mpmath.sqrt(mpmath.exp(k * k)) * mpmath.ncdf(-k) for k in (0, 1, 2)]  # the mean of e^(k z) over z < 0
    alpha = 1 / mpmath.sqrt(2 * mpmath.pi) / (low[0] - low[1])
    return alpha, 1 / mpmath.sqrt(mpf(1) / 2 + alpha**2 * (low[2] - 2 * low[1] + low[0]))


def decimals() -> Iterator[tuple[str, str]]:
    """Every floating-point literal of the rules that has more than one decimal, with its place."""
    for path in sorted(Path(certify.operators.__file__).parent.rglob("*.py")):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                literal = ast.get_source_segment(text, node) or ""
                if len(literal.partition(".")[2]) > 1:
                    yield literal, f"{path.name}:{node.lineno}"


def test_no_decimal_of_the_rules_is_without_its_derivation() -> None:
    found = dict(decimals())
    assert {literal: place for literal, place in found.items() if literal not in PLAIN | DERIVED.keys()} == {}
    assert DERIVED.keys() <= found.keys()


@pytest.mark.parametrize("literal", DERIVED)
def test_a_decimal_is_within_two_units_of_its_exact_value(literal: str) -> None:
    exact = DERIVED[literal]()
    assert abs(mpf(float(literal)) - exact) <= 2 * mpf(ulp(float(literal)))


LEAST: Mapping[str, float] = {"gelu": -0.75, "gelu_tanh": -0.75, "silu": -1.28, "mish": -1.19, "hard_swish": -1.5}


@pytest.mark.parametrize("name", LEAST)
def test_least_values_are_rounded_down_in_every_precision(name: str) -> None:
    low = CURVES[name]({}).range[0]
    exact = EXACT[name](mpf(-1.5) if name == "hard_swish" else zero_of(name, 1, LEAST[name]))
    assert exact * (1 + mpf(2) ** -44) <= low <= exact
    for dtype in (torch.float32, torch.float64):
        bottom, _ = interval(CURVES[name]({}), torch.tensor([-9.0], dtype=dtype), torch.tensor([9.0], dtype=dtype))
        assert bottom.item() <= exact


@pytest.mark.parametrize("cubic", [0.04, 0.0421, 0.044715, float(np.float32(0.044715)), 0.0473, 0.05])
def test_gelu_with_tanh_has_the_shape_that_is_claimed_for_every_cubic(cubic: float) -> None:
    curve = CURVES["gelu_tanh"]({"cubic": cubic})
    ends = torch.tensor([-30.0], dtype=torch.float64), torch.tensor([30.0], dtype=torch.float64)
    left, right = (end.item() for end in curve.convex[0].within(*ends))
    (turn,) = (point(*ends).item() for point in curve.turns)

    def derivative(x: float, order: int) -> mpf:
        return mpmath.diff(lambda z: EXACT["gelu_tanh"](z, cubic), mpf(x), order)

    near = mpf(2) ** -44
    assert derivative(left * (1 + near), 2) < 0 < derivative(left * (1 - near), 2)
    assert derivative(right * (1 + near), 2) < 0 < derivative(right * (1 - near), 2)
    assert derivative(turn * (1 + near), 1) < 0 < derivative(turn * (1 - near), 1)
    assert curve.range[0] <= EXACT["gelu_tanh"](mpf(turn), cubic)
    for x in np.linspace(-9, 9, 181):
        bend, middle = derivative(x, 2), left < x < right
        assert bend > 0 if middle else bend < 0


def test_pairs_of_doubles_hold_the_numbers_that_they_stand_for() -> None:
    for pair, exact in ((PI, mpmath.pi), (ROOT_OF_2, mpmath.sqrt(2))):
        assert abs(mpf(float(pair.high)) + mpf(float(pair.low)) - exact) <= mpf(float(pair.error))
        assert float(pair.error) <= 2.0**-98
