"""`torch.export` programs: made of a module, and read with fixed numbers in the place of all that they keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import RLock

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind, InputSpec, OutputKind

from certify.graph import Graph, GraphBuilder, GraphError
from certify.graph.passes import as_read, normalise
from certify.io.torch import folding
from certify.io.torch.call import Constant, Variable, to_array
from certify.io.torch.program import read_program, writes_in_place

Inputs = list["Constant | Variable"]


ALONE = RLock()
"""Held while a module is captured, run or asked for its tensors: `torch.export` exchanges these, and functions of torch itself, for
all threads."""


class NotTakenError(GraphError):
    """A module fails on an input of the shape that it was given."""


def export(module: nn.Module, x: Tensor) -> torch.export.ExportedProgram:
    """The module's program for inputs like x; a GraphError says what cannot be captured, and where."""
    try:
        with ALONE:
            return torch.export.export(module, (x.clone(),), strict=False)
    except Exception as error:
        if "data-dependent" in str(error).lower() or "DataDependent" in type(error).__name__:
            raise GraphError(
                "the module's control flow depends on values of its input (an if, a loop or .item()), so it is no single graph; "
                f"write it with torch.clamp, torch.maximum and the like, or bound its branches one by one{user_frame(error)}"
            ) from error
        raise NotTakenError(
            f"the module cannot be captured on an input of shape {list(x.shape)}: {first_line(error)}{user_frame(error)}"
        ) from error


def read_fixed(
    program: torch.export.ExportedProgram,
    number: Callable[[InputSpec], Tensor],
    x: Tensor,
) -> tuple[Graph, Inputs]:
    """The graph of a program for inputs like x, and what fills the program's placeholders.

    `number` gives the tensor behind each of the others: their present numbers become constants, which are folded without losing digits.
    Where torch loses some, the graph with the constants that it computes stands beside it (`Graph.runtime`).
    """
    graph, inputs, rounds = _read(program, number, x, folding.exact)
    return replace(graph, runtime=_read(program, number, x, folding.rounded)[0] if rounds else None), inputs


def read_plain(program: torch.export.ExportedProgram, number: Callable[[InputSpec], Tensor], x: Tensor) -> Graph:
    """The graph of a program as it was read, with the constants that torch computes: its operators round as those of the program do."""
    return _read(program, number, x, folding.rounded, as_read)[0]


def _read(
    program: torch.export.ExportedProgram,
    number: Callable[[InputSpec], Tensor],
    x: Tensor,
    keep: folding.Keep,
    rewrite: Callable[[Graph], Graph] = normalise,
) -> tuple[Graph, Inputs, bool]:
    """The graph, what fills the placeholders, and whether torch rounds constants that the program computes."""
    builder = GraphBuilder()
    inputs: Inputs = []
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            inputs.append(Variable(builder.input(spec.arg.name, tuple(x.shape)), x))
        else:
            tensor = number(spec).detach()
            name = builder.constant(str(spec.target), to_array(tensor)) if tensor.is_floating_point() else None
            inputs.append(Constant(tensor, name))
    read = read_program(program, builder, inputs, keep)
    return rewrite(builder.build(read.output)), inputs, read.rounds


def stored(program: torch.export.ExportedProgram, spec: InputSpec) -> Tensor:
    """The tensor that the program itself keeps for a placeholder."""
    name = str(spec.target)
    tensor = program.state_dict.get(name, program.constants.get(name))
    if not isinstance(tensor, Tensor):
        raise GraphError(f"the program needs {name} ({spec.kind.name.lower()}), which is no tensor; store it as one")
    return tensor


def refuse_side_effects(program: torch.export.ExportedProgram) -> None:
    """A GraphError where the program writes to tensors that it keeps."""
    signature = program.graph_signature
    kept = {spec.arg.name: spec.target for spec in signature.input_specs if spec.kind != InputKind.USER_INPUT}
    written = [kept.get(getattr(node.args[0], "name", "")) for node in program.graph.nodes if writes_in_place(node)]
    written += [spec.target for spec in signature.output_specs if spec.kind == OutputKind.BUFFER_MUTATION]
    for name in filter(None, written):
        raise GraphError(f"the module changes {name} when it is evaluated; only pure functions are supported")


def format_name(dtype: torch.dtype) -> str:
    """As `certify.graph.formats.FORMATS` calls it."""
    return str(dtype).removeprefix("torch.")


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0]


def user_frame(error: BaseException) -> str:
    """Where in the author's code an error was raised, as ` [in FILE, line N]`."""
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    own = [(file, line) for file, line in frames if "/torch/" not in file and not file.startswith("<")]
    return f" [in {own[-1][0]}, line {own[-1][1]}]" if own else ""
