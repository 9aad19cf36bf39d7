"""Which axis of a point is the batch axis: told by the module, which keeps two rows apart along it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from certify.environment import own_settings
from certify.graph import GraphError
from certify.io.torch.capture import one_input, run

Shape = tuple[int, ...]


def example_of(module: nn.Module, shape: Shape, flat: bool = False) -> Tensor:
    """An input of zeros, (1, *input), where `shape` is that of one point with or without a batch axis; `flat` ones are without.

    The first axis is the batch axis if it has length one and the module makes two rows of two. Otherwise there is none, unless the
    module takes nothing else (it may be written for a batch of one). A module that takes neither is given a batch axis.
    """
    behind = (1, *shape)
    candidates = [shape, behind] if shape[:1] == (1,) and not flat else []
    pairs = [candidate for candidate in candidates if _rows(module, (2, *candidate[1:])) == 2]
    chosen = next(iter(pairs), None) or next(
        (candidate for candidate in candidates if _rows(module, candidate) is not None), behind
    )
    return torch.zeros(chosen, dtype=torch.float32, device="cpu")


def _rows(module: nn.Module, shape: Shape) -> int | None:
    """How many rows the module makes of an input of that shape; None where it does not take it."""
    try:
        with own_settings():
            x = torch.zeros(shape)
            y = run(module, x.to(one_input(module, x)), lambda module, x: module(x))
    except GraphError:
        return None
    return int(y.shape[0]) if isinstance(y, Tensor) and y.ndim else 0
