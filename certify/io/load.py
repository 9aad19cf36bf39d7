"""Loads a saved model, by what its name ends in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from certify.environment import own_settings
from certify.graph import CoarseError, GraphError

if TYPE_CHECKING:
    from torch import Tensor

    from certify.model import Model


def load(path: str | os.PathLike[str]) -> Model:
    """The model in a file, which evaluates as its own runtime does: that is checked at random points.

    `.onnx` and `.onnx.gz` hold ONNX models, `.pt2` programs of `torch.export`. A missing file is a `FileNotFoundError`, another
    ending a `ValueError`, whatever cannot be read a `GraphError`; each says in one line how to go on. A model that can be read and
    not represented, for an operator without a rule, can be called and smoothed: its own runtime answers. The `GraphError` then
    comes when its graph is asked for, by bounds or a verification. A model that casts to a coarser format on its way is refused: what it
    computes hangs on that format's rounding everywhere.
    """
    name = Path(path).name.lower()
    for ending, reader in READERS.items():
        if name.endswith(ending):
            with own_settings():
                return reader(path)
    raise ValueError(f"{path}: models are read from files that end in {', '.join(READERS)}{ADVICE.get(Path(name).suffix, '')}")


def _load_onnx(path: str | os.PathLike[str]) -> Model:
    from certify.io.onnx import load_onnx, read_onnx
    from certify.io.onnx.read import read_model

    try:
        return load_onnx(path)
    except CoarseError:
        raise
    except GraphError as error:
        original = read_model(path)  # what cannot even be read is damaged: an error
        try:
            read_onnx(original)
        except GraphError:
            return _unrepresented(path, error)
        raise  # it has a graph, and the runtime computes something else


def _load_pt2(path: str | os.PathLike[str]) -> Model:
    from certify.io.torch import load_pt2
    from certify.io.torch.archive import read_archive

    try:
        return load_pt2(path)
    except GraphError as error:
        read_archive(Path(path))
        return _unrepresented(path, error)


def _unrepresented(path: str | os.PathLike[str], reason: GraphError) -> Model:
    """The model as a function, its runtime opened when it is called for the first time."""
    from certify.model import Unrepresented

    @cache
    def evaluator() -> Callable[[Tensor], Tensor]:
        from certify.io.evaluator import open_evaluator

        return open_evaluator(path)

    return Unrepresented(Path(path).name, lambda x: evaluator()(x), str(reason))


READERS: Mapping[str, Callable[[str | os.PathLike[str]], Model]] = {
    ".onnx": _load_onnx,
    ".onnx.gz": _load_onnx,
    ".pt2": _load_pt2,
}

_WEIGHTS = "; this looks like weights alone: name the architecture too, with --arch package.module:function --weights FILE"
ADVICE: Mapping[str, str] = dict.fromkeys((".pt", ".pth", ".safetensors"), _WEIGHTS)
