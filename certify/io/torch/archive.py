"""Saved `torch.export` programs: `.pt2` files."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export.graph_signature import InputKind

from certify.environment import own_settings
from certify.graph import GraphError
from certify.io.agreement import in_agreement
from certify.io.torch.call import Variable, to_array
from certify.io.torch.export import Inputs, first_line, format_name, read_fixed, read_plain, refuse_side_effects, stored
from certify.model import Model


def load_pt2(path: str | PathLike[str]) -> Model:
    """The program in a `.pt2` file, as `torch.export.save` writes it, as a `Model` with fixed weights.

    A symbolic batch axis becomes 1; other symbolic axes are refused, and a batch of fixed size belongs to the shape of one input.
    Pickled code in the file is never run. A `GraphError` names what cannot be represented.
    """
    program = read_archive(Path(path))
    refuse_side_effects(program)
    values = zip(program.graph_signature.input_specs, _placeholders(program), strict=True)
    examples = [_example(spec.arg.name, node.meta.get("val")) for spec, node in values if spec.kind == InputKind.USER_INPUT]
    if len(examples) != 1:
        raise GraphError(
            f"the program has {len(examples)} inputs: only one is supported; fix the others as constants, and export it again"
        )
    (x,) = examples
    number = partial(stored, program)
    with own_settings():
        graph, inputs = read_fixed(program, number, x)
        reference = _reference(program, inputs, x)
        precision = format_name(x.dtype)
        graph = in_agreement(graph, lambda: read_plain(program, number, x), reference, precision, "torch")
    return Model(graph, Path(path).name, reference, precision=precision)


def _reference(program: torch.export.ExportedProgram, inputs: Inputs, like: Tensor) -> Callable[[np.ndarray], np.ndarray]:
    """The program as a function of arrays, evaluated in the precision of `like`."""

    def reference(x: np.ndarray) -> np.ndarray:
        point = torch.from_numpy(x.copy()).to(like)  # a copy: the program may write to its input
        with own_settings(), torch.no_grad():
            (y,) = program.graph_module(*(point if isinstance(value, Variable) else value.value for value in inputs))
        return to_array(y)

    return reference


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
