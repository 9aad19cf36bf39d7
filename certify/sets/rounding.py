"""Numbers of sets: read exactly, or rounded so that the set only grows; rounding is a constant for derivatives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from certify.environment import subnormals_kept

PRECISIONS = (torch.float32, torch.float64)


class _Outward(torch.autograd.Function):
    """The next number towards an end; its derivative is one, that of the real number it stands for."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, end: float) -> Tensor:
        return torch.nextafter(x, torch.full_like(x, end))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, end: None) -> Tensor:
        return tangent.clone()


def outward(x: Tensor, end: float) -> Tensor:
    """The next number towards `end`, -inf or inf: beyond any real number that x is the nearest number to. Differentiable."""
    return _Outward.apply(x, end)


def as_tensor(name: str, values: Any, like: Tensor | None = None, end: float | None = None) -> Tensor:
    """Numbers (a tensor, an array, a list, a number) as a float32 or float64 tensor, of the dtype and on the device of `like` if given.

    Lists and integers become float32 otherwise; integers must be such numbers. What the dtype does not hold is rounded to nearest, or
    towards `end`. A ValueError, which begins with `name`, where they are numbers of another precision, or none.
    """
    with subnormals_kept():
        return _converted(name, values, like, end)


def _converted(name: str, values: Any, like: Tensor | None, end: float | None) -> Tensor:
    typed = hasattr(values, "dtype")
    tensor = _read(name, values, None if typed else torch.float64)
    if tensor.is_floating_point() or like is not None:
        exact = tensor if tensor.is_floating_point() else _from_integers(name, tensor, torch.float64)
        dtype = like.dtype if like is not None else tensor.dtype if typed else torch.float32
        return _rounded(exact, exact.to(dtype=dtype, device=exact.device if like is None else like.device), end)
    return _from_integers(name, tensor, torch.float32)


def _read(name: str, values: Any, dtype: torch.dtype | None) -> Tensor:
    try:
        tensor = values if isinstance(values, Tensor) else torch.as_tensor(values, dtype=dtype, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).split("\n", 1)[0]
        raise ValueError(f"{name} cannot be read ({reason}); give float32 or float64 numbers") from error
    if tensor.is_complex() or (tensor.is_floating_point() and tensor.dtype not in PRECISIONS):
        given = str(tensor.dtype).removeprefix("torch.")
        raise ValueError(f"{name} is {given}: sets are float32 or float64; convert it first, by .float() for instance")
    if tensor.is_meta:
        raise ValueError(
            f"{name} is on the device meta, where tensors hold no numbers; make it on another (torch.set_default_device)"
        )
    return tensor


def _from_integers(name: str, integers: Tensor, dtype: torch.dtype) -> Tensor:
    """Integers or truth values as floating-point numbers, if they are such numbers."""
    found = integers.to(dtype)
    if not torch.equal(found.to(integers.dtype), integers):
        raise ValueError(f"{name} holds integers that are no {str(dtype).removeprefix('torch.')} numbers; give float64")
    return found


def _rounded(exact: Tensor, found: Tensor, end: float | None) -> Tensor:
    """What a tensor was rounded to, one step towards `end` where that is not beyond it."""
    if end is None or found.dtype == exact.dtype:
        return found
    with torch.no_grad():
        back = found.to(device=exact.device, dtype=exact.dtype)
        inside = (back < exact if end > 0 else back > exact).to(found.device)
    return torch.where(inside, outward(found, end), found)
