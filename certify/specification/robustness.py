"""Local robustness around a point, the commonest specification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import inf, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.specification.atoms import Atom
from certify.specification.exact import Rationals, select
from certify.specification.inputs import Ball, Boxes
from certify.specification.specification import Clause, Shape, Specification, flat_declaration

Exact = str | float | Fraction
"""A number as it is meant: "2/255" is two divided by 255, a float is what it holds."""
Unsafe = Callable[[int], tuple[tuple[Atom, ...], ...]]
"""From the number of outputs to the conditions of each clause; a ValueError where the question makes no sense for so many."""


@dataclass(frozen=True)
class Robustness:
    """Unsafe: on some input of the set, the outputs do what one of the clauses of `unsafe` says.

    A specification that waits for a network to say how many outputs there are. `shape` is that of the point as it was given.
    """

    inputs: Boxes | Ball
    unsafe: Unsafe
    shape: Shape = ()

    def bind(self, input_shape: Shape, output_shape: Shape) -> Specification:
        """The specification for a network of these shapes."""
        outputs = prod(output_shape)
        clauses = tuple(Clause(0, atoms) for atoms in self.unsafe(outputs))
        size = prod(input_shape)
        if size != self.inputs.size:
            raise ValueError(f"the point has {self.inputs.size} entries, the network takes {size} (shape {list(input_shape)})")
        notes = (OWN_TARGET,) if any(atom.constant for clause in clauses for atom in clause.atoms) else ()
        return Specification(self.inputs, clauses, outputs, flat_declaration(size, outputs), notes)


def robust(
    x: Any,
    label: Any,
    eps: Exact,
    p: float = inf,
    domain: tuple[Any, Any] | None = None,
    *,
    targets: Sequence[int] | None = None,
    threshold: Exact | None = None,
    within: tuple[Exact | None, Exact | None] | None = None,
) -> Robustness:
    """The specification "every input within eps of x in the p-norm, and inside the domain, gets the right answer".

    | what the network answers | the right answer |
    |---|---|
    | a score for each class | the score of `label` is above that of every other class (of `targets`, where they are given) |
    | one score of two classes | `label` is 1 and the score above `threshold`, or `label` is 0 and the score below it |
    | numbers (regression; `label` None) | every output y has low <= y <= high, where `within` is (low, high), None for an open end |

    A tie is unsafe in the first two. x is one input (tensor or array, with or without a leading batch axis of one), taken exactly as the
    floats it holds; eps, threshold and the ends of the interval may be exact, as "2/255" or a Fraction; p is 1, 2 or infinity; domain is
    (low, high), numbers or arrays that broadcast against x. The set is kept exactly. ValueError where the centre lies outside the domain,
    something is NaN, or, once the number of outputs is known, the question has no meaning for so many.
    """
    x = x.detach().cpu() if hasattr(x, "detach") else x
    center = np.asarray(x.double() if hasattr(x, "detach") and x.is_floating_point() else x)
    radius = rational(eps)
    if radius < 0:
        raise ValueError(f"eps must not be negative, got {eps}")
    low, high = (_limits(limit, center.shape) for limit in domain or (-inf, inf))
    flat = center.astype(np.float64).ravel()
    if not np.isfinite(flat).all():
        raise ValueError(f"{int((~np.isfinite(flat)).sum())} entries of the point are NaN or infinite")
    if (flat.astype(center.dtype) != center.ravel()).any():
        raise ValueError(f"entries of the point ({center.dtype}) are no float64 numbers; convert it first, knowing what is lost")
    allowed = Boxes(low, high)
    if not allowed.contains(0, flat):
        raise ValueError("the point does not lie in the domain; check the scaling of the data")
    ball = Ball(flat, radius, float(p), allowed) if float(p) != inf else None
    inputs = _cube(flat, radius, allowed) if ball is None or not radius else ball  # of no radius, it is a point
    return Robustness(inputs, _question(label, targets, threshold, within), center.shape)


def _question(
    label: Any, targets: Sequence[int] | None, threshold: Exact | None, within: tuple[Exact | None, Exact | None] | None
) -> Unsafe:
    """What the arguments of `robust` ask."""
    if within is not None:
        if label is not None or targets is not None or threshold is not None:
            raise ValueError(
                "within=(low, high) is about numbers, not about classes: give no label (None), targets or threshold with it"
            )
        low, high = (None if end is None else rational(end) for end in within)
        if low is None and high is None:
            raise ValueError("within=(None, None) asks for nothing: name at least one end")
        if low is not None and high is not None and low > high:
            raise ValueError(f"within: {low} is above {high}")
        return partial(_outside, low, high)
    if label is None:
        raise ValueError("what is the right answer? label=, or within=(low, high) for a network that answers with numbers")
    if threshold is not None:
        if targets is not None:
            raise ValueError("threshold tells two classes apart by one score: there are no other targets")
        return partial(_beyond_threshold, _class(label), rational(threshold))
    return partial(_not_above_all, _class(label), None if targets is None else tuple(_class(t) for t in targets))


def _class(label: Any) -> int:
    """A class as a number; a ValueError where it is none."""
    number = label.item() if hasattr(label, "item") else label
    if number != int(number):
        raise ValueError(f"a class is a whole number, got {label}")
    return int(number)


def _not_above_all(label: int, targets: tuple[int, ...] | None, classes: int) -> tuple[tuple[Atom, ...], ...]:
    """One clause y_label - y_target <= 0 for every target."""
    if classes < 2:
        raise ValueError(ONE_OUTPUT)
    if targets is not None and len(set(targets)) < max(len(targets), 1):
        fault = "name a class twice" if targets else "are none"
        raise ValueError(f"the targets {fault}; name classes that must not win, each once, or leave targets out for all others")
    named = tuple(t for t in range(classes) if t != label) if targets is None else targets
    for name in (label, *named):
        if not 0 <= name < classes:
            raise ValueError(f"class {name} does not exist: the network has {classes} outputs, counted from 0")
    return tuple((Atom(((label, Fraction(1)), (target, Fraction(-1))), (), Fraction(0)),) for target in named)


OWN_TARGET = "the targets hold the label itself, and no class scores above itself: every point is unsafe by that"
ONE_OUTPUT = (
    "the network has one output, so that no other class can win: say at which score its answer changes (threshold=0 for a logit, "
    "threshold=0.5 for a probability; --threshold), or, if it answers with a number, in which interval that has to stay "
    "(within=(low, high); --within LOW HIGH)"
)


def _beyond_threshold(label: int, threshold: Fraction, outputs: int) -> tuple[tuple[Atom, ...], ...]:
    """Label 1: y <= threshold; label 0: y >= threshold."""
    if outputs != 1:
        raise ValueError(f"a threshold tells two classes apart by one score; the network has {outputs} outputs")
    if label not in (0, 1):
        raise ValueError(f"with a threshold the label is 1 (above it) or 0 (below it), not {label}")
    sign = 1 if label else -1
    return ((Atom(((0, Fraction(sign)),), (), sign * threshold),),)


def _outside(low: Fraction | None, high: Fraction | None, outputs: int) -> tuple[tuple[Atom, ...], ...]:
    """For every output one clause y < low and one y > high."""
    ends = [(sign, sign * end) for sign, end in ((1, low), (-1, high)) if end is not None]
    return tuple((Atom(((i, Fraction(sign)),), (), rhs, strict=True),) for i in range(outputs) for sign, rhs in ends)


def rational(number: Exact) -> Fraction:
    """The exact value of "2/255", "0.1", a float or a Fraction; a ValueError where it is none."""
    try:
        return Fraction(number.item() if hasattr(number, "item") else number)
    except (ValueError, OverflowError, ZeroDivisionError, TypeError):
        raise ValueError(f"{number!r} is not a finite number; write it as 0.1 or 2/255") from None


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
