"""Properties in VNN-LIB 2.0, against the parser of the standard's authors (vnnlib 1.0.2)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.io.vnnlib import element, read_vnnlib
from certify.specification import Specification, Tensor

HEADER = """(vnnlib-version <2.0>)
(declare-network f
  (declare-input X float32 [2,2])
  (declare-output Y float32 [1,3])
)
"""
BOX = "".join(f"(assert (>= X[{i},{j}] -1.0))(assert (<= X[{i},{j}] 1.0))\n" for i in range(2) for j in range(2))


def read(assertions: str) -> Specification:
    return read_vnnlib(HEADER + BOX + assertions)


def holds(spec: Specification, x: np.ndarray, y: np.ndarray) -> bool:
    return any(spec.holds(clause, x, y) for clause in spec.clauses)


def test_elements_are_numbered_in_c_order() -> None:
    spec = read("(assert (<= X[1,0] 0.25))(assert (<= Y[0,2] 1.5))")
    assert spec.inputs.upper.exact((0, 2)) == Fraction(1, 4)
    assert spec.clauses[0].atoms[0].outputs == ((2, Fraction(1)),)


def test_the_declaration_is_kept() -> None:
    declared = read("(assert (<= Y[0,0] 0.0))").declaration
    assert (declared.version, declared.network) == ("2.0", "f")
    assert (declared.input, declared.output) == (Tensor("X", "float32", (2, 2)), Tensor("Y", "float32", (1, 3)))


def test_a_declared_float_type_is_noted_and_real_is_not() -> None:
    assert "float32" in read("(assert (<= Y[0,0] 0.0))").notes[0]
    assert read_vnnlib((HEADER + BOX + "(assert (<= Y[0,0] 0.0))").replace("float32", "real")).notes == ()


def test_shapes_must_be_the_networks() -> None:
    spec = read("(assert (<= Y[0,0] 0.0))")
    assert spec.bind((1, 2, 2), (1, 3)) is spec
    with pytest.raises(ValueError, match=r"declares X with shape \[2, 2\], the network has \[1, 4\]"):
        spec.bind((1, 4), (1, 3))


def test_scalars_are_written_bare() -> None:
    text = "(vnnlib-version <2.0>)(declare-network f (declare-input X real []) (declare-output Y real []))"
    spec = read_vnnlib(text + "(assert (<= X 1.0))(assert (>= X 0.0))(assert (<= Y X))")
    assert spec.inputs.size == spec.outputs == 1
    assert [element(Tensor("T", "real", shape), 5) for shape in ((2, 3), (6,))] == ["T[1,2]", "T[5]"]


def test_inequality_is_a_disjunction_and_equality_a_conjunction() -> None:
    assert [len(c.atoms) for c in read("(assert (!= Y[0,0] 1.0))").clauses] == [1, 1]
    assert [len(c.atoms) for c in read("(assert (== Y[0,0] Y[0,1]))").clauses] == [2]


REFUSED = {
    "(assert (<= (* Y[0,0] X[0,0]) 1.0))": "a product of variables",
    "(assert (<= 0.0 Y[0,0] 1.0))": "takes two operands, a third is here",
    "(assert (<= Y[0,0] 1e-5))": "no exponents",
    "(assert (<= Y[0] 1.0))": r"Y\[0\] is no element of Y, whose shape is \[1, 3\]",
    "(assert (<= Y[0,3] 1.0))": r"Y\[0, 3\] is no element of Y",
    "(assert (<= Y 1.0))": r"Y\[\] is no element of Y",
    "(assert (<= Z[0,0] 1.0))": r"Z\[0,0\] is not declared; there are X and Y",
    "(declare-const X_0 Real)": r"expected \(assert ...\)",
    "(assert (<= (-1.0) Y[0,0]))": "expected a variable",
}


@pytest.mark.parametrize("text", REFUSED)
def test_unsupported_assertions_are_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[text]) as error:
        read(text)
    assert "\n" not in str(error.value)


NETWORKS = {
    "(declare-network f (equal-to g) (declare-input X real [1]) (declare-output Y real [1]))": "equal-to .* not supported",
    "(declare-network f (declare-input X real [1]) (declare-input Z real [1]) (declare-output Y real [1]))": "exactly one input",
    "(declare-network f (declare-input X real [1]) (declare-output Y real [1]) (declare-output Z real [1]))": "one output are supp",
    '(declare-network f (declare-input X real [1]) (declare-hidden H real [1] "n") (declare-output Y real [1]))': "hidden nodes",
    "(declare-network f (declare-input X int8 [1]) (declare-output Y real [1]))": "element type int8 of X",
    "(declare-network f (declare-input X real [1] initialized) (declare-output Y real [1]))": "default inputs are not supported",
    "(declare-network f (declare-input X real [0]) (declare-output Y real [1]))": "a dimension of size 0",
    "(declare-network f (declare-input X real [1]) (declare-output X real [1]))": "X is declared twice",
    "(declare-network f (declare-input X real [1]) (declare-output Y real [1])) (declare-network g)": "several networks",
    "(assert (<= X 1.0))": r"expected \(declare-network NAME ...\)",
}


@pytest.mark.parametrize("text", NETWORKS)
def test_unsupported_networks_are_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=NETWORKS[text]):
        read_vnnlib("(vnnlib-version <2.0>)" + text)


def test_unknown_versions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"VNN-LIB 3.0 is not known here; versions 1.0 and 2.0 are"):
        read_vnnlib(HEADER.replace("2.0", "3.0"))


literals = st.from_regex(r"-?[0-9]{1,3}\.[0-9]{1,4}", fullmatch=True)
variables = st.sampled_from([f"X[{i},{j}]" for i in range(2) for j in range(2)] + [f"Y[0,{j}]" for j in range(3)])
linear = st.recursive(
    literals | variables,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"(+ {' '.join(parts)})"),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"(- {' '.join(parts)})"),
        st.tuples(literals, inner).map(lambda parts: f"(* {' '.join(parts)})"),
    ),
    max_leaves=5,
)
comparisons = st.tuples(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), linear, linear).map(lambda c: f"({' '.join(c)})")
formulas = st.recursive(
    comparisons,
    lambda inner: st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3)).map(
        lambda pair: f"({pair[0]} {' '.join(pair[1])})"
    ),
    max_leaves=5,
)


@given(st.lists(formulas, min_size=1, max_size=2), st.integers(0, 2**32 - 1))
def test_queries_mean_what_the_standard_parser_says(assertions: list[str], seed: int) -> None:
    vnnlib = pytest.importorskip("vnnlib")
    text = HEADER + BOX + "\n".join(f"(assert {formula})" for formula in assertions)
    theirs, ours = vnnlib.parse_query_string(text), read_vnnlib(text)
    rng = np.random.default_rng(seed)
    for _ in range(8):
        x, y = rng.integers(-4, 5, (2, 2)) / 4, rng.integers(-8, 9, (1, 3)) / 4
        values = {"X": x, "Y": y}
        assert holds(ours, x, y) == all(_truth(vnnlib, assertion.expr, values) for assertion in theirs.assertions)


def _truth(vnnlib: object, expr: object, values: dict[str, np.ndarray]) -> bool:
    """A formula of the standard parser, evaluated exactly."""
    kind = type(expr).__name__
    if kind in ("And", "Or"):
        return (all if kind == "And" else any)(_truth(vnnlib, arg, values) for arg in expr.args)
    left, right = _value(expr.lhs, values), _value(expr.rhs, values)
    return {
        "LessThan": left < right,
        "LessEqual": left <= right,
        "GreaterThan": left > right,
        "GreaterEqual": left >= right,
        "Equal": left == right,
        "NotEqual": left != right,
    }[kind]


def _value(expr: object, values: dict[str, np.ndarray]) -> Fraction:
    kind = type(expr).__name__
    if kind == "Var":
        return Fraction(float(values[expr.name][tuple(expr.indices)]))
    if kind in ("Plus", "Multiply"):
        result = Fraction(int(kind == "Multiply"))
        for arg in expr.args:
            result = result + _value(arg, values) if kind == "Plus" else result * _value(arg, values)
        return result
    if kind == "Minus":
        return _value(expr.head, values) - sum((_value(arg, values) for arg in expr.rest), Fraction(0))
    if kind == "Negate":
        return -_value(expr.expr, values)
    return Fraction(expr.lexeme)


broken = st.sampled_from(["(", ")", "and", "[", "]", "Y[0,9]", "X", "1.", ".5", "1e3", "<", "not", "(<= 1.0 2.0 3.0)", "()", "-"])


@given(formulas, broken, st.integers(0, 2**32 - 1))
def test_what_the_standard_parser_rejects_is_rejected(formula: str, noise: str, seed: int) -> None:
    vnnlib = pytest.importorskip("vnnlib")
    words = f"{formula})".replace("(", " ( ").replace(")", " ) ").split()
    at = seed % (len(words) + 1)
    text = HEADER + BOX + " ".join(["(assert", *words[:at], noise, *words[at:]])
    try:
        vnnlib.parse_query_string(text)
    except vnnlib.VNNLibException:
        with pytest.raises(ValueError, match=r"property:\d+:\d+: "):
            read_vnnlib(text)
