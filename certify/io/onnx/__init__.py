"""The ONNX front end: opsets 8 to 23, one input, one output, plain or gzipped."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnx import ModelProto

from certify.graph import Graph, GraphError
from certify.graph.passes import as_read, normalise
from certify.io.onnx.constants import exact, rounded
from certify.io.onnx.importer import import_with
from certify.io.onnx.read import Source, read_model

if TYPE_CHECKING:
    from certify.model import Model

__all__ = ["load_onnx", "read_onnx"]


def read_onnx(source: Source) -> Graph:
    """The normalised graph of an ONNX model (path, bytes or `ModelProto`), not yet compared with onnxruntime. Imports no torch.

    A missing file is a `FileNotFoundError`; whatever cannot be read or represented a `GraphError` of one line.
    """
    return _graph(read_model(source))


def load_onnx(source: Source) -> Model:
    """The model in an ONNX file (path, bytes or `ModelProto`), held against onnxruntime at random points.

    A missing file is a `FileNotFoundError`; whatever cannot be read or represented, or differs, a `GraphError` of one line.
    """
    from certify.io.onnx.runtime import compare, open_reference
    from certify.model import Model

    original = read_model(source)
    try:
        graph = _graph(original)
        reference = open_reference(original, graph)
        graph = compare(graph, reference, lambda: as_read(import_with(original, rounded).graph))
    except MemoryError as error:
        raise GraphError(f"the model needs more memory than there is ({str(error) or 'out of memory'})") from error
    return Model(graph, name=_name(source), reference=reference, precision=reference.dtype.name)


def _graph(model: ModelProto) -> Graph:
    """The normalised graph, and where the runtime rounds what the model computes of its constants, that of the rounded ones beside it."""
    imported = import_with(model, exact)
    runtime = _kept(normalise(import_with(model, rounded).graph)) if imported.rounds else None
    return replace(_kept(normalise(imported.graph)), runtime=runtime)


def _kept(graph: Graph) -> Graph:
    """The graph with weights of its own: those of a file are views of it until it is known which are kept, and copied in their order."""
    kept = {name: array if array.flags.writeable else array.copy(order="K") for name, array in graph.constants.items()}
    return replace(graph, constants=kept)


def _name(source: Source) -> str:
    """The file's name without its endings, or the graph's own."""
    if isinstance(source, (str, os.PathLike)):
        return re.sub(r"\.onnx(\.gz)?$", "", Path(source).name, flags=re.IGNORECASE)
    return (source.graph.name if isinstance(source, ModelProto) else "") or "model"
