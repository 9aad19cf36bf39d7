"""The elementwise functions in exact or 80-digit arithmetic, and the boxes they are tested on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mpmath
import pytest
import torch
from mpmath import mpf
from torch import Tensor

from certify.graph import Node
from certify.operators.base import Elementwise
from certify.operators.elementwise import ELEMENTWISE
from certify.operators.elementwise.curves import CURVES

mpmath.mp.dps = 80

Exact = Callable[..., mpf]


def exponential_unit(x: mpf, alpha: float = 1.0, gamma: float = 1.0, width: float = 1.0) -> mpf:
    return mpf(gamma) * (x if x > 0 else mpf(alpha) * mpmath.expm1(x / mpf(width)))


def softplus(x: mpf, beta: float = 1.0, threshold: float = 20.0) -> mpf:
    return mpmath.log1p(mpmath.exp(mpf(beta) * x)) / mpf(beta)


def clamped(x: mpf, low: float, high: float) -> mpf:
    return min(max(x, mpf(low)), mpf(high))


def round_half_even(x: mpf) -> mpf:
    below = mpmath.floor(x)
    rest = x - below
    return below if rest < 0.5 or (rest == 0.5 and int(below) % 2 == 0) else below + 1


def sigmoid(x: mpf) -> mpf:
    return 1 / (1 + mpmath.exp(-x))


def power(x: mpf, exponent: float) -> mpf:
    return x ** int(exponent) if exponent == int(exponent) else x ** mpf(exponent)


SELU = (1.6732632423543772, 1.0507009873554805)

EXACT: Mapping[str, Exact] = {
    "relu": lambda x: max(x, mpf(0)),
    "leaky_relu": lambda x, slope=0.01: x if x >= 0 else mpf(slope) * x,
    "prelu": lambda x, slope: x if x >= 0 else mpf(slope) * x,
    "abs": abs,
    "clip": lambda x, min, max: clamped(x, min, max),
    "hard_sigmoid": lambda x, alpha, beta: clamped(mpf(alpha) * x + mpf(beta), 0.0, 1.0),
    "sign": lambda x: mpf(mpmath.sign(x)),
    "floor": mpmath.floor,
    "ceil": mpmath.ceil,
    "round": round_half_even,
    "sigmoid": sigmoid,
    "tanh": mpmath.tanh,
    "erf": mpmath.erf,
    "atan": mpmath.atan,
    "softsign": lambda x: x / (1 + abs(x)),
    "gelu": lambda x: x / 2 * mpmath.erfc(-x / mpmath.sqrt(2)),
    "gelu_tanh": lambda x, cubic=0.044715: x * sigmoid(2 * mpmath.sqrt(2 / mpmath.pi) * (x + mpf(cubic) * x**3)),
    "silu": lambda x: x * sigmoid(x),
    "mish": lambda x: x * mpmath.tanh(softplus(x)),
    "hard_swish": lambda x: x * clamped(x + 3, 0.0, 6.0) / 6,
    "elu": exponential_unit,
    "selu": lambda x: exponential_unit(x, *SELU),
    "celu": lambda x, alpha=1.0: exponential_unit(x, alpha, width=alpha),
    "exp": mpmath.exp,
    "square": lambda x: x * x,
    "softplus": softplus,
    "log": mpmath.log,
    "sqrt": mpmath.sqrt,
    "log_sigmoid": lambda x: -softplus(-x),
    "reciprocal": lambda x: 1 / x,
    "pow": power,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
}


@dataclass(frozen=True)
class Case:
    """A row of the table with one example of attributes and parameters."""

    name: str
    row: Elementwise
    attrs: Mapping[str, Any]
    numbers: Mapping[str, float]

    def __str__(self) -> str:
        return self.name + "".join(f"-{key}={value:g}" for key, value in {**self.attrs, **self.numbers}.items())

    @property
    def node(self) -> Node:
        return Node("node", self.name, ("x",), (1,), {}, self.attrs)

    def params(self, dtype: torch.dtype) -> dict[str, Tensor]:
        return {key: torch.tensor(value, dtype=dtype) for key, value in self.numbers.items()}

    def exact(self, x: float) -> mpf:
        """f(x), of the attributes and parameters as the model has them, whatever the dtype makes of those."""
        return EXACT[self.name](mpf(x), **self.attrs, **self.numbers)

    def defined(self, l: Tensor, u: Tensor) -> Tensor:
        """Mask of the boxes in the row's domain."""
        if self.row.domain is None:
            return torch.ones_like(l, dtype=torch.bool)
        return self.row.domain(l, u, self.node, self.params(l.dtype))


CASES = [Case(name, row, *example) for name, row in ELEMENTWISE.items() for example in row.examples]
MARKS = (-3.0, -2.3993572805154677, -1.5, -1.4142135623730951, -1.0, -0.5, 0.0, 0.1, 0.5, 0.7, 1.0, 1.5, 3.0, 6.0, 20.0)
"""Kinks, inflection points, turning points and jumps of the rows, to place boxes around."""


SPECIAL = (
    (0.0, 0.0),
    (-0.0, 0.0),
    (-1e30, 1e30),
    (-1e30, 1.0),
    (-2.0, 1e30),
    (1e20, 1e30),
    (-90.0, 90.0),
    (-800.0, 720.0),
    (0.0, 1e-40),
    (-1e-40, 1e-44),
    (-1e-17, 1e30),
    (-1e30, 1e-17),
)
"""Boxes that overflow, underflow or have no width."""


def draw_boxes(case: Case, dtype: torch.dtype, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(l, u): boxes of every width, boxes around the marks, degenerate and huge ones, as far as they are in the domain."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)

    center, width = uniform(-4, 4) * 10 ** uniform(-3, 1), 10 ** uniform(-13, 3)
    reach = torch.tensor([0.0, 1e-300, 1e-9, 0.8, 5.0], dtype=torch.float64)
    around = torch.cartesian_prod(torch.tensor(MARKS, dtype=torch.float64), reach, reach)
    special = torch.tensor(SPECIAL, dtype=torch.float64)
    l = torch.cat([center - width * uniform(0, 1), around[:, 0] - around[:, 1], special[:, 0]])
    u = torch.cat([center + width * uniform(0, 1), around[:, 0] + around[:, 2], special[:, 1]])
    if case.row.domain is not None:  # many of the boxes are outside: add their mirror images, and some away from zero
        l, u = torch.cat([l, l.abs(), 1e-6 + l.abs()]), torch.cat([u, l.abs() + (u - l), 1e-6 + l.abs() + 1e-3 * (u - l)])
    l = l.to(dtype)
    u = torch.maximum(l, u.to(dtype))
    keep = case.defined(l, u)
    return l[keep], u[keep]


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    """Every row of the table, with each of its examples."""
    return request.param


@pytest.fixture(params=[case for case in CASES if case.name in CURVES], ids=str)
def smooth(request: pytest.FixtureRequest) -> Case:
    """Those rows that are derived from a curve."""
    return request.param


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture(scope="session")
def boxes() -> Callable[..., tuple[Tensor, Tensor]]:
    return draw_boxes


@pytest.fixture(scope="session")
def cases() -> list[Case]:
    return CASES
