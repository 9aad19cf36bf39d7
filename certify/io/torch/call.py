"""One ATen operation on its way into the graph: what a handler sees and emits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload

from certify.graph import GraphBuilder, GraphError, Shape
from certify.graph.double_double import DoubleDouble, exactly, joined
from certify.io import lowering
from certify.io.lowering import take_index

Array = np.ndarray


@dataclass(frozen=True)
class Variable:
    """A tensor that depends on the network's input: its node, and its value at the example that the program is read with."""

    node: str
    value: Tensor


@dataclass(frozen=True)
class Constant:
    """A tensor that does not. `name` is its name in the builder, if it has one; `live` says that it may change between calls.

    `exact` are the numbers that it stands for in real arithmetic, where torch, which computed `value`, rounded them.
    """

    value: Tensor
    name: str | None = None
    live: bool = False
    exact: DoubleDouble | None = None

    @property
    def numbers(self) -> Array | DoubleDouble:
        """The numbers that it stands for, integers and truth values in float64 where that holds them."""
        if self.exact is not None:
            return self.exact
        array = to_array(self.value)
        return array if array.dtype.kind == "f" else exactly(array).simplest


@dataclass(frozen=True)
class Choice:
    """The elements of `p` where above > below, those of `q` where above < below; where both are equal those of `p` if `tie`."""

    above: Variable | Constant
    below: Variable | Constant
    tie: bool
    p: Variable | Constant
    q: Variable | Constant
    value: Tensor


@dataclass(frozen=True)
class Positions:
    """Where an operation found its values: numbers that jump with the network's input, and that nobody may read."""

    value: Tensor


Part: TypeAlias = "Variable | Constant"

Operand: TypeAlias = "str | Constant | float | None"
"""What a handler gets for a tensor of the operation's schema: a node's name, a constant, a number, or nothing."""

Outputs: TypeAlias = "str | Constant | Choice | Sequence[str | None]"
"""The node of a result, or of each of several; or a result that does not depend on the network's input, or is a choice."""


@dataclass(frozen=True)
class Call:
    """An operation with its arguments by the names of its schema (`self` and `input` are called `x`).

    `arguments` hold Variables and Constants where the schema has tensors, `result` is what torch computes at the example.
    """

    builder: GraphBuilder
    source: str
    target: OpOverload
    arguments: Mapping[str, Any]
    result: Any

    @property
    def shape(self) -> Shape:
        """Shape of the operation's result."""
        return tuple(self.result.shape)

    def shape_of(self, operand: Operand) -> Shape:
        """Shape of a node, of a constant, or of a number."""
        if isinstance(operand, str):
            return self.builder.shape(operand)
        return tuple(operand.value.shape) if isinstance(operand, Constant) else ()

    def emit(self, op: str, inputs: Sequence[str], params: Mapping[str, str] | None = None, step: str = "", **attrs: Any) -> str:
        """Adds a node; `step` names it if it is not the operation's last one."""
        return self.builder.add(op, inputs, params, attrs, source=self.step(step))

    def step(self, name: str = "") -> str:
        """The source name of one of the operation's nodes: that of the operation itself for the last one."""
        return f"{self.source}.{name}" if name else self.source

    def variable(self, operand: Operand, role: str = "input") -> str:
        """The node of an operand that has to depend on the network's input."""
        if not isinstance(operand, str):
            raise ValueError(f"its {role} is constant; compute it outside the module")
        return operand

    def constant(self, operand: Operand, role: str) -> str:
        """The builder's name of an operand that has to be constant, a tensor or a number."""
        if isinstance(operand, Constant):
            return operand.name or self.builder.constant(self.step(role), operand.numbers)
        if operand is None or isinstance(operand, str):
            reason = "is missing" if operand is None else "depends on the network's input"
            raise ValueError(f"its {role} {reason}; only a constant is supported here")
        return self.builder.constant(self.step(role), np.asarray(float(operand)))

    def changed(self, operand: Operand, role: str, function: Callable[[Any], Any], shape: Sequence[int]) -> str:
        """`function` of a constant operand, live if that is; it must work on arrays and tensors alike."""
        return self.builder.combine(self.step(role), function, self.constant(operand, role), shape=shape)

    def index(self, x: str) -> Any:
        """Where the operation moves the elements of the node x: flat indices, an array for every tensor it returns."""

        def moved(index: Array) -> Any:
            values = {
                name: torch.from_numpy(index.astype(np.float64)).to(value.value.device)
                if isinstance(value, Variable) and value.node == x
                else value
                for name, value in self.arguments.items()
            }
            result = apply(self.target, values)
            return result.cpu() if isinstance(result, Tensor) else [part.cpu() for part in result]

        shape = self.builder.shape(x)
        if isinstance(self.result, Tensor):
            return take_index(shape, moved)
        parts = moved(take_index(shape, np.asarray))
        return [part.numpy().astype(np.int64) for part in parts]


Handler = Callable[..., Outputs]
"""`(call, **arguments)` -> the node of the result, or of each of several results."""


