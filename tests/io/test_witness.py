"""Witnesses: text forms that read back unchanged, and strict replays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.graph import GraphBuilder
from certify.io.vnnlib import read_vnnlib
from certify.io.witness import Witness, format_witness, parse_witness, replay
from certify.model import Model
from certify.specification import Specification, robust

FLAT = """(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)
(assert (<= X_0 0.1))(assert (>= X_0 0))(assert (<= X_1 1))(assert (>= X_1 0))"""
TENSORS = """(vnnlib-version <2.0>)(declare-network f (declare-input X float32 [1,2]) (declare-output Y float32 [1]))
(assert (<= X[0,0] 0.1))(assert (>= X[0,0] 0.0))(assert (<= X[0,1] 1.0))(assert (>= X[0,1] 0.0))"""


def sum_model(reference: object = None) -> Model:
    """y = x_0 + x_1."""
    builder = GraphBuilder()
    x = builder.input("x", (1, 2))
    weight = builder.constant("w", np.ones((1, 2), np.float32))
    return Model(builder.build(builder.add("linear", [x], {"weight": weight})), reference=reference)


def specification(text: str = FLAT, condition: str = "(assert (>= Y_0 1))") -> Specification:
    return read_vnnlib(text + (condition if text is FLAT else "(assert (>= Y[0] 1.0))"))


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=3, max_size=3), st.sampled_from([FLAT, TENSORS]))
def test_every_float32_reads_back_unchanged(values: list[float], text: str) -> None:
    spec = specification(text)
    witness = Witness(np.array([values[:2]], np.float32), np.array([values[2:]], np.float32))
    written = format_witness(spec, witness)
    assert "e" not in written.replace("float", "").lower()
    x, y = parse_witness(spec, "sat\n" + written)
    assert x.tolist() == witness.x.ravel().tolist()
    assert y.astype(np.float32).tolist() == witness.y.ravel().tolist()


def test_the_forms_are_those_of_the_standards() -> None:
    witness = Witness(np.array([[0.025, 1.0]], np.float32), np.array([[-0.035]], np.float32))
    assert format_witness(specification(FLAT), witness) == "((X_0 0.025)\n (X_1 1.0)\n (Y_0 -0.035))"
    assert format_witness(specification(TENSORS), witness) == "X float32 [1,2]\n0.025\n1.0\nY float32 [1]\n-0.035"


def test_a_robustness_question_is_answered_in_the_flat_form() -> None:
    witness = Witness(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32))
    assert format_witness(robust(np.zeros(2), 0, eps=1), witness).startswith("((X_0 0.0)\n (X_1 0.0)\n (Y_0 0.0)")


@pytest.mark.parametrize(
    ("text", "written", "message"),
    [
        (FLAT, "((X_0 1) (Y_0 1))", "no value for X_1"),
        (FLAT, "((X_0 a) (X_1 1) (Y_0 1))", "'a' for X_0, which is no number"),
        (TENSORS, "X float32 [1,2]\n1\n2", "should go on with 'Y float32 "),
        (TENSORS, "X float32 [2]\n1\n2\nY float32 [1]\n1", "should go on with 'X float32 "),
        (TENSORS, "X float32 [1,2]\n1\n2\nY float32 [1]\n1\n2", "goes on after Y: '2'"),
        (TENSORS, "X float32 [1,2]\n1\n2\nY float32 [1]", r"no value for Y\[0\]"),
    ],
)
def test_incomplete_witnesses_are_refused(text: str, written: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_witness(specification(text), written)


def test_a_replay_is_strict_about_the_input_set() -> None:
    rounded = np.float32(0.1)  # above the decimal 0.1
    below = np.nextafter(rounded, np.float32(0))
    one = np.float32(1)
    assert replay(sum_model(), specification(), np.array([below, one])).ok
    outside = replay(sum_model(), specification(), np.array([rounded, one]))
    assert not outside.ok
    assert "outside the input set" in outside.reason


def test_a_replay_is_strict_about_the_output() -> None:
    spec = specification(condition="(assert (> Y_0 1))")
    at_the_bound = replay(sum_model(), spec, np.array([0.0, 1.0]))
    assert not at_the_bound.ok
    assert "satisfies no clause" in at_the_bound.reason
    assert replay(sum_model(), specification(), np.array([0.0, 1.0])).clause == 0


def test_the_original_model_is_the_judge() -> None:
    liar = sum_model(reference=lambda x: np.zeros((1, 1), np.float32))
    assert not replay(liar, specification(), np.array([0.0, 1.0])).ok
    assert replay(sum_model(), specification(), np.array([0.0, 1.0])).witness.y.tolist() == [[1.0]]


def test_a_nan_output_is_an_error_and_no_verdict() -> None:
    broken = sum_model(reference=lambda x: np.full((1, 1), np.nan, np.float32))
    with pytest.raises(ValueError, match="the output is NaN"):
        replay(broken, specification(), np.array([0.0, 1.0]))


def test_only_the_asked_clauses_are_checked() -> None:
    spec = specification(condition="(assert (or (<= Y_0 -1) (>= Y_0 1)))")
    point = np.array([0.0, 1.0])
    assert replay(sum_model(), spec, point).clause == 1
    assert not replay(sum_model(), spec, point, np.array([0])).ok
