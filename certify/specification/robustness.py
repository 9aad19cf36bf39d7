"""Local robustness around a point, the commonest specification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.specification.atoms import Atom
from certify.specification.exact import Rationals, select
from certify.specification.inputs import Ball, Boxes
from certify.specification.specification import Clause, Shape, Specification, flat_declaration


@dataclass(frozen=True)
class Robustness:
    """Unsafe: on some input of the set, a target class scores at least as high as `label`.

    A specification that waits for a network to say how many classes there are; `targets` None stands for all others. `shape` is
    that of the point as it was given.
    """

    inputs: Boxes | Ball
    label: int
    targets: tuple[int, ...] | None = None
    shape: Shape = ()

    def bind(self, input_shape: Shape, output_shape: Shape) -> Specification:
        """The specification for a network of these shapes: one clause y_label - y_target <= 0 for every target."""
        classes = prod(output_shape)
        targets = tuple(t for t in range(classes) if t != self.label) if self.targets is None else self.targets
        for name in (self.label, *targets):
            if not 0 <= name < classes:
                raise ValueError(f"class {name} does not exist: the network has {classes} outputs, counted from 0")
        clauses = tuple(Clause(0, (_not_above(self.label, target),)) for target in targets)
        size = prod(input_shape)
        if size != self.inputs.size:
            raise ValueError(f"the point has {self.inputs.size} entries, the network takes {size} (shape {list(input_shape)})")
        return Specification(self.inputs, clauses, classes, flat_declaration(size, classes))


def robust(
    x: Any,
    label: Any,
    eps: str | float | Fraction,
    p: float = inf,
    domain: tuple[Any, Any] | None = None,
    *,
    targets: Sequence[int] | None = None,
) -> Robustness:
    """The specification "every input within eps of x in the p-norm, and inside the domain, is classified as `label`".

    x is one input (tensor or array, with or without a leading batch axis of one), taken exactly as the floats it holds; eps may be
    exact, as "2/255" or a Fraction; p is 1, 2 or infinity; domain is (low, high), numbers or arrays that broadcast against x. The
    set is kept exactly. ValueError where the centre lies outside the domain or something is NaN.
    """
    center = np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)
    radius = rational(eps)
    if radius < 0:
        raise ValueError(f"eps must not be negative, got {eps}")
    low, high = (_limits(limit, center.shape) for limit in domain or (-inf, inf))
    flat = center.astype(np.float64).ravel()
    if not np.isfinite(flat).all():
        raise ValueError(f"{int((~np.isfinite(flat)).sum())} entries of the point are NaN or infinite")
    allowed = Boxes(low, high)
    if not allowed.contains(0, flat):
        raise ValueError("the point does not lie in the domain; check the scaling of the data")
    inputs = _cube(flat, radius, allowed) if float(p) == inf else Ball(flat, radius, float(p), allowed)
    return Robustness(inputs, int(label), None if targets is None else tuple(int(t) for t in targets), center.shape)


def rational(number: str | float | Fraction) -> Fraction:
    """The exact value of "2/255", "0.1", a float or a Fraction; a ValueError where it is none."""
    try:
        return Fraction(number.item() if hasattr(number, "item") else number)
    except (ValueError, OverflowError, ZeroDivisionError, TypeError):
        raise ValueError(f"{number!r} is not a finite number; write it as 0.1 or 2/255") from None


def _not_above(label: int, target: int) -> Atom:
    terms = sorted(((label, Fraction(1)), (target, Fraction(-1))))
    return Atom(tuple(terms), (), Fraction(0))


def _limits(limit: Any, shape: Shape) -> Rationals:
    """One end of the domain, (1, size): numbers may be exact, arrays are floats."""
    if isinstance(limit, str | Fraction):
        return Rationals.of([rational(limit)])[np.zeros((1, prod(shape)), np.int64)]
    limit = limit.detach().cpu() if hasattr(limit, "detach") else limit
    return Rationals.of_floats(np.broadcast_to(np.asarray(limit, np.float64), shape).reshape(1, -1))


def _cube(center: NDArray[np.float64], eps: Fraction, domain: Boxes) -> Boxes:
    """[center - eps, center + eps] inside the domain, exact. Pixels take few values: each is computed once."""
    values, where = np.unique(center, return_inverse=True)
    lower = Rationals.of([Fraction(v) - eps for v in values.tolist()])[where][None]
    upper = Rationals.of([Fraction(v) + eps for v in values.tolist()])[where][None]
    return Boxes(
        select(domain.lower.exceeds(lower), domain.lower, lower),
        select(upper.exceeds(domain.upper), domain.upper, upper),
    )
