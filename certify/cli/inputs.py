"""Reads what the arguments of several commands name: a model, a point, a region."""

from __future__ import annotations

import argparse
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from certify.io.datasets import Data
    from certify.io.units import Units
    from certify.model import Model
    from certify.sets import Box, LpBall


DEVICES = ("cpu", "cuda", "mps", "xpu")


def said(notes: Iterable[str]) -> None:
    """Notes to standard error, a line each."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def load_dataset(arguments: argparse.Namespace, spec: str, count: int | None, split: str) -> Data:
    """The labelled data that the arguments name, in the units that they ask for."""
    from certify.io.datasets import load_data

    return load_data(spec, count, split, scale=arguments.scale, layout=arguments.layout or "nchw")


def any_module(arguments: argparse.Namespace) -> nn.Module:
    """The module of `--arch`, whatever its weights."""
    from certify.io.weights import load_arch

    return load_arch(arguments.arch, arguments.weights)


def named_module(arguments: argparse.Namespace) -> nn.Module:
    """The module of `--arch` with the weights of `--weights`, or those that the function always makes; a ValueError for random ones."""
    import torch

    module = any_module(arguments)
    if arguments.weights is None:
        again = any_module(arguments).state_dict()
        random = [name for name, value in module.state_dict().items() if not torch.equal(value, again[name])]
        if random:
            raise ValueError(
                f"{arguments.arch} makes other weights at every call ({random[0]} for one): they are random, and what holds for them "
                "says nothing about any other network; name trained ones by --weights FILE"
            )
        said([f"no --weights: the weights are those that {arguments.arch} makes"])
    return module


def load_model(
    arguments: argparse.Namespace,
    input_shape: tuple[int, ...] | None = None,
    module: Callable[[argparse.Namespace], nn.Module] = named_module,
) -> Model:
    """The model that the arguments name: a file, or the `module` of `--arch`, whose input shape the caller may know.

    A ValueError says what is missing where the arguments name no model, two of them, or not enough of one.
    """
    import certify

    if (arguments.model is None) == (arguments.arch is None):
        raise ValueError("name exactly one model: a file (.onnx, .onnx.gz, .pt2), or --arch PACKAGE.MODULE:FUNCTION --weights FILE")
    if arguments.model is not None:
        return certify.load(arguments.model)
    import torch

    shape = tuple(arguments.input_shape or input_shape or ())
    if not shape:
        raise ValueError("--arch needs --input-shape, the shape of one input without the batch axis, such as --input-shape 3 32 32")
    return certify.compile(module(arguments), torch.zeros(1, *shape))


def model_files(arguments: argparse.Namespace) -> list[str]:
    """The files that make up the model, for records."""
    return [name for name in (arguments.model, arguments.weights) if name is not None]


def check_device(name: str) -> None:
    """A ValueError where torch does not know the device or finds none."""
    if name == "cpu":
        return
    import torch

    try:
        if torch.device(name).type not in DEVICES:
            raise RuntimeError(f"it is none of {', '.join(DEVICES)}")
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].split(":")[0]
        raise ValueError(f"--device {name} cannot be used ({reason}); --device cpu always can") from error


def load_array(path: str) -> np.ndarray:
    """The array in a `.npy` file as it is stored; a ValueError for anything that is not an array of finite numbers."""
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: not a .npy file ({error}); write it with numpy.save") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise ValueError(f"{path}: expected one array of numbers, written by numpy.save")
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: {int((~np.isfinite(array)).sum())} entries are NaN or infinite")
    return array


def load_point(arguments: argparse.Namespace) -> tuple[np.ndarray, Units]:
    """The one input in the file of `--around`, as floating-point numbers, and its units."""
    from certify.io.units import channels_first, read_units

    stored = load_array(arguments.around)
    if not stored.size:
        raise ValueError(f"{arguments.around}: an array of shape {list(stored.shape)} holds no input")
    try:
        point, units = read_units(channels_first(stored, arguments.layout or "nchw", batched=False), arguments.scale)
    except ValueError as error:
        raise ValueError(f"{arguments.around}: {error}") from error
    return point, units_of(arguments, units)


def units_of(arguments: argparse.Namespace, units: Units) -> Units:
    """The units of inputs inside `--domain`, where it is given."""
    return units if arguments.domain is None else units.within((float(arguments.domain[0]), float(arguments.domain[1])))


def notes_around(arguments: argparse.Namespace, point: np.ndarray, units: Units) -> list[str]:
    """What looks wrong about a ball around a point."""
    from certify.io.units import domain_notes, notes

    return [*notes(units, arguments.eps, arguments.norm, point.shape), *domain_notes(units)]


def read_box(path: str, model: Model) -> Box:
    """The box in a .npz file with arrays `lower` and `upper`; a ValueError names what is wrong with it."""
    import numpy as np
    import torch

    from certify.sets import Box

    try:
        with np.load(path, allow_pickle=False) as file:
            ends = [torch.as_tensor(file[name], dtype=torch.float64) for name in ("lower", "upper")]
    except (ValueError, EOFError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: expected an .npz file with arrays `lower` and `upper` ({error})") from error
    shape = model.graph.input_shape
    single = [tuple(end.shape) in (shape, shape[1:]) for end in ends]
    return Box(*(model.to_input(end[None] if alone else end) for end, alone in zip(ends, single, strict=True)))


def read_ball(arguments: argparse.Namespace, model: Model, point: np.ndarray, units: Units) -> LpBall:
    """The ball `--around X.npy --eps E`, in float64, inside the domain that is named or known."""
    import torch

    from certify.sets import LpBall
    from certify.specification.exact import round_down, round_up

    if arguments.eps is None:
        raise ValueError("--around needs --eps, the radius, such as --eps 2/255")
    center = model.to_input(torch.as_tensor(point, dtype=torch.float64)[None])
    named = domain(arguments, units)
    ends = None if named is None else (round_down(named[0]), round_up(named[1]))
    return LpBall(center, torch.tensor(round_up(arguments.eps), dtype=torch.float64), arguments.norm, ends)


def domain(arguments: argparse.Namespace, units: Units) -> tuple[Fraction, Fraction] | None:
    """What inputs cannot leave: `--domain`, exact, or what is known of the data."""
    ends = arguments.domain or units.domain
    return None if ends is None else (Fraction(ends[0]), Fraction(ends[1]))


def is_property(path: str) -> bool:
    """Whether a file name is that of a VNN-LIB property."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    return suffixes[-1:] == [".vnnlib"] or suffixes[-2:] == [".vnnlib", ".gz"]
