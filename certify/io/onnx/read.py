"""Reads ONNX files: plain, gzipped, from memory."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, external_data_helper

from certify.graph import GraphError
from certify.io.onnx.live import trimmed

Source = str | os.PathLike[str] | bytes | ModelProto


def read_model(source: Source) -> ModelProto:
    """The model in a file (`.onnx`, `.onnx.gz`), in bytes, or as it is. One-line errors: `FileNotFoundError`, else `GraphError`."""
    if isinstance(source, ModelProto):
        return _standard(source)
    if isinstance(source, bytes):
        return _standard(_parse(source, "the given bytes"))
    path = Path(source)
    model = _parse(read_bytes(path), str(path))
    external = [tensor for tensor in model.graph.initializer if tensor.data_location == TensorProto.EXTERNAL]
    if external:
        _load_external(model, path, external[0])
    return _standard(model)


def read_bytes(path: Path) -> bytes:
    """What a file holds, unpacked if its name ends in .gz."""
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix.lower() == ".gz" else data
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise GraphError(f"{path}: not a complete gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise GraphError(f"{path}: cannot be read ({error.strerror})") from error


def _parse(data: bytes, origin: str) -> ModelProto:
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise GraphError(f"{origin}: not an ONNX model, or a truncated one ({len(data)} bytes)") from error
    if not model.HasField("graph") or not model.graph.output:
        raise GraphError(f"{origin}: holds no ONNX graph with an output ({len(data)} bytes); the file may be truncated")
    return model


def _load_external(model: ModelProto, path: Path, first: TensorProto) -> None:
    """Weights that are kept in files beside the model."""
    location = next((entry.value for entry in first.external_data if entry.key == "location"), "?")
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # missing files, unsafe paths and short files are reported in many ways
        raise GraphError(f"{path}: the weights in {location!r} beside it cannot be read ({str(error).splitlines()[0]})") from error


def _require_text(model: ModelProto) -> None:
    """Names that are no text are found by nothing, and crash what they are given to."""
    graph = model.graph
    nodes = [*graph.node, *(node for function in model.functions for node in function.node)]
    names = [entry.name for entry in (*graph.input, *graph.output, *graph.initializer)]
    names += [text for node in nodes for text in (node.op_type, node.name, node.domain, *node.input, *node.output)]
    names += [attribute.name for node in nodes for attribute in node.attribute]
    broken = next((name for name in names if not isinstance(name, str)), None)
    if broken is not None:
        raise GraphError(f"the model has a name that is no text, {broken!r:.40}; the file may be damaged")


def _standard(model: ModelProto) -> ModelProto:
    """The model with functions that it defines itself written out, without what its output does not depend on."""
    _require_text(model)
    if not model.functions:
        return trimmed(model)
    from onnx import inliner

    _require_few_nodes(model)
    try:
        return trimmed(inliner.inline_local_functions(model))
    except Exception as error:  # onnx has several classes of errors, with no base of their own
        raise GraphError(f"the model's own functions cannot be written out ({str(error).splitlines()[0]})") from error


MOST_NODES = 10**6
"""Nodes of a model whose functions are written out: a few that call each other twice in a row would make any number."""


def _require_few_nodes(model: ModelProto) -> None:
    """Counts the nodes that functions make; those that call themselves are left to onnx."""
    functions = {(function.domain, function.name): function for function in model.functions}
    sizes: dict[tuple[str, str], int] = {}
    before: dict[tuple[str, str], int] | None = None
    while before != sizes:
        before = dict(sizes)
        for key, function in functions.items():
            sizes[key] = min(
                sum(sizes.get((node.domain, node.op_type), 1) for node in function.node), MOST_NODES + 1
            )  # grows, up to there
    if sum(sizes.get((node.domain, node.op_type), 1) for node in model.graph.node) > MOST_NODES:
        raise GraphError(f"the model's own functions make more than {MOST_NODES} nodes; the file may be damaged")
