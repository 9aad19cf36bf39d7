"""The elementwise operators: one row each. What a row does not say is derived from the facts of its curve."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from certify.operators.base import Elementwise
from certify.operators.elementwise import elementary, gates, periodic, s_shaped, steps, two_slope
from certify.operators.elementwise.clip import CLIP
from certify.operators.elementwise.curve import Curve
from certify.operators.elementwise.exponential_units import exponential_unit
from certify.operators.elementwise.hard_sigmoid import HARD_SIGMOID
from certify.operators.elementwise.smooth import Attrs, Facts, concave, convex, mixed

SELU_ALPHA, SELU_GAMMA = 1.6732632423543772, 1.0507009873554805


def _is(curve: Curve) -> Facts:
    return lambda attrs: curve


def _positive(l: torch.Tensor, u: torch.Tensor, *_: object) -> torch.Tensor:
    return l > 0


def _elu(attrs: Attrs) -> Curve:
    return exponential_unit(float(attrs.get("alpha", 1.0)))


def _selu(attrs: Attrs) -> Curve:
    return exponential_unit(float(attrs.get("alpha", SELU_ALPHA)), gamma=float(attrs.get("gamma", SELU_GAMMA)))


def _celu(attrs: Attrs) -> Curve:
    alpha = float(attrs.get("alpha", 1.0))
    return exponential_unit(alpha, width=alpha)


def _softplus_attributes(attrs: Attrs) -> tuple[float, float]:
    return float(attrs.get("beta", 1.0)), float(attrs.get("threshold", 20.0))


def _power(attrs: Attrs) -> Curve:
    return elementary.power(float(attrs["exponent"]))


ELEMENTWISE: Mapping[str, Elementwise] = {
    # two slopes and steps
    "relu": two_slope.RELU,
    "leaky_relu": two_slope.two_slope(
        lambda x, node, params: F.leaky_relu(x, float(node.attrs.get("slope", 0.01))),
        two_slope.from_attribute("slope", 0.01),
        examples=tuple(({"slope": slope}, {}) for slope in (0.01, 0.25, 2.5, -0.5, 1.0, 0.0)),
    ),
    "prelu": two_slope.two_slope(
        lambda x, node, params: torch.where(x >= 0, x, params["slope"] * x),
        two_slope.from_parameter,
        examples=tuple(({}, {"slope": slope}) for slope in (0.25, 1.75, -0.3)),
    ),
    "abs": two_slope.two_slope(lambda x, node, params: x.abs(), two_slope.fixed(-1.0)),
    "clip": CLIP,
    "hard_sigmoid": HARD_SIGMOID,
    "sign": steps.SIGN,
    "floor": steps.FLOOR,
    "ceil": steps.CEIL,
    "round": steps.ROUND,
    # S-shaped
    "sigmoid": mixed(lambda x, attrs: torch.sigmoid(x), _is(s_shaped.SIGMOID)),
    "tanh": mixed(lambda x, attrs: torch.tanh(x), _is(s_shaped.TANH)),
    "erf": mixed(lambda x, attrs: torch.erf(x), _is(s_shaped.ERF)),
    "atan": mixed(lambda x, attrs: torch.atan(x), _is(s_shaped.ATAN)),
    "softsign": mixed(lambda x, attrs: F.softsign(x), _is(s_shaped.SOFTSIGN)),
    # gates
    "gelu": mixed(lambda x, attrs: F.gelu(x), _is(gates.GELU)),
    "gelu_tanh": mixed(lambda x, attrs: F.gelu(x, approximate="tanh"), _is(gates.GELU_TANH)),
    "silu": mixed(lambda x, attrs: F.silu(x), _is(gates.SILU)),
    "mish": mixed(lambda x, attrs: F.mish(x), _is(gates.MISH)),
    "hard_swish": mixed(lambda x, attrs: F.hardswish(x), _is(gates.HARD_SWISH), kinks=(-3.0, 3.0)),
    # exponential units
    "elu": mixed(
        lambda x, attrs: F.elu(x, float(attrs.get("alpha", 1.0))),
        _elu,
        kinks=(0.0,),
        examples=tuple(({"alpha": alpha}, {}) for alpha in (1.0, 0.3, 2.5, -0.7)),
    ),
    "selu": mixed(lambda x, attrs: _selu(attrs).value(x), _selu, kinks=(0.0,)),
    "celu": mixed(
        lambda x, attrs: F.celu(x, float(attrs.get("alpha", 1.0))),
        _celu,
        examples=tuple(({"alpha": alpha}, {}) for alpha in (1.0, 0.4)),
    ),
    # convex or concave
    "exp": convex(lambda x, attrs: torch.exp(x), _is(elementary.EXP)),
    "square": convex(lambda x, attrs: x * x, _is(elementary.SQUARE)),
    "softplus": convex(
        lambda x, attrs: F.softplus(x, *_softplus_attributes(attrs)),
        lambda attrs: elementary.softplus(*_softplus_attributes(attrs)),
        examples=(({}, {}), ({"beta": 3.0}, {}), ({"beta": 0.1, "threshold": 5.0}, {})),
    ),
    "log": concave(lambda x, attrs: torch.log(x), _is(elementary.LOG), domain=_positive),
    "sqrt": concave(lambda x, attrs: torch.sqrt(x), _is(elementary.SQRT), domain=lambda l, u, *_: l >= 0),
    "log_sigmoid": concave(lambda x, attrs: F.logsigmoid(x), _is(elementary.LOG_SIGMOID)),
    # powers
    "reciprocal": mixed(
        lambda x, attrs: torch.reciprocal(x), _is(elementary.power(-1.0)), domain=lambda l, u, *_: (l > 0) | (u < 0)
    ),
    "pow": mixed(
        lambda x, attrs: torch.pow(x, float(attrs["exponent"])),
        _power,
        domain=lambda l, u, node, params: elementary.power_domain(l, u, float(node.attrs["exponent"])),
        examples=tuple(({"exponent": e}, {}) for e in (2, 3, 4, 5, 1, 0, -1, -2, -3, 0.5, 1.5, 2.5, 0.3, -0.5)),
    ),
    # periodic
    "sin": mixed(lambda x, attrs: torch.sin(x), _is(periodic.SIN)),
    "cos": mixed(lambda x, attrs: torch.cos(x), _is(periodic.COS)),
    "tan": mixed(lambda x, attrs: torch.tan(x), _is(periodic.TAN), domain=lambda l, u, *_: periodic.tan_domain(l, u)),
}
