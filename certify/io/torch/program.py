"""Reads an exported program into a graph by running it once: every operation on an example, and its meaning into the graph.

Shapes, and whatever else a program computes from them, are thereby known; a symbolic batch axis has the size the example has.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from certify.graph import GraphBuilder, GraphError
from certify.io.torch import choices, dense, elementwise, folding, memory, moves, norms, products, windows, writes
from certify.io.torch.call import (
    Call,
    Choice,
    Constant,
    Handler,
    Positions,
    Variable,
    apply,
    argument_name,
    plain,
    require_no_rounding,
    short_name,
    unsupported,
)

FAMILIES = (elementwise, dense, products, norms, moves, windows, writes, choices)
HANDLERS: Mapping[str, Handler] = {name: handler for family in FAMILIES for name, handler in family.HANDLERS.items()}
"""How ATen operations enter the graph, by name and overload."""

METADATA = {
    *("sym_size.int", "sym_numel.default", "sym_stride.int", "size.default", "size.int", "numel.default", "dim.default"),
    *("zeros_like.default", "ones_like.default", "full_like.default", "new_zeros.default", "new_ones.default", "new_full.default"),
    *("_assert_tensor_metadata.default", "_shape_as_tensor.default", "empty_like.default", "new_empty.default", "zero.default"),
    "fill.Scalar",
}
"""Operations that read only the shape of a tensor."""

READ = {
    **{"copy.default": "src", "fill.Tensor": "value"},
    **dict.fromkeys(("type_as.default", "to.other", "expand_as.default", "view_as.default", "reshape_as.default"), "x"),
}
"""The one tensor whose elements an operation reads, where it reads but the shape or the type of another."""

ARITHMETIC = {"_operator", "builtins", "math"}
"""Modules of the functions of sizes, which are no operations on tensors; others might change the state of torch."""

UNINITIALISED = {"empty.memory_format", "empty_like.default", "new_empty.default"}
"""Operations whose values are whatever the memory held: no numbers until something is written there."""


class Read(NamedTuple):
    """The output's node of a program, and whether torch rounds constants that the program computes."""

    output: str
    rounds: bool


def read_program(
    program: torch.export.ExportedProgram, builder: GraphBuilder, inputs: Sequence[Any], keep: folding.Keep = folding.exact
) -> Read:
    """Adds the nodes of a program to the builder; `inputs` fill the program's placeholders in order.

    `keep` says what becomes of constants that the program computes: what they are in real arithmetic, `folding.exact`, or what torch
    makes of them, `folding.rounded`. A `GraphError` names the first operation that cannot be represented.
    """
    stored = [value for value in inputs if isinstance(value, Constant)]
    inputs = [replace(value, value=value.value.contiguous()) if isinstance(value, Variable) else value for value in inputs]
    with torch.no_grad():
        reader = Reader(builder, stored, keep)
        result = reader.run(program.graph_module, inputs)
    outputs = [value for value in result if value is not None]
    if len(outputs) != 1:
        raise GraphError(f"the module returns {len(outputs)} tensors; only one output is supported: wrap the module and pick it")
    if isinstance(outputs[0], Choice):
        raise GraphError(f"the module's output: {choices.JUMPS}")
    if not isinstance(outputs[0], Variable):
        raise GraphError("the module's output does not depend on its input")
    if reader.uninitialised and torch.isnan(outputs[0].value).any():
        raise GraphError("the module reads memory to which nothing was written (torch.empty); make the tensor with torch.zeros")
    return Read(outputs[0].node, reader.rounds)


