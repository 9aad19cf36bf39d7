"""Loads a saved model, by what its name ends in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from certify.model import Model


def load(path: str | os.PathLike[str]) -> Model:
    """The model in a file, which evaluates as its own runtime does: that is checked at random points.

    `.onnx` and `.onnx.gz` hold ONNX models, `.pt2` programs of `torch.export`. A missing file is a `FileNotFoundError`, another
    ending a `ValueError`, whatever cannot be read or represented a `GraphError`; each says in one line how to go on.
    """
    name = Path(path).name.lower()
    for ending, reader in READERS.items():
        if name.endswith(ending):
            return reader(path)
    raise ValueError(f"{path}: models are read from files that end in {', '.join(READERS)}{ADVICE.get(Path(name).suffix, '')}")


def _load_onnx(path: str | os.PathLike[str]) -> Model:
    from certify.io.onnx import load_onnx

    return load_onnx(path)


def _load_pt2(path: str | os.PathLike[str]) -> Model:
    from certify.io.torch import load_pt2

    return load_pt2(path)


READERS: Mapping[str, Callable[[str | os.PathLike[str]], Model]] = {
    ".onnx": _load_onnx,
    ".onnx.gz": _load_onnx,
    ".pt2": _load_pt2,
}

_WEIGHTS = "; this looks like weights alone: name the architecture too, with --arch package.module:function --weights FILE"
ADVICE: Mapping[str, str] = dict.fromkeys((".pt", ".pth", ".safetensors"), _WEIGHTS)
