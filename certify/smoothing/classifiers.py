"""Base classifiers: a torch module, a `.pt2` program or an ONNX file as a function from a batch of noisy inputs to scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

Classify = Callable[[Tensor], Tensor]


def as_classifier(model: nn.Module | Classify) -> Classify:
    """The function itself; a module is put into evaluation mode, since smoothing needs one fixed function."""
    return model.eval() if isinstance(model, nn.Module) else model


def load_classifier(path: str | Path, device: str = "cpu") -> Classify:
    """The classifier in an `.onnx` or `.pt2` file. Files made for batches of one size are run in batches of that size."""
    path = Path(path)
    ending = next((ending for ending in LOADERS if path.name.endswith(ending)), None)
    if ending is None:
        raise ValueError(f"{path}: expected a file ending in {', '.join(LOADERS)}; for weights alone use --arch and --weights")
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    return LOADERS[ending](path, device)


def rescaled(classify: Classify, low: float, high: float) -> Classify:
    """`classify`, whose inputs range from `low` to `high`, for inputs in [0, 1]: noise and radii are in units of the latter."""
    if not low < high:
        raise ValueError(f"the range of a model's inputs must not be empty, got [{low:g}, {high:g}]")
    return lambda x: classify(x * (high - low) + low)


def in_batches_of(size: int, classify: Classify) -> Classify:
    """`classify`, called with exactly `size` rows at a time; the last call is padded."""

    def run(x: Tensor) -> Tensor:
        padding = x[:1].expand(-len(x) % size, *x.shape[1:])
        parts = torch.cat((x, padding)).split(size)
        return torch.cat([classify(part) for part in parts])[: len(x)]

    return run


def _onnx(path: Path, device: str) -> Classify:
    import gzip

    import onnxruntime

    providers = ["CPUExecutionProvider"] if device == "cpu" else ["CUDAExecutionProvider", "CPUExecutionProvider"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else str(path)
    session = onnxruntime.InferenceSession(content, options, providers=providers)
    if len(session.get_inputs()) != 1:
        raise ValueError(f"{path}: expected one input, found {len(session.get_inputs())}")
    entry = session.get_inputs()[0]

    def run(x: Tensor) -> Tensor:
        scores: np.ndarray = session.run(None, {entry.name: x.cpu().numpy()})[0]
        return torch.from_numpy(scores).to(x.device)

    size = entry.shape[0] if entry.shape else None
    return in_batches_of(size, run) if isinstance(size, int) else run


def _program(path: Path, device: str) -> Classify:
    program = torch.export.load(path)
    size = next(node.meta["val"].shape[0] for node in program.graph.nodes if node.name in program.graph_signature.user_inputs)
    module = program.module().to(device)

    def run(x: Tensor) -> Tensor:
        return module(x)

    return in_batches_of(size, run) if isinstance(size, int) else run


LOADERS: Mapping[str, Callable[[Path, str], Classify]] = {".onnx": _onnx, ".onnx.gz": _onnx, ".pt2": _program}
