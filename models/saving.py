"""Saves a trained network as ONNX and as a torch.export program, both with a batch axis of any size."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn


def save(module: nn.Module, example: Tensor, stem: Path) -> None:
    """Writes STEM.onnx and STEM.pt2; `example` is a batch of one input."""
    save_onnx(module, example, stem.with_suffix(".onnx"))
    save_program(module, example, stem.with_suffix(".pt2"))


def save_onnx(module: nn.Module, example: Tensor, path: Path) -> None:
    """Writes an ONNX file by torch's TorchScript exporter, the one that needs no further package."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            module,
            (example,),
            buffer,
            dynamo=False,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        )
    path.write_bytes(buffer.getvalue())


def save_program(module: nn.Module, example: Tensor, path: Path) -> None:
    """Writes a `.pt2` file, without the stack traces that would carry the paths of the machine it was made on."""
    batch = torch.export.Dim("batch")
    program = torch.export.export(module, (example.repeat(2, *(1,) * (example.ndim - 1)),), dynamic_shapes=({0: batch},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    torch.export.save(program, path)
