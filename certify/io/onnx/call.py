"""One ONNX node on its way into the graph: what a handler sees and emits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, Union

import numpy as np

from certify.graph import GraphBuilder, GraphError, Shape
from certify.graph.double_double import DoubleDouble
from certify.io.lowering import take_index
from certify.io.onnx.deferred import Condition, Masked

Array = np.ndarray
Numbers: TypeAlias = Union[Array, DoubleDouble]  # noqa: UP007 -- evaluated at run time
"""A constant: an array as it is stored, or what the model computes from those and no array holds exactly."""

Value: TypeAlias = Union[str, Numbers, Condition, Masked, None]  # noqa: UP007
"""A tensor of the model: the name of a graph node, a constant, or None where an optional input is left out. What has no bounds yet,
a comparison or a tensor with infinite entries, waits for the node that makes something of it."""


def node_of(value: Value) -> str | None:
    """The graph node of what depends on the network's input, else None."""
    return value if isinstance(value, str) else None


def depends(value: Value) -> bool:
    """Whether a tensor depends on the network's input."""
    return isinstance(value, (str, Condition, Masked))


Outputs: TypeAlias = Union[Value, tuple[Value, ...]]  # noqa: UP007
Handler = Callable[["Call"], Outputs]
"""Emits what an ONNX node means and returns its outputs."""


@dataclass(frozen=True)
class Call:
    """An ONNX node with its inputs looked up, and their element types; attributes left out are as the standard has them.

    `evaluate` runs the node on arrays, by the standard's reference implementation.
    """

    op: str
    name: str
    opset: int
    inputs: tuple[Value, ...]
    kinds: tuple[int | None, ...]
    attrs: Mapping[str, Any]
    builder: GraphBuilder
    evaluate: Callable[[Sequence[Array | None]], tuple[Array, ...]]

    # --- inputs ---

    def value(self, index: int) -> Value:
        """An input, None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def variable(self, index: int = 0) -> str:
        """The graph node of an input that has to depend on the network's input."""
        value = self.value(index)
        if not isinstance(value, str):
            what = "missing" if value is None else str(value) if depends(value) else "a constant"
            raise self.error(f"input {index} is {what}; this is not supported here")
        return value

    def constant(self, index: int) -> Array | None:
        """The array of an input that has to be constant, and doubles; None where it is left out."""
        value = self.numbers(index)
        if not isinstance(value, DoubleDouble):
            return value
        if not value.exact:
            raise self.error(
                f"input {index} is computed by the model and no double, which is needed here; store it rounded in the model"
            )
        return value.high

    def numbers(self, index: int) -> Numbers | None:
        """An input that has to be constant, doubles or not; None where it is left out."""
        value = self.value(index)
        if isinstance(value, (str, Condition, Masked)):
            raise self.error(f"input {index} depends on the network's input; only a constant is supported here")
        return value

    def required(self, index: int) -> Array:
        """The array of an input that has to be there, constant, and doubles."""
        return self._present(self.constant(index), index)

    def required_numbers(self, index: int) -> Numbers:
        """An input that has to be there and constant, doubles or not."""
        return self._present(self.numbers(index), index)

    def _present(self, value: Any, index: int) -> Any:
        if value is None:
            raise self.error(f"input {index} is missing")
        return value

    def is_variable(self, index: int) -> bool:
        """Whether an input depends on the network's input."""
        return depends(self.value(index))

    def shape(self, index: int = 0) -> Shape:
        """Shape of an input that depends on the network's input."""
        return self.builder.shape(self.variable(index))

    def setting(self, attribute: str, index: int, default: Any = None) -> Any:
        """What older opsets give as an attribute and newer ones as a constant input: a number, a list, or the default."""
        value = self.constant(index)
        return self.attrs.get(attribute, default) if value is None else value.tolist()

    # --- outputs ---

    def emit(self, op: str, *inputs: str, params: Mapping[str, Numbers] | None = None, **attrs: Any) -> str:
        """Adds a canonical node, with arrays as its constants, and returns its name."""
        constants = {role: self.builder.constant(f"{self.name}.{role}", array) for role, array in (params or {}).items()}
        return self.builder.add(op, inputs, constants, attrs, source=self.name)

    def on_stand_ins(self, fill: float = 0.0) -> tuple[Array, ...]:
        """The node's outputs with one number in the place of all variables: the right shapes."""
        variable = {i: self.variable(i) for i in range(len(self.inputs)) if self.is_variable(i)}
        shapes = {i: self.builder.shape(name) for i, name in variable.items()}
        shapes |= {i: value.shape for i, value in enumerate(self.inputs) if isinstance(value, DoubleDouble)}
        stand_ins = {i: np.full(shape, fill, np.float32) for i, shape in shapes.items()}
        return self.evaluate([stand_ins[i] if i in stand_ins else self.constant(i) for i in range(len(self.inputs))])

    def sources(self) -> list[Array]:
        """For each output of a node that only moves elements of its first input: the flat positions that they came from."""
        others = [self.constant(i) for i in range(1, len(self.inputs))]
        positions = take_index(self.shape(), lambda index: index)
        return [index.astype(np.int64) for index in self.evaluate([positions, *others])]

    def error(self, reason: str) -> GraphError:
        """The error that names this node."""
        return GraphError(f"node {self.name} ({self.op}): {reason}")
