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


def _standard(model: ModelProto) -> ModelProto:
    """The model with functions that it defines itself written out, without what its output does not depend on."""
    if not model.functions:
        return trimmed(model)
    from onnx import inliner

    return trimmed(inliner.inline_local_functions(model))
