"""Saved `torch.export` programs: `.pt2` files."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export.graph_signature import InputKind

from certify.graph import GraphBuilder, GraphError
from certify.graph.passes import normalise
from certify.io.agreement import require_agreement_somewhere, trial_points
from certify.io.torch.call import Constant, Variable, to_array
from certify.io.torch.capture import as_reference, first_line, format_name, refuse_side_effects
from certify.io.torch.program import read_program
from certify.model import Model


def load_pt2(path: str | PathLike[str]) -> Model:
    """The program in a `.pt2` file, as `torch.export.save` writes it, as a `Model` with fixed weights.

    A symbolic batch axis becomes 1; other symbolic axes are refused, and a batch of fixed size belongs to the shape of one input.
    Pickled code in the file is never run. A `GraphError` names what cannot be represented.
    """
    program = read_archive(Path(path))
    refuse_side_effects(program)
    values = {spec.arg.name: node for spec, node in zip(program.graph_signature.input_specs, _placeholders(program), strict=True)}
    builder = GraphBuilder()
    inputs: list[Any] = []
    x = torch.empty(0)
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            x = _example(spec.arg.name, values[spec.arg.name].meta.get("val"))
            inputs.append(Variable(builder.input(spec.arg.name, tuple(x.shape)), x))
        else:
            inputs.append(_stored(builder, program, str(spec.target)))
    graph = normalise(builder.build(read_program(program, builder, inputs)))

    def run(x: Tensor) -> Tensor:
        (y,) = program.graph_module(*(x if isinstance(value, Variable) else value.value for value in inputs))
        return y

    reference = as_reference(run, x)
    precision = format_name(x.dtype)
    require_agreement_somewhere(graph, reference, trial_points(graph, precision), precision, "torch")
    return Model(graph, Path(path).name, reference, precision=precision)


def read_archive(path: Path) -> torch.export.ExportedProgram:
    """The exported program in a file, without running pickled code; a GraphError where it is damaged or would need to."""
    if not path.is_file():
        raise GraphError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [Path(name).name for name in archive.namelist()]
    except zipfile.BadZipFile as error:
        raise GraphError(f"{path}: not a .pt2 file, or a truncated one; write it with torch.export.save") from error
    if any(name.startswith(("custom_obj", "opaque_obj")) for name in names):
        raise GraphError(f"{path}: holds pickled objects, which would run code when loaded; export a module of tensors alone")
    try:
        with _weights_only(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(path)
    except Exception as error:
        raise GraphError(f"{path}: torch.export cannot load it ({type(error).__name__}: {first_line(error)})") from error


@contextmanager
def _weights_only() -> Iterator[None]:
    """torch loads no pickled code meanwhile, even where it would otherwise."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _placeholders(program: torch.export.ExportedProgram) -> list[torch.fx.Node]:
    return [node for node in program.graph.nodes if node.op == "placeholder"]


def _example(name: str, declared: Any) -> Tensor:
    """A random input of the declared shape, the symbolic batch axis being 1."""
    if not isinstance(declared, Tensor) or not declared.is_floating_point():
        raise GraphError(f"the program's input {name} is no floating-point tensor")
    shape = [1 if isinstance(n, torch.SymInt) else n for n in declared.shape]
    symbolic = [axis for axis, n in enumerate(declared.shape) if isinstance(n, torch.SymInt)]
    if symbolic not in ([], [0]):
        raise GraphError(
            f"the program's input {name} has shape {[str(n) for n in declared.shape]}: only the first axis may be symbolic; "
            "export it with the others fixed"
        )
    return torch.rand(shape, dtype=declared.dtype, generator=torch.Generator().manual_seed(0))


def _stored(builder: GraphBuilder, program: torch.export.ExportedProgram, name: str) -> Constant:
    tensor = program.state_dict.get(name, program.constants.get(name))
    if not isinstance(tensor, Tensor):
        raise GraphError(f"the program needs {name}, which is no tensor")
    tensor = tensor.detach()
    return Constant(tensor, builder.constant(name, to_array(tensor)))
