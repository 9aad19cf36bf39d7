"""The operator table: one row an operator. Nothing about an operator lives elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from certify.operators.base import Affine, Elementwise
from certify.operators.convolution import CONVOLUTIONS
from certify.operators.elementwise import ELEMENTWISE
from certify.operators.linear import WEIGHTED
from certify.operators.maximum import REDUCE_MAX, Maximum
from certify.operators.structure import STRUCTURE

Operator = Affine | Elementwise | Maximum

OPS: Mapping[str, Operator] = {**STRUCTURE, **WEIGHTED, **CONVOLUTIONS, **ELEMENTWISE, "reduce_max": REDUCE_MAX}
