"""Live modules: captured once, their parameters shared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind, InputSpec, OutputKind

from certify.graph import GraphBuilder, GraphError
from certify.graph.passes import normalise
from certify.io.agreement import require_agreement_somewhere, trial_points
from certify.io.torch.call import Constant, Variable, to_array
from certify.io.torch.program import read_program, writes_in_place
from certify.model import Model


def compile(module: nn.Module, example: Any) -> Model:
    """The module as a `Model` whose constants are the module's own parameters and buffers: bounds see every later change of their
    values, and are differentiable in them.

    `example` is an input with a batch axis in front, of which one element is used; shapes are fixed by it. The module is captured
    once, so control flow must not depend on the input's values; what is no parameter or buffer keeps the value it has now. A module
    with BatchNorm or Dropout must be in eval mode. A `GraphError` names what cannot be captured, and where.
    """
    refuse_training_statistics(module)
    x = one_input(module, example)
    program = _export(module, x)
    refuse_side_effects(program)
    precision = _precision(module, x)
    builder = GraphBuilder()
    inputs = [_placeholder(builder, spec, program, module, x) for spec in program.graph_signature.input_specs]
    graph = normalise(builder.build(read_program(program, builder, inputs)))
    reference = as_reference(module, x)
    frozen = replace(graph, constants={name: to_array(torch.as_tensor(value)) for name, value in graph.constants.items()})
    points = trial_points(frozen, precision, [to_array(x)])
    require_agreement_somewhere(frozen, reference, points, precision, "the module")
    return Model(graph, type(module).__name__, reference, live=True, precision=precision)


def refuse_training_statistics(module: nn.Module) -> None:
    """A GraphError where a layer of the module would act on batches, or at random, as it does while training."""
    for name, layer in module.named_modules():
        normalises = isinstance(layer, nn.modules.batchnorm._BatchNorm)
        drops = isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0
        if layer.training and (normalises or drops):
            raise GraphError(
                f"layer {name or 'itself'} ({type(layer).__name__}) is in training mode, where it is no function of one input; "
                "call .eval() on the module, or on this layer, first"
            )


def refuse_side_effects(program: torch.export.ExportedProgram) -> None:
    """A GraphError where the program writes to tensors that it keeps."""
    signature = program.graph_signature
    kept = {spec.arg.name: spec.target for spec in signature.input_specs if spec.kind != InputKind.USER_INPUT}
    written = [kept.get(getattr(node.args[0], "name", "")) for node in program.graph.nodes if writes_in_place(node)]
    written += [spec.target for spec in signature.output_specs if spec.kind == OutputKind.BUFFER_MUTATION]
    for name in filter(None, written):
        raise GraphError(f"the module changes {name} when it is evaluated; only pure functions are supported")


def as_reference(module: Callable[[Tensor], Tensor], like: Tensor) -> Callable[[np.ndarray], np.ndarray]:
    """The module as a function of arrays, evaluated in the precision and on the device of `like`."""

    def reference(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return to_array(module(torch.tensor(x).to(like)))  # a copy: the module may write to its input

    return reference


def one_input(module: nn.Module, example: Any) -> Tensor:
    """A copy of the first element of a batch, (1, *input), in the precision and on the device of the module's parameters."""
    x = torch.as_tensor(example).detach()
    if x.ndim == 0 or x.shape[0] == 0 or not x.is_floating_point():
        raise ValueError(f"the example must be a batch of inputs, floating-point; got {x.dtype} of shape {list(x.shape)}")
    like = next((t for t in chain(module.parameters(), module.buffers()) if t.is_floating_point()), x)
    return x[:1].to(like, copy=True)


def _precision(module: nn.Module, x: Tensor) -> str:
    """The coarser format of the input and of what the module returns, which must be one tensor."""
    with torch.no_grad():
        y = module(x.clone())
    if not isinstance(y, Tensor) or not y.is_floating_point():
        kind = f"a tensor of {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
        raise GraphError(f"the module returns {kind}; only one floating-point tensor is supported: wrap the module and pick it")
    return format_name(max(x.dtype, y.dtype, key=lambda dtype: torch.finfo(dtype).eps))


def format_name(dtype: torch.dtype) -> str:
    """As `certify.graph.formats.FORMATS` calls it."""
    return str(dtype).removeprefix("torch.")


def _export(module: nn.Module, x: Tensor) -> torch.export.ExportedProgram:
    try:
        return torch.export.export(module, (x.clone(),), strict=False)
    except Exception as error:
        if "data-dependent" in str(error).lower() or "DataDependent" in type(error).__name__:
            raise GraphError(
                "the module's control flow depends on values of its input (an if, a loop or .item()), so it is no single graph; "
                f"write it with torch.clamp, torch.maximum and the like, or bound its branches one by one{_user_frame(error)}"
            ) from error
        raise GraphError(
            f"the module cannot be captured on an input of shape {list(x.shape)}: {first_line(error)}{_user_frame(error)}"
        ) from error


def _placeholder(
    builder: GraphBuilder, spec: InputSpec, program: torch.export.ExportedProgram, module: nn.Module, x: Tensor
) -> Any:
    """What fills a placeholder of the program: the input, or one of the module's own tensors."""
    if spec.kind == InputKind.USER_INPUT:
        return Variable(builder.input(spec.arg.name, tuple(x.shape)), x)
    if spec.kind == InputKind.CONSTANT_TENSOR:
        return Constant(program.constants[str(spec.target)])
    if spec.kind not in (InputKind.PARAMETER, InputKind.BUFFER):
        raise GraphError(f"the module needs {spec.target} ({spec.kind.name.lower()}), which is not supported; store it as a tensor")
    path, _, name = str(spec.target).rpartition(".")
    tensor = getattr(module.get_submodule(path), name)
    live = tensor.is_floating_point()
    return Constant(tensor, builder.constant(str(spec.target), tensor) if live else None, live)


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0]


def _user_frame(error: BaseException) -> str:
    """Where in the author's code an error was raised, as ` [in FILE, line N]`."""
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    own = [(file, line) for file, line in frames if "/torch/" not in file and not file.startswith("<")]
    return f" [in {own[-1][0]}, line {own[-1][1]}]" if own else ""
