"""Models as their own runtimes evaluate them, in batches of torch tensors: for what needs answers and no bounds, such as smoothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from certify.graph import GraphError

Run = Callable[[Tensor], Tensor]
ELEMENTS: Mapping[str, torch.dtype] = {
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
    "tensor(float16)": torch.float16,
}


@dataclass(frozen=True)
class Evaluator:
    """A function of batches, (batch, *input) to (batch, *output), in `dtype`; not differentiable.

    `declared` is the shape of the model's input as its file has it, None for an axis of any size. A model made for batches of one
    size, or for inputs without a batch axis, is run so. A ValueError where inputs do not fit, or the runtime fails.
    """

    name: str
    run: Run
    declared: tuple[int | None, ...]
    dtype: torch.dtype

    def __call__(self, x: Tensor) -> Tensor:
        """The model's answers."""
        x = x.detach()
        if _fits(x.shape, self.declared):
            return in_batches_of(self.declared[0], self._run)(x)
        if _fits(x.shape[1:], self.declared) and self.declared[:1] in ((None,), x.shape[1:2]):
            return torch.stack([self._run(row) for row in x])
        sizes = ["N" if size is None else size for size in self.declared]
        raise ValueError(
            f"{self.name} takes inputs of shape {sizes}, the batch included; got {list(x.shape)}"
            f"{CHANNELS_LAST if _channels_last(x.shape, self.declared) else ''}"
        )

    def _run(self, x: Tensor) -> Tensor:
        try:
            return self.run(x.to(self.dtype)).to(x.device)
        except Exception as error:  # the errors of runtimes have no common class
            reason = (str(error).strip() or type(error).__name__).split("\n", 1)[0]
            raise ValueError(f"{self.name} cannot be evaluated on a batch of shape {list(x.shape)}: {reason}") from error


CHANNELS_LAST = "; the channels come last: move them to the front (on the command line `--layout nhwc`)"


def in_batches_of(size: int | None, run: Run) -> Run:
    """`run`, called with exactly `size` rows at a time, the last call padded; itself where batches may have any size."""
    if size is None:
        return run

    def in_batches(x: Tensor) -> Tensor:
        padding = x[:1].expand(-len(x) % size, *x.shape[1:])
        return torch.cat([run(part) for part in torch.cat((x, padding)).split(size)])[: len(x)]

    return in_batches


def open_evaluator(path: str | os.PathLike[str], device: str = "cpu") -> Evaluator:
    """The model in an `.onnx`, `.onnx.gz` or `.pt2` file. A ValueError names what is missing, GraphErrors what is damaged."""
    path = Path(path)
    ending = next((ending for ending in OPENERS if path.name.lower().endswith(ending)), None)
    if ending is None:
        raise ValueError(f"{path}: expected a file ending in {', '.join(OPENERS)}; for weights alone use --arch and --weights")
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    return OPENERS[ending](path, device)


def _onnx(path: Path, device: str) -> Evaluator:
    import onnxruntime

    from certify.io.onnx.read import read_bytes

    content = read_bytes(path) if path.suffix.lower() == ".gz" else str(path)
    available = onnxruntime.get_available_providers()
    wanted = ["CPUExecutionProvider"] if device == "cpu" else ["CUDAExecutionProvider", "CPUExecutionProvider"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=[name for name in wanted if name in available])
    except Exception as error:  # onnxruntime's errors have no common class
        raise GraphError(f"{path}: onnxruntime cannot run this model: {str(error).splitlines()[0]}") from error
    entry = _only("inputs", session.get_inputs(), path)
    result = _only("outputs", session.get_outputs(), path)
    for end, what in ((entry, "takes"), (result, "returns")):
        if not end.type.startswith("tensor("):
            raise ValueError(f"{path}: {what} {end.type}, where a tensor is needed")
    if entry.type not in ELEMENTS:
        raise ValueError(f"{path}: takes elements of type {entry.type}; only floating-point inputs are supported")

    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {entry.name: x.cpu().numpy()})[0])

    declared = tuple(size if isinstance(size, int) else None for size in entry.shape)
    return Evaluator(path.name, run, declared, ELEMENTS[entry.type])


def _only(what: str, ends: list[Any], path: Path) -> Any:
    if len(ends) != 1:
        names = ", ".join(end.name for end in ends) or "none"
        raise ValueError(f"{path}: the model has {len(ends)} {what} ({names}) and has to have one")
    return ends[0]


def _program(path: Path, device: str) -> Evaluator:
    from certify.io.torch.archive import read_archive

    program = read_archive(path)
    inputs = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    value = inputs[0].meta.get("val") if len(inputs) == 1 else None
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise ValueError(f"{path}: the program must take one floating-point tensor")
    module = program.module().to(device)

    def run(x: Tensor) -> Tensor:
        with torch.no_grad():
            return module(x.to(device))

    return Evaluator(path.name, run, tuple(size if isinstance(size, int) else None for size in value.shape), value.dtype)


OPENERS: Mapping[str, Callable[[Path, str], Evaluator]] = {".onnx": _onnx, ".onnx.gz": _onnx, ".pt2": _program}


def _fits(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    """Whether a batch has the declared shape, its first axis being free."""
    return len(shape) == len(declared) and all(size in (None, n) for n, size in zip(shape[1:], declared[1:], strict=True))


def _channels_last(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    return len(shape) == 4 and not _fits(shape, declared) and _fits((shape[0], shape[3], shape[1], shape[2]), declared)