class Reader:
    """Runs graph modules on Variables, Constants and plain values; `stored` are the tensors that outlive a run.

    `uninitialised` says whether there is memory to which nothing was written at first; the example has NaN there. `rounds` says whether
    torch rounds constants that the program computes, of which `keep` says what becomes.
    """

    def __init__(self, builder: GraphBuilder, stored: Sequence[Constant] = (), keep: folding.Keep = folding.exact) -> None:
        self._builder, self._keep, self.rounds = builder, keep, False
        self._stored = {memory.storage(constant.value): constant.name or "a tensor that it keeps" for constant in stored}
        self._frames: list[dict[fx.Node, Any]] = []
        self._known: dict[Any, tuple[Any, Any]] = {}
        self.uninitialised = False

    def run(self, module: fx.GraphModule, inputs: Sequence[Any]) -> Any:
        """The output of a graph module, in the structure that it returns."""
        values: dict[fx.Node, Any] = {}
        self._frames.append(values)
        remaining, needed = iter(inputs), _needed(module.graph)
        for node in module.graph.nodes:
            if node.op == "placeholder":
                values[node] = next(remaining)
            elif node not in needed:
                continue
            elif node.op == "get_attr":
                values[node] = self._attribute(module, str(node.target))
            elif node.op == "call_function":
                args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
                values[node] = self._call_with_place(node, args, kwargs)
            else:
                self._frames.pop()
                return fx.map_arg(node.args[0], values.__getitem__)
        raise GraphError("the program has no output")

    def _attribute(self, module: fx.GraphModule, path: str) -> Any:
        value = operator.attrgetter(path)(module)
        if not isinstance(value, Tensor):
            return value
        self._stored.setdefault(memory.storage(value), path)
        return Constant(value)

    def _call_with_place(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        try:
            return self._call(node, args, kwargs)
        except GraphError as error:
            raise GraphError(f"{error}{_location(node)}") from error
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().split("\n", 1)[0]
            raise GraphError(f"node {node.name} ({_name(node.target)}): {reason}{_location(node)}") from error

    def _call(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        target = node.target
        if target is operator.getitem:
            return args[0][args[1]]
        if _name(target) in INLINED:
            inner = args[INLINED[_name(target)] :]
            return self.run(inner[0], inner[1:])
        variable = any(isinstance(leaf, (Variable, Choice)) for leaf in _leaves((args, kwargs)))
        if not isinstance(target, OpOverload):
            if variable or not (getattr(target, "__module__", None) in ARITHMETIC or _name(target).startswith("sym_")):
                raise unsupported(_name(target), f"node {node.name}")
            return target(*plain(args), **{name: plain(value) for name, value in kwargs.items()})  # type: ignore[operator]
        if target._schema.is_mutable:
            return self._write(node, target, args, kwargs)
        return self._evaluate(node, target, _bind(target, args, kwargs))

    def _write(self, node: fx.Node, target: OpOverload, args: Any, kwargs: Any) -> Any:
        """An operation in place, or with `out`: its values, and those of whatever shares the memory that it writes to."""
        pure = memory.functional(target)
        given = _given(target, args, kwargs)
        written = memory.written_to(target, given)
        new = self._evaluate(node, pure, _bind(pure, (), {a.name: given[a.name] for a in pure._schema.arguments}))
        if any(isinstance(value, Choice) for value in (new, *written)):
            raise ValueError(choices.JUMPS)
        if len(written) != 1 or not isinstance(written[0], (Variable, Constant)) or not isinstance(new, (Variable, Constant)):
            raise ValueError("it writes to several tensors; write them one by one")
        (old,) = written
        after: Mapping[int, Any] = {id(old): new}
        if short_name(target) not in memory.RESHAPING:
            self._require_writable(old, new)
            live = [leaf for frame in self._frames for leaf in _leaves(frame) if isinstance(leaf, (Variable, Constant))]
            after = memory.after_write(self._builder, live, old, new, node.name)
        for frame in self._frames:
            for key, value in frame.items():
                frame[key] = _map(lambda leaf: after.get(id(leaf), leaf), value)
        return after[id(old)]

    def _require_writable(self, old: Variable | Constant, new: Variable | Constant) -> None:
        stored = self._stored.get(memory.storage(old.value))
        if stored is not None:
            raise ValueError(f"the module changes {stored} when it is evaluated; only pure functions are supported")
        if old.value.shape != new.value.shape:
            raise ValueError(f"it writes {list(new.value.shape)} to a tensor of {list(old.value.shape)}")
        if isinstance(new, Variable):
            require_no_rounding(old.value, new.value)

    def _evaluate(self, node: fx.Node, target: OpOverload, arguments: Mapping[str, Any]) -> Any:
        name = short_name(target)
        if any(isinstance(leaf, Positions) for leaf in _leaves(arguments)):
            raise ValueError("it reads where another operation found its values, which jumps; read the values themselves")
        read = [arguments[READ[name]]] if name in READ else arguments
        if not any(isinstance(leaf, (Variable, Choice)) for leaf in _leaves(read)) or name in METADATA:
            return self._fold(node.name, target, arguments)
        if any(isinstance(leaf, Choice) for leaf in _leaves(read)):
            result = apply(target, arguments)
            return choices.distribute(self._builder, name, arguments, result, lambda changed: self._evaluate(node, target, changed))
        if name not in HANDLERS:
            raise unsupported(_name(target), f"node {node.name}")
        call = Call(self._builder, node.name, target, arguments, apply(target, arguments))
        key = (target, _key(arguments))
        if key not in self._known:
            operands = {role: _operands(value) for role, value in arguments.items()}
            self._known[key] = (HANDLERS[name](call, **operands), arguments)  # which stay alive, and so do their ids
        results = _variables(self._known[key][0], call.result)
        for result in _leaves(results):
            for operand in _leaves(arguments):
                if isinstance(result, Variable) and isinstance(operand, Variable):
                    require_no_rounding(result.value, operand.value)
        return results

    def _fold(self, name: str, target: OpOverload, arguments: Mapping[str, Any]) -> Any:
        """The result of an operation on constants; derived, and so still live, where one of them is."""
        short = short_name(target)
        if torch.Tag.nondeterministic_seeded in target.tags and short not in HANDLERS:
            raise ValueError("it is random; the module has to be a function of its input")
        result = apply(target, arguments)
        if short in UNINITIALISED:
            self.uninitialised = True
            result.fill_(torch.nan if result.is_floating_point() else 0)
        live = [leaf for leaf in _leaves(arguments) if isinstance(leaf, Constant) and leaf.live]
        if short in METADATA:
            return _constants(result, lambda tensor, pick: Constant(tensor))
        if not live:
            return self._computed(folding.fold(name, target, arguments, result, HANDLERS))

        def derive(tensor: Tensor, pick: Callable[[Any], Tensor]) -> Constant:
            function = _again(target, arguments, live, pick)
            names = [str(leaf.name) for leaf in live]
            return Constant(tensor, self._builder.derive(name, function, *names, shape=tuple(tensor.shape)), live=True)

        return _constants(result, derive)

    def _computed(self, result: Any) -> Any:
        """Constants that are not live, as they are in real arithmetic or as torch rounds them."""
        rounds = [leaf for leaf in _leaves(result) if isinstance(leaf, Constant) and leaf.exact is not None]
        self.rounds |= bool(rounds)
        return _map(lambda leaf: self._keep(leaf) if isinstance(leaf, Constant) else leaf, result)


INLINED: Mapping[str, int] = {"wrap_with_set_grad_enabled": 1}
"""Higher-order operations that only call a submodule, and how many arguments precede it."""


def _again(
    target: OpOverload, arguments: Mapping[str, Any], live: Sequence[Constant], pick: Callable[[Any], Tensor]
) -> Callable[..., Any]:
    """The operation as a function of its live constants, which are arrays or tensors of any precision and device."""

    def function(*values: Any) -> Any:
        tensors = [torch.as_tensor(value) for value in values]
        by_name = {constant.name: tensor for constant, tensor in zip(live, tensors, strict=True)}

        def current(leaf: Any) -> Any:
            if isinstance(leaf, Constant) and leaf.live:
                return by_name[leaf.name]
            if isinstance(leaf, Constant) and leaf.value.is_floating_point():
                return leaf.value.to(tensors[0])
            return leaf.value.to(tensors[0].device) if isinstance(leaf, Constant) else leaf

        result = pick(apply(target, {key: _map(current, value) for key, value in arguments.items()}))
        return result.numpy() if isinstance(values[0], np.ndarray) else result

    return function


# --- values ----------------------------------------------------------------------------------------------------------------


def _constants(result: Any, make: Callable[[Tensor, Callable[[Any], Tensor]], Constant]) -> Any:
    """A result with Constants in place of tensors; `make` gets each with the function that picks it from the result."""
    if isinstance(result, Tensor):
        return make(result, lambda value: value)
    if isinstance(result, (list, tuple)) and any(isinstance(entry, Tensor) for entry in result):
        return [make(entry, operator.itemgetter(i)) for i, entry in enumerate(result)]
    return result


def _variables(nodes: Any, result: Any) -> Any:
    """A handler's nodes with the values that torch computed for them."""
    if isinstance(nodes, (Constant, Choice)):
        return replace(nodes, value=result)
    if isinstance(nodes, str):
        return Variable(nodes, result)
    return [Positions(value) if node is None else Variable(node, value) for node, value in zip(nodes, result, strict=True)]


def _operands(argument: Any) -> Any:
    """An argument as handlers get it: the node in place of a Variable."""
    return _map(lambda leaf: leaf.node if isinstance(leaf, Variable) else leaf, argument)


def _key(argument: Any) -> Any:
    """What two calls have in common that give the same nodes."""
    if isinstance(argument, Mapping):
        return tuple(_key(value) for value in argument.values())
    if isinstance(argument, (list, tuple)):
        return tuple(_key(entry) for entry in argument)
    return argument.node if isinstance(argument, Variable) else id(argument) if isinstance(argument, Constant) else argument


def _map(function: Callable[[Any], Any], argument: Any) -> Any:
    if isinstance(argument, (list, tuple)):
        return [_map(function, entry) for entry in argument]
    return function(argument)


def _leaves(argument: Any) -> list[Any]:
    if isinstance(argument, (list, tuple)):
        return [leaf for entry in argument for leaf in _leaves(entry)]
    return _leaves(list(argument.values())) if isinstance(argument, dict) else [argument]


# --- operations ------------------------------------------------------------------------------------------------------------


def _bind(target: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of an operation by the names of its schema, with their defaults."""
    return {argument_name(name): value for name, value in _given(target, args, kwargs).items()}


def _given(target: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    schema = target._schema.arguments
    given = dict(zip((a.name for a in schema if not a.kwarg_only), args, strict=False)) | dict(kwargs)
    return {a.name: given.get(a.name, a.default_value) for a in schema}


def _needed(graph: fx.Graph) -> set[fx.Node]:
    """The nodes that the output depends on, those that write to memory, and those that are more than one operation."""
    needed: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        single = node.op == "get_attr" or isinstance(node.target, OpOverload) or node.target is operator.getitem
        if node.op == "output" or not single or writes_in_place(node) or any(user in needed for user in node.users):
            needed.add(node)
    return needed


def writes_in_place(node: fx.Node) -> bool:
    """Whether a node writes to its first argument."""
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable and bool(node.args)


def _name(target: Any) -> str:
    return str(target) if isinstance(target, (OpOverload, str)) else getattr(target, "__name__", str(target))


def _location(node: fx.Node) -> str:
    """Where in the author's code a node comes from, if torch recorded it."""
    layers = list((node.meta.get("nn_module_stack") or {}).values())
    layer = f" of module {layers[-1][0]}" if layers and layers[-1][0] else ""
    files = [line.strip() for line in (node.meta.get("stack_trace") or "").splitlines() if line.strip().startswith("File ")]
    own = [line for line in files if "/torch/" not in line]
    return f" [in{layer} {own[-1]}]" if own else (f" [in{layer}]" if layer else "")
