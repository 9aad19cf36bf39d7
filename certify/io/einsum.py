"""Products with constants in Einstein's notation, one factor of which is a node, in the small vocabulary of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import chain
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np

from certify.graph import GraphBuilder, Shape
from certify.io import lowering

LARGEST = 2**27
"""Most elements of a product of several constants."""


def einsum(builder: GraphBuilder, equation: str, x: str, position: int, constants: Sequence[str], source: str) -> str:
    """The product of a node, the operand at `position`, and of named constants, the others in their order.

    Letters that a factor has with size 1 and another with more are broadcast. A ValueError where the equation does not fit.
    """
    shapes = [builder.constant_shape(name) for name in constants]
    shapes.insert(position, builder.shape(x))
    terms, output = _letters(equation, shapes)
    sizes = _sizes(terms, shapes)
    node, own = _node_letters(builder, x, terms.pop(position), sizes, output + "".join(terms), f"{source}.factor")
    if any(letter not in own + "".join(terms) for letter in output):
        raise ValueError(f"the output of {equation!r} has letters that no factor has")
    if not constants:
        return lowering.transpose(builder, node, [own.index(letter) for letter in output], source)
    weight, other = _weight(builder, constants, terms, sizes, own + output, f"{source}.weight")
    product, found = _product(builder, node, own, weight, other, output, sizes, f"{source}.product")
    shaped = lowering.reshape(builder, product, [sizes[letter] for letter in found], f"{source}.axes")
    return lowering.transpose(builder, shaped, [found.index(letter) for letter in output], source)


# --- letters --------------------------------------------------------------------------------------------------------------------


def _letters(equation: str, shapes: Sequence[Shape]) -> tuple[list[str], str]:
    """A letter for every axis of the factors, and of the output; those behind an ellipsis are counted from the right."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ValueError(f"{equation!r} is about {len(terms)} factors and there are {len(shapes)}")
    hidden = [len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, shapes, strict=True)]
    if any(n < 0 or (n and "..." not in term) for n, term in zip(hidden, terms, strict=True)):
        raise ValueError(f"{equation!r} does not fit factors of shapes {[list(shape) for shape in shapes]}")
    free = [letter for letter in ascii_letters if letter not in equation][: max(hidden)]
    spread = "".join(free)
    full = [term.replace("...", spread[len(spread) - n :]) for term, n in zip(terms, hidden, strict=True)]
    if not arrow:
        once = [letter for letter in sorted(set(left) - {",", "."}) if left.count(letter) == 1]
        right = "..." + "".join(once)
    output = right.replace("...", spread)
    if len(set(output)) < len(output):
        raise ValueError(f"the output of {equation!r} has a letter twice")
    return full, output


def _sizes(terms: Sequence[str], shapes: Sequence[Shape]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for letter, size in chain.from_iterable(zip(term, shape, strict=True) for term, shape in zip(terms, shapes, strict=True)):
        if sizes.get(letter, 1) not in (1, size) and size != 1:
            raise ValueError(f"axes called {letter} have {sizes[letter]} and {size} elements")
        sizes[letter] = max(size, sizes.get(letter, 1))
    return sizes


def _own_letters(term: str, shape: Shape, sizes: dict[str, int]) -> str:
    """The letters of a factor, each once, without those that are broadcast."""
    kept = [letter for letter, size in zip(term, shape, strict=True) if size == sizes[letter]]
    return "".join(dict.fromkeys(kept))


def _index(term: str, shape: Shape, letters: str, sizes: dict[str, int]) -> np.ndarray:
    """The flat positions of a factor's elements with an axis for every one of the letters, diagonals where its own repeat."""
    grid = np.indices([sizes[letter] for letter in letters], sparse=True)
    index = np.zeros([sizes[letter] for letter in letters], np.int64)
    stride = 1
    for letter, size in reversed(list(zip(term, shape, strict=True))):
        if letter in letters and size == sizes[letter]:
            index = index + stride * grid[letters.index(letter)]
        stride *= size
    return index


# --- factors --------------------------------------------------------------------------------------------------------------------


def _node_letters(builder: GraphBuilder, x: str, term: str, sizes: dict[str, int], used: str, source: str) -> tuple[str, str]:
    """The node with one axis for each of its letters, summed over those that nothing else has."""
    shape = builder.shape(x)
    own = _own_letters(term, shape, sizes)
    node = lowering.take(builder, x, _index(term, shape, own, sizes), f"{source}.diagonal") if own != term else x
    alone = [i for i, letter in enumerate(own) if letter not in used]
    if alone:
        node = lowering.reduce(builder, "reduce_sum", node, alone, False, f"{source}.sum")
    return node, "".join(letter for letter in own if letter in used)


def _weight(
    builder: GraphBuilder, names: Sequence[str], terms: Sequence[str], sizes: dict[str, int], used: str, source: str
) -> tuple[str, str]:
    """The product of the constants with one axis for each of their letters, summed over those that nothing else has."""
    shapes = [builder.constant_shape(name) for name in names]
    own = [_own_letters(term, shape, sizes) for term, shape in zip(terms, shapes, strict=True)]
    letters = "".join(sorted(set("".join(own)), key=lambda letter: letter not in used))
    kept = "".join(letter for letter in letters if letter in used)
    if prod(sizes[letter] for letter in letters) > LARGEST:
        raise ValueError("the product of its constants is too large; multiply with one after the other")
    indices = [_index(term, shape, letters, sizes) for term, shape in zip(terms, shapes, strict=True)]

    def multiplied(*values: Any) -> Any:
        factors = [value.reshape(-1)[index] for value, index in zip(values, indices, strict=True)]
        product = reduce(lambda left, right: left * right, factors)
        summed = tuple(range(len(kept), len(letters)))
        return product.sum(summed) if summed else product

    return builder.combine(source, multiplied, *names, shape=[sizes[letter] for letter in kept]), kept


def _product(
    builder: GraphBuilder, x: str, own: str, weight: str, other: str, output: str, sizes: dict[str, int], source: str
) -> tuple[str, str]:
    """The product, and the letters of its axes once they are taken apart."""
    both = "".join(letter for letter in own if letter in other and letter in output)
    summed = "".join(letter for letter in own if letter in other and letter not in output)
    rows = "".join(letter for letter in own if letter not in other)
    columns = "".join(letter for letter in other if letter not in own)
    turned = lowering.transpose(builder, x, [own.index(letter) for letter in both + rows + summed], f"{source}.turned")

    def arranged(order: str, shape: Sequence[int], role: str) -> str:
        index = _index(other, tuple(sizes[letter] for letter in other), order, sizes).reshape(shape)
        return builder.combine(f"{source}.{role}", lambda value: value.reshape(-1)[index], weight, shape=shape)

    if not summed and not columns:
        shape = [sizes[letter] for letter in both] + [1] * len(rows)
        return lowering.scale(builder, turned, arranged(both, shape, "factor"), source), both + rows
    b, m, k, n = (prod(sizes[letter] for letter in group) for group in (both, rows, summed, columns))
    matrices = lowering.reshape(builder, turned, (b, m, k) if both else (m, k), f"{source}.matrix")
    if both:
        product = lowering.matmul(builder, matrices, arranged(both + summed + columns, (b, k, n), "matrices"), source)
    else:
        product = builder.add("linear", [matrices], {"weight": arranged(columns + summed, (n, k), "rows")}, source=source)
    return product, both + rows + columns
