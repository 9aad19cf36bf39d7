"""Reads what the arguments of several commands name: a model, a point, a region."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from certify.model import Model
    from certify.sets import Box, LpBall


def load_model(arguments: argparse.Namespace, input_shape: tuple[int, ...] | None = None) -> Model:
    """The model that the arguments name: a file, or `--arch` with `--weights`, whose input shape the caller may know.

    A ValueError says what is missing where the arguments name no model, two of them, or not enough of one.
    """
    import certify

    if (arguments.model is None) == (arguments.arch is None):
        raise ValueError("name exactly one model: a file (.onnx, .onnx.gz, .pt2), or --arch PACKAGE.MODULE:FUNCTION --weights FILE")
    if arguments.model is not None:
        return certify.load(arguments.model)
    import torch

    from certify.io.weights import load_arch

    shape = tuple(arguments.input_shape or input_shape or ())
    if not shape:
        raise ValueError("--arch needs --input-shape, the shape of one input without the batch axis, such as --input-shape 3 32 32")
    return certify.compile(load_arch(arguments.arch, arguments.weights), torch.zeros(1, *shape))


def model_files(arguments: argparse.Namespace) -> list[str]:
    """The files that make up the model, for records."""
    return [name for name in (arguments.model, arguments.weights) if name is not None]


def check_device(name: str) -> None:
    """A ValueError where torch does not know the device or finds none."""
    if name == "cpu":
        return
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].split(":")[0]
        raise ValueError(f"--device {name} cannot be used ({reason}); --device cpu always can") from error


def load_point(path: str) -> np.ndarray:
    """The one input in a `.npy` file; a ValueError for anything that is not an array of finite numbers."""
    import numpy as np

    try:
        point = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a .npy file ({error}); write it with numpy.save") from error
    if not isinstance(point, np.ndarray) or point.dtype.kind not in "fiu":
        raise ValueError(f"{path}: expected one array of numbers, written by numpy.save")
    if not np.isfinite(point).all():
        raise ValueError(f"{path}: {int((~np.isfinite(point)).sum())} entries are NaN or infinite")
    return point if point.dtype.kind == "f" else point.astype(np.float32)


def load_region(arguments: argparse.Namespace, model: Model) -> Box | LpBall:
    """The box in `--box FILE.npz`, or the ball `--around X.npy --eps E`, in float64."""
    if (arguments.box is None) == (arguments.around is None):
        raise ValueError("name exactly one region: --box FILE.npz, or --around X.npy --eps E")
    return _read_box(arguments.box, model) if arguments.around is None else _ball(arguments, model)


def _read_box(path: str, model: Model) -> Box:
    import numpy as np
    import torch

    from certify.sets import Box

    try:
        with np.load(path, allow_pickle=False) as file:
            ends = [torch.as_tensor(file[name], dtype=torch.float64) for name in ("lower", "upper")]
    except (ValueError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: expected an .npz file with arrays `lower` and `upper` ({error})") from error
    shape = model.graph.input_shape
    single = [tuple(end.shape) in (shape, shape[1:]) for end in ends]
    return Box(*(model.to_input(end[None] if alone else end) for end, alone in zip(ends, single, strict=True)))


def _ball(arguments: argparse.Namespace, model: Model) -> LpBall:
    import torch

    from certify.sets import LpBall
    from certify.specification.exact import round_down, round_up

    if arguments.eps is None:
        raise ValueError("--around needs --eps, the radius, such as --eps 2/255")
    center = model.to_input(torch.as_tensor(load_point(arguments.around), dtype=torch.float64)[None])
    domain = None if arguments.domain is None else (round_down(arguments.domain[0]), round_up(arguments.domain[1]))
    return LpBall(center, torch.tensor(round_up(arguments.eps), dtype=torch.float64), arguments.norm, domain)


def is_property(path: str) -> bool:
    """Whether a file name is that of a VNN-LIB property."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    return suffixes[-1:] == [".vnnlib"] or suffixes[-2:] == [".vnnlib", ".gz"]
