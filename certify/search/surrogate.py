"""A network whose gradients do not vanish where its activations are flat: for attacks on networks that are dead nearly everywhere.

Where all ReLUs of a layer are off, the output is constant and its gradient zero, and nothing says where they would switch on. The
surrogate has the same values, and every elementwise function passes on a share of the gradient besides its own derivative (backward
pass smoothing in the manner of arXiv 1802.00420, 4.1).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from certify.graph import INPUT
from certify.model import Model
from certify.operators.base import Elementwise
from certify.operators.table import OPS


def leaking(model: Model, leak: float) -> Callable[[Tensor], Tensor]:
    """The network (batch, *input) -> (batch, *output): the values of `model`, and derivatives of f(z) + leak * z for each f."""

    def evaluate(x: Tensor) -> Tensor:
        program = model.program(x.dtype, x.device)
        values = {program.graph.input: model.to_input(x)}
        for node in program.graph.nodes:
            if node.op == INPUT:
                continue
            inputs = [values[name] for name in node.inputs]
            values[node.name] = OPS[node.op].value(*inputs, node=node, params=program.params(node))
            if isinstance(OPS[node.op], Elementwise):
                values[node.name] = values[node.name] + leak * (inputs[0] - inputs[0].detach())
        return model.from_output(values[program.graph.output])

    return evaluate
