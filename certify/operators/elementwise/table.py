"""The elementwise operators: one row each. What a row does not say is derived from its curve."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from certify.operators.base import Elementwise
from certify.operators.elementwise import steps, two_slope
from certify.operators.elementwise.clip import CLIP
from certify.operators.elementwise.curves import CURVES, alpha_of, softplus_attributes
from certify.operators.elementwise.elementary import power_domain
from certify.operators.elementwise.hard_sigmoid import HARD_SIGMOID
from certify.operators.elementwise.periodic import tan_domain
from certify.operators.elementwise.smooth import concave, convex, mixed

PIECEWISE_LINEAR: Mapping[str, Elementwise] = {
    "relu": two_slope.RELU,
    "leaky_relu": two_slope.LEAKY_RELU,
    "prelu": two_slope.PRELU,
    "abs": two_slope.ABS,
    "clip": CLIP,
    "hard_sigmoid": HARD_SIGMOID,
    "sign": steps.SIGN,
    "floor": steps.FLOOR,
    "ceil": steps.CEIL,
    "round": steps.ROUND,
}

S_SHAPED: Mapping[str, Elementwise] = {
    "sigmoid": mixed(lambda x, attrs: torch.sigmoid(x), CURVES["sigmoid"]),
    "tanh": mixed(lambda x, attrs: torch.tanh(x), CURVES["tanh"]),
    "erf": mixed(lambda x, attrs: torch.erf(x), CURVES["erf"]),
    "atan": mixed(lambda x, attrs: torch.atan(x), CURVES["atan"]),
    "softsign": mixed(lambda x, attrs: F.softsign(x), CURVES["softsign"]),
}

GATES: Mapping[str, Elementwise] = {
    "gelu": mixed(lambda x, attrs: F.gelu(x), CURVES["gelu"]),
    "gelu_tanh": mixed(
        lambda x, attrs: CURVES["gelu_tanh"](attrs).value(x),
        CURVES["gelu_tanh"],
        examples=(({}, {}), ({"cubic": 0.04}, {}), ({"cubic": 0.05}, {})),
    ),
    "silu": mixed(lambda x, attrs: F.silu(x), CURVES["silu"]),
    "mish": mixed(lambda x, attrs: F.mish(x), CURVES["mish"]),
    "hard_swish": mixed(lambda x, attrs: F.hardswish(x), CURVES["hard_swish"], kinks=(-3.0, 3.0)),
}

EXPONENTIAL_UNITS: Mapping[str, Elementwise] = {
    "elu": mixed(
        lambda x, attrs: F.elu(x, alpha_of(attrs)),
        CURVES["elu"],
        kinks=(0.0,),
        examples=tuple(({"alpha": alpha}, {}) for alpha in (1.0, 0.3, 2.5, -0.7)),
    ),
    "selu": mixed(lambda x, attrs: CURVES["selu"](attrs).value(x), CURVES["selu"], kinks=(0.0,)),
    "celu": mixed(
        lambda x, attrs: F.celu(x, alpha_of(attrs)),
        CURVES["celu"],
        examples=tuple(({"alpha": alpha}, {}) for alpha in (1.0, 0.4)),
    ),
}

ELEMENTARY: Mapping[str, Elementwise] = {
    "exp": convex(lambda x, attrs: torch.exp(x), CURVES["exp"]),
    "square": convex(lambda x, attrs: x * x, CURVES["square"]),
    "softplus": convex(
        lambda x, attrs: F.softplus(x, *softplus_attributes(attrs)),
        CURVES["softplus"],
        examples=(({}, {}), ({"beta": 3.0}, {}), ({"beta": 0.1, "threshold": 5.0}, {})),
    ),
    "log": concave(lambda x, attrs: torch.log(x), CURVES["log"], domain=lambda l, u, node, params: l > 0),
    "sqrt": concave(lambda x, attrs: torch.sqrt(x), CURVES["sqrt"], domain=lambda l, u, node, params: l >= 0),
    "log_sigmoid": concave(lambda x, attrs: F.logsigmoid(x), CURVES["log_sigmoid"]),
    "reciprocal": mixed(
        lambda x, attrs: torch.reciprocal(x), CURVES["reciprocal"], domain=lambda l, u, node, params: (l > 0) | (u < 0)
    ),
    "pow": mixed(
        lambda x, attrs: torch.pow(x, float(attrs["exponent"])),
        CURVES["pow"],
        domain=lambda l, u, node, params: power_domain(l, u, float(node.attrs["exponent"])),
        examples=tuple(({"exponent": e}, {}) for e in (2, 3, 4, 5, 1, 0, -1, -2, -3, 0.5, 1.5, 2.5, 0.3, -0.5)),
    ),
}

PERIODIC: Mapping[str, Elementwise] = {
    "sin": mixed(lambda x, attrs: torch.sin(x), CURVES["sin"]),
    "cos": mixed(lambda x, attrs: torch.cos(x), CURVES["cos"]),
    "tan": mixed(lambda x, attrs: torch.tan(x), CURVES["tan"], domain=lambda l, u, node, params: tan_domain(l, u)),
}

ELEMENTWISE: Mapping[str, Elementwise] = {**PIECEWISE_LINEAR, **S_SHAPED, **GATES, **EXPONENTIAL_UNITS, **ELEMENTARY, **PERIODIC}
