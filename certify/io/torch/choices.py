"""Comparisons of what depends on the network's input, and what a program selects by them.

A comparison is a choice between true and false, and an operation on a choice between two tensors is a choice between the operation on
the one and on the other. So choices are carried on until both sides are such that the choice is a continuous function, which has rules;
a program whose output still is a choice, or that does anything else with one, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from certify.graph import GraphBuilder
from certify.graph.shapes import broadcast
from certify.io import lowering
from certify.io.selections import select
from certify.io.torch import elementwise
from certify.io.torch.call import Call, Choice, Constant, Handler, Operand, Part, Variable, exact_array

Evaluate = Callable[[Mapping[str, Any]], Any]
"""An operation on other arguments."""

JUMPS = (
    "it computes with a comparison of what depends on the network's input, which is not known to be continuous where both sides are "
    "equal; selections that are a relu, leaky relu, abs, max, min or clamp are"
)


def _comparison(swapped: bool, tie: bool) -> Handler:
    """x > other, or other > x; `tie` says whether it holds where both are equal."""

    def handler(call: Call, x: Operand, other: Operand) -> Choice:
        sides = [part(call.arguments[name]) for name in (("other", "x") if swapped else ("x", "other"))]
        yes, no = (Constant(torch.full(call.shape, truth)) for truth in (True, False))
        return Choice(sides[0], sides[1], tie, yes, no, call.result)

    return handler


def part(argument: Any) -> Part:
    """An argument as a tensor; a number becomes a constant."""
    return argument if isinstance(argument, (Variable, Constant)) else Constant(torch.tensor(argument, dtype=torch.float64))


def distribute(builder: GraphBuilder, name: str, arguments: Mapping[str, Any], result: torch.Tensor, evaluate: Evaluate) -> Any:
    """An operation on choices, all by one comparison: the choice between what it makes of both sides."""
    if name not in DISTRIBUTIVE:
        raise ValueError(JUMPS)
    choices = [leaf for leaf in _flat(arguments) if isinstance(leaf, Choice)]
    first = choices[0]
    p = evaluate(_with(arguments, lambda choice: choice.p if _same(choice, first) else choice.q))
    q = evaluate(_with(arguments, lambda choice: choice.q if _same(choice, first) else choice.p))
    if name not in MOVES:
        return settled(builder, replace(first, p=p, q=q, value=result), name)
    sides = [_spread(builder, side, first.p.value.shape, name) for side in (first.above, first.below)]
    above, below = (evaluate(_with(arguments, lambda choice: side)) for side in sides)  # noqa: B023
    return settled(builder, Choice(above, below, first.tie, p, q, result), name)


def settled(builder: GraphBuilder, choice: Choice, source: str) -> Any:
    """The node of a choice that is continuous, as a variable; other choices as they are."""
    if not choice.value.is_floating_point():
        return choice
    for read in (choice, _as_compared(choice)):
        above, below, p, q = (_operand(side) for side in (read.above, read.below, read.p, read.q))
        if all(side is not None for side in (above, below, p, q)):
            node = select(builder, above, below, p, q, source)
            if node is not None:
                return Variable(node, choice.value)
    return choice


def _as_compared(choice: Choice) -> Choice:
    """The choice by the number that torch compares with: one of a program is rounded to the type of the tensor, as its tensors are."""
    sides = (choice.above, choice.below)
    kinds = {side.value.dtype for side in sides if isinstance(side, Variable)}
    numbers = [isinstance(side, Constant) and not side.live and side.exact is None and not side.value.ndim for side in sides]
    if len(kinds) != 1 or not any(numbers):
        return choice
    (kind,) = kinds
    above, below = (Constant(side.value.to(kind)) if number else side for side, number in zip(sides, numbers, strict=True))
    return replace(choice, above=above, below=below)


def _operand(side: Any) -> Any:
    """A side of a choice as selections take it; None for a constant that may change, that torch has rounded, or that is no number."""
    if isinstance(side, Variable):
        return side.node
    known = not side.live and side.exact is None and bool(torch.isfinite(side.value).all())
    return exact_array(side) if known else None


def _same(choice: Choice, first: Choice) -> bool:
    """Whether a choice is by the same comparison as another, False where by its opposite, which differs in the ties as well."""
    own, other = ((_identity(c.above), _identity(c.below), c.tie) for c in (choice, first))
    if own not in (other, (other[1], other[0], not other[2])):
        raise ValueError("it combines two comparisons of what depends on the network's input, which is not supported")
    return own == other


def _identity(side: Part) -> Any:
    if isinstance(side, Variable):
        return side.node
    return (tuple(side.value.shape), tuple(side.value.flatten().tolist())) if side.exact is None else id(side.exact)


def _spread(builder: GraphBuilder, side: Part, shape: torch.Size, source: str) -> Part:
    value = side.value.broadcast_to(broadcast(tuple(side.value.shape), tuple(shape)))
    if isinstance(side, Constant):
        exact = None if side.exact is None else side.exact.moved(lambda part: np.broadcast_to(part, tuple(value.shape)))
        return Constant(value, exact=exact)
    return Variable(lowering.broadcast(builder, side.node, tuple(shape), source), value)


def _flat(argument: Any) -> list[Any]:
    if isinstance(argument, Mapping):
        return _flat(list(argument.values()))
    return [leaf for entry in argument for leaf in _flat(entry)] if isinstance(argument, (list, tuple)) else [argument]


def _with(arguments: Any, replaced: Callable[[Choice], Any]) -> Any:
    """The arguments with something else in place of choices."""
    if isinstance(arguments, Mapping):
        return {name: _with(argument, replaced) for name, argument in arguments.items()}
    if isinstance(arguments, (list, tuple)):
        return [_with(argument, replaced) for argument in arguments]
    return replaced(arguments) if isinstance(arguments, Choice) else arguments


HANDLERS: Mapping[str, Handler] = {
    f"{name}.{kind}": _comparison(name[0] == "l", name[1] == "e")
    for name in ("gt", "ge", "lt", "le")
    for kind in ("Tensor", "Scalar")
}


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


MOVES = _names(
    """view.default reshape.default flatten.using_ints unflatten.int squeeze.default squeeze.dim squeeze.dims unsqueeze.default
    expand.default expand_as.default repeat.default slice.Tensor select.int permute.default transpose.int t.default"""
)
"""Operations that move the elements of one tensor."""

DISTRIBUTIVE = (
    frozenset(elementwise.HANDLERS)
    | MOVES
    | _names(
        """where.self where.Scalar where.ScalarSelf where.ScalarOther masked_fill.Scalar masked_fill.Tensor index_put.default
        logical_not.default bitwise_not.default logical_and.default logical_or.default bitwise_and.Tensor bitwise_or.Tensor
        __and__.Tensor __or__.Tensor to.dtype to.device to.dtype_layout to.other type_as.default _to_copy.default
        clone.default contiguous.default detach.default alias.default"""
    )
)
"""Operations of one element, or that only move elements: a choice can be made behind them as well as before."""
