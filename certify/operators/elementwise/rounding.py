"""A-priori rounding errors of what the lines are computed with.

Let eps be the spacing of the working dtype at 1 (twice the unit roundoff). One addition, product or quotient has a relative
error of at most eps / 2; a function of torch's that is not correctly rounded is granted `ULPS` * eps relative to the `scale`
that its facts name. The tests measure every function against 80 digits and ask for at most half of that, so that other
processors have room.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

ULPS = 4.0


def eps(x: Tensor) -> float:
    """Spacing of x's dtype at 1."""
    return torch.finfo(x.dtype).eps


def tiny(x: Tensor) -> float:
    """Smallest normal number of x's dtype: more than any absolute error that underflow makes."""
    return torch.finfo(x.dtype).tiny


def largest(x: Tensor) -> float:
    """Largest finite number of x's dtype."""
    return torch.finfo(x.dtype).max


def rounded(number: float, like: Tensor, direction: float) -> float:
    """`number` as a number of like's dtype, rounded towards `direction` (an infinity) if it is not one."""
    if like.dtype == torch.float64:
        return number
    nearest = np.float32(number)
    outside = (float(nearest) - number) * direction < 0
    return float(np.nextafter(nearest, np.float32(direction))) if outside else float(nearest)


def function_error(x: Tensor, scale: Tensor) -> Tensor:
    """Bound of |computed f(x) - f(x)| for a function whose error is `ULPS` * eps relative to `scale`.

    The second term is for underflow inside f, such as exp(-x) of a sigmoid that overflows: a result below the normal numbers is
    lost, or that times x.
    """
    return ULPS * (eps(x) * scale + tiny(x) * (1 + x.abs()))
