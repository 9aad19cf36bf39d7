"""Sets that no float32 point lies in still have unsafe points, and those are shown by exact means."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from certify.graph import GraphBuilder
from certify.io.vnnlib import read_vnnlib
from certify.io.witness import format_witness, read_assignment
from certify.model import Model
from certify.search.decimal_witness import confirm
from certify.search.verify import verify
from certify.specification import Specification


def doubled() -> Model:
    """y = 2 x, two inputs."""
    builder = GraphBuilder()
    weight = builder.constant("w", 2 * np.eye(2, dtype=np.float32))
    return Model(builder.build(builder.add("linear", [builder.input("x", (1, 2))], {"weight": weight})))


def fixed(assertion: str, value: str = "0.1") -> Specification:
    """X_0 is a decimal that no float32 equals, X_1 lies in [0, 1]."""
    declared = "".join(f"(declare-const {v}_{i} Real)" for v in "XY" for i in range(2))
    box = f"(assert (>= X_0 {value}))(assert (<= X_0 {value}))(assert (>= X_1 0))(assert (<= X_1 1))"
    return read_vnnlib(declared + box + assertion)


def test_an_input_fixed_to_a_decimal_has_a_witness_that_lies_in_the_exact_set() -> None:
    spec = fixed("(assert (>= Y_0 0.19))(assert (>= Y_1 1.5))")
    result = verify(doubled(), spec)
    assert result.verdict == "sat"
    assert result.witness is not None
    assert any("hold no float32 point" in note for note in result.notes)
    text = format_witness(spec, result.witness)
    assert "(X_0 0.1)" in text
    written = [Fraction(word.rstrip(")")) for word in text.replace("(", " ").split() if word[0].isdigit()][:2]
    assert written[0] == Fraction("0.1")
    assert Fraction(3, 4) <= written[1] <= 1
    assert read_assignment(spec, text) is not None


@pytest.mark.parametrize("assertion", ["(assert (>= Y_0 0.2000001))", "(assert (<= Y_0 0.1999999))"])
def test_what_the_exact_point_does_not_do_is_not_claimed(assertion: str) -> None:
    assert verify(doubled(), fixed(assertion)).verdict == "unsat"


@pytest.mark.parametrize(("assertion", "verdict"), [("(<= Y_0 0.2)", "sat"), ("(< Y_0 0.2)", "unsat"), ("(> Y_0 0.2)", "unsat")])
def test_equality_is_decided_exactly(assertion: str, verdict: str) -> None:
    """2 x 0.1 = 0.2: no float64 can tell, and the float32 neighbour is above."""
    result = verify(doubled(), fixed(f"(assert {assertion})"))
    assert result.verdict == verdict
    if verdict == "sat":
        assert result.witness is not None
        assert Fraction(float(result.witness.y[0, 0])) > Fraction("0.2")


def test_a_witness_has_all_the_digits_of_the_set() -> None:
    long = "0.12345678901234567890123456789"
    spec = fixed("(assert (>= Y_0 0.24))", long)
    result = verify(doubled(), spec)
    assert result.verdict == "sat"
    assert result.witness is not None
    assert f"(X_0 {long})" in format_witness(spec, result.witness)


def test_the_float32_neighbour_must_agree() -> None:
    spec = fixed("(assert (>= Y_0 0.19))")
    x = np.array([0.1, 0.5], dtype=np.float32)
    assert confirm(doubled(), spec, 0, x) is not None
    lying = Model(doubled().graph, reference=lambda x: np.zeros((1, 2), np.float32))
    assert confirm(lying, spec, 0, x) is None
