"""The curves by operator: from the attributes of a node to the facts about its function.

The operators that are not listed are made of straight pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from certify.operators.elementwise import elementary, gates, periodic, s_shaped
from certify.operators.elementwise.curve import Curve
from certify.operators.elementwise.exponential_units import exponential_unit

Attrs = Mapping[str, Any]
Facts = Callable[[Attrs], Curve]

SELU = {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}


def softplus_attributes(attrs: Attrs) -> tuple[float, float]:
    """beta and threshold, torch's defaults."""
    return float(attrs.get("beta", 1.0)), float(attrs.get("threshold", 20.0))


def alpha_of(attrs: Attrs) -> float:
    """alpha of an exponential unit, 1 where it is not named."""
    return float(attrs.get("alpha", 1.0))


def _is(curve: Curve) -> Facts:
    return lambda attrs: curve


CURVES: Mapping[str, Facts] = {
    "sigmoid": _is(s_shaped.SIGMOID),
    "tanh": _is(s_shaped.TANH),
    "erf": _is(s_shaped.ERF),
    "atan": _is(s_shaped.ATAN),
    "softsign": _is(s_shaped.SOFTSIGN),
    "gelu": _is(gates.GELU),
    "gelu_tanh": lambda attrs: gates.gelu_tanh(float(attrs.get("cubic", gates.CUBIC))),
    "silu": _is(gates.SILU),
    "mish": _is(gates.MISH),
    "hard_swish": _is(gates.HARD_SWISH),
    "elu": lambda attrs: exponential_unit(alpha_of(attrs)),
    "selu": lambda attrs: exponential_unit(*(float({**SELU, **attrs}[name]) for name in ("alpha", "gamma"))),
    "celu": lambda attrs: exponential_unit(alpha_of(attrs), width=alpha_of(attrs)),
    "exp": _is(elementary.EXP),
    "square": _is(elementary.SQUARE),
    "softplus": lambda attrs: elementary.softplus(*softplus_attributes(attrs)),
    "log": _is(elementary.LOG),
    "sqrt": _is(elementary.SQRT),
    "log_sigmoid": _is(elementary.LOG_SIGMOID),
    "reciprocal": _is(elementary.power(-1.0)),
    "pow": lambda attrs: elementary.power(float(attrs["exponent"])),
    "sin": _is(periodic.SIN),
    "cos": _is(periodic.COS),
    "tan": _is(periodic.TAN),
}
