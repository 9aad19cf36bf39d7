"""Products in Einstein's notation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.graph import GraphBuilder
from certify.graph.evaluate import evaluate
from certify.io.einsum import einsum

SIZES = {"a": 2, "b": 3, "c": 1, "d": 2, "e": 3}


def found(equation: str, operands: list[np.ndarray], position: int) -> np.ndarray:
    builder = GraphBuilder()
    x = builder.input("x", operands[position].shape)
    names = [builder.constant("w", value) for i, value in enumerate(operands) if i != position]
    return evaluate(builder.build(einsum(builder, equation, x, position, names, "product")), operands[position])


@st.composite
def equations(draw: st.DrawFn) -> tuple[str, list[tuple[int, ...]], int]:
    """An equation, shapes of its factors, and which of them is the node."""
    letters, shapes = [], []
    for _ in range(draw(st.integers(1, 3))):
        term = draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=3))
        dots = draw(st.integers(0, 2))
        hidden = [draw(st.sampled_from((1, (3, 2)[axis]))) for axis in range(2 - dots, 2)]
        place = draw(st.integers(0, len(term)))
        sizes = [SIZES[letter] for letter in term]
        shapes.append((*sizes[:place], *hidden, *sizes[place:]))
        letters.append("".join((*term[:place], "...", *term[place:])) if dots else "".join(term))
    used = sorted(set("".join(letters)) - {"."})
    output = "..." + "".join(draw(st.permutations(draw(st.lists(st.sampled_from(used), unique=True)))))
    arrow = draw(st.sampled_from((f"->{output}", "")))
    return ",".join(letters) + arrow, shapes, draw(st.integers(0, len(shapes) - 1))


@settings(max_examples=150)
@given(equations(), st.integers(0, 2**16))
def test_products_are_those_that_torch_forms(drawn: tuple[str, list[tuple[int, ...]], int], seed: int) -> None:
    equation, shapes, position = drawn
    random = np.random.default_rng(seed)
    operands = [random.integers(-4, 5, shape).astype(np.float64) for shape in shapes]
    expected = torch.einsum(equation, *map(torch.from_numpy, operands)).numpy()
    np.testing.assert_array_equal(found(equation, operands, position), expected)


@pytest.mark.parametrize("equation", ["ab,b->ac", "ab->a", "abc,b->a", "ab,c->aa"])
def test_what_does_not_fit_is_refused(equation: str) -> None:
    with pytest.raises(ValueError, match=r"letter|fit|factors"):
        found(equation, [np.ones((2, 3)), np.ones(3)], 0)