def apply(target: OpOverload, arguments: Mapping[str, Any]) -> Any:
    """Runs an operation in torch on arguments by the names of its schema; Variables and Constants stand for their values."""
    schema = target._schema.arguments
    positional = [plain(arguments[argument_name(a.name)]) for a in schema if not a.kwarg_only]
    keywords = {a.name: plain(arguments[argument_name(a.name)]) for a in schema if a.kwarg_only}
    return target(*positional, **keywords)


def short_name(target: OpOverload) -> str:
    """`relu.default` for torch's own operations, the full name for others."""
    namespace, _, packet = target._schema.name.partition("::")
    return f"{packet}.{target._overloadname}" if namespace == "aten" else f"{namespace}.{packet}.{target._overloadname}"


def argument_name(name: str) -> str:
    """What handlers call an argument of a schema."""
    return {"self": "x", "input": "x"}.get(name, name)


def plain(argument: Any) -> Any:
    """An argument with tensors in place of Variables and Constants."""
    if isinstance(argument, (list, tuple)):
        return [plain(entry) for entry in argument]
    return argument.value if isinstance(argument, (Variable, Constant, Choice, Positions)) else argument


def elements(builder: GraphBuilder, parts: Sequence[Part], index: Array, value: Tensor, source: str) -> Part:
    """The elements of several tensors by flat positions that count through all of them; `value` is what torch makes of that.

    Constant where all used parts are, and live where one of those is.
    """
    starts = np.cumsum([0, *(part.value.numel() for part in parts)])
    used = [i for i in range(len(parts)) if ((index >= starts[i]) & (index < starts[i + 1])).any()]
    variables = [(i, part) for i, part in enumerate(parts) if i in used and isinstance(part, Variable)]
    constants = [(i, part) for i, part in enumerate(parts) if i in used and isinstance(part, Constant)]
    if not variables and not any(part.live for _, part in constants):
        return Constant(value, exact=_picked_numbers(parts, index))
    order, total = np.zeros_like(index), 0
    for i, _ in (*variables, *constants):
        order = np.where((index >= starts[i]) & (index < starts[i + 1]), index - starts[i] + total, order)
        total += starts[i + 1] - starts[i]
    names = [part.name or builder.constant(f"{source}.value", _initialised(part)) for _, part in constants]
    if variables:
        return Variable(lowering.gather(builder, [part.node for _, part in variables], names, order, source), value)
    return Constant(value, builder.derive(source, _picked(order), *names, shape=order.shape), live=True)


def _picked_numbers(parts: Sequence[Part], index: Array) -> DoubleDouble | None:
    """The numbers of constants that an index through all of them picks, None where torch rounded none of them."""
    if all(isinstance(part, Variable) or part.exact is None for part in parts):
        return None
    unread = [np.zeros(part.value.numel()) if isinstance(part, Variable) else part.numbers for part in parts]
    return joined([exactly(numbers).reshape(-1) for numbers in unread])[index]


def _initialised(constant: Constant) -> Array | DoubleDouble:
    """A constant's numbers, zero where nothing was written to its memory: the example shows whether that reaches the output."""
    numbers = constant.numbers
    return numbers if isinstance(numbers, DoubleDouble) else np.where(np.isnan(numbers), 0, numbers)


def _picked(index: Array) -> Callable[..., Any]:
    """Elements by flat positions that count through all of several arrays or tensors."""

    def function(*values: Any) -> Any:
        tensors = [torch.as_tensor(value).reshape(-1) for value in values]
        like = max(tensors, key=lambda tensor: tensor.dtype.itemsize)
        flat = torch.cat([tensor.to(like) for tensor in tensors])
        picked = flat[torch.from_numpy(index).to(flat.device)]
        return picked.numpy() if isinstance(values[0], np.ndarray) else picked

    return function


def to_array(tensor: Tensor) -> Array:
    """A tensor as an array of its own precision, float32 where numpy has none."""
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy().copy()


def exact_array(constant: Constant) -> Array:
    """A constant as an array of real numbers."""
    return _as_real(to_array(constant.value))


def _as_real(array: Array) -> Array:
    """Numbers to compute with: integers and truth values become float64."""
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def require_no_rounding(result: Tensor, operand: Tensor) -> None:
    """A ValueError where `result` cannot hold the values of `operand`, not even to single precision."""
    if not result.is_floating_point():
        raise ValueError(f"it converts what depends on the network's input to {result.dtype}, which is no map of real numbers")
    kept, given = torch.finfo(result.dtype), torch.finfo(operand.dtype)
    if kept.bits < 32 and (kept.eps > given.eps or kept.max < given.max):
        raise ValueError(f"it rounds what depends on the network's input to {result.dtype}; keep it in {operand.dtype}")


def unsupported(name: str, where: str) -> GraphError:
    """The error for an operation that no handler knows."""
    return GraphError(
        f"{where}: {name} is not supported yet; replace it by supported operations, or bound the part of the network before it"
    )
