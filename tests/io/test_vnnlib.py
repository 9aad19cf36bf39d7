"""Properties in VNN-LIB 1.0, and what both versions share."""

from __future__ import annotations

import gzip
import time
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.io.vnnlib import read_vnnlib
from certify.specification import Specification

HEADER = "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real)\n(declare-const Y_1 Real)\n"
BOX = "(assert (>= X_0 -1))(assert (<= X_0 0.1))(assert (>= X_1 0))(assert (<= X_1 2e-1))"


def read(assertions: str) -> Specification:
    return read_vnnlib(HEADER + BOX + assertions)


def holds(spec: Specification, x: list[float], y: list[float]) -> bool:
    return any(spec.holds(clause, np.array(x), np.array(y)) for clause in spec.clauses)


def test_decimals_and_exponents_are_kept_exactly() -> None:
    spec = read("(assert (<= Y_0 0.30000000000000001))")
    assert spec.inputs.upper.exact((0, 0)) == Fraction(1, 10)
    assert spec.inputs.upper.exact((0, 1)) == Fraction(1, 5)
    assert spec.clauses[0].atoms[0].rhs == Fraction(30000000000000001, 10**17)
    assert (spec.inputs.size, spec.outputs) == (2, 2)


def test_a_clause_needs_all_its_atoms_and_the_property_one_clause() -> None:
    spec = read("(assert (or (and (<= Y_0 1) (>= Y_1 2)) (and (>= Y_0 Y_1))))")
    x = [0.0, 0.0]
    assert [holds(spec, x, y) for y in ([0.0, 3.0], [2.0, 3.0], [3.0, 3.0])] == [True, False, True]


def test_disjuncts_may_have_boxes_of_their_own() -> None:
    spec = read("(assert (or (and (<= X_0 -0.5) (<= Y_0 0)) (and (>= X_0 0) (>= Y_0 1)) (and (>= X_0 -3) (<= Y_0 -9))))")
    assert spec.inputs.count == 3
    assert holds(spec, [-1.0, 0.0], [0.0, 0.0])
    assert not holds(spec, [0.0, 0.0], [0.0, 0.0])
    assert [spec.inputs.lower.exact((i, 0)) for i in range(3)] == [-1, 0, -1]


def test_clauses_over_the_same_box_share_it() -> None:
    spec = read("(assert (or (<= Y_0 0) (<= Y_1 0) (and (<= X_0 0) (<= Y_0 1)) (and (<= Y_1 1) (<= X_0 0))))")
    assert [clause.region for clause in spec.clauses] == [0, 0, 1, 1]


def test_assertions_are_conjoined_and_disjunctions_multiplied_out() -> None:
    spec = read("(assert (or (<= Y_0 0) (<= Y_0 1)))(assert (or (<= Y_1 0) (<= Y_1 1) (<= Y_1 2)))(assert (<= Y_0 Y_1))")
    assert len(spec.clauses) == 6
    assert all(len(clause.atoms) == 3 for clause in spec.clauses)


def test_arithmetic_chains_and_equality_follow_smt_lib() -> None:
    spec = read("(assert (<= -1 (+ Y_0 (* 2 Y_1) (- 1)) (- 3 Y_0 Y_1)))(assert (= Y_0 (* 0.5 (+ Y_1 X_1))))")
    y = [1.0, 1.0]
    assert not holds(spec, [0.0, 0.0], y)
    assert holds(spec, [0.0, 0.0], [0.5, 1.0])
    assert not holds(spec, [0.0, 0.0], [1.0, 2.0])  # 4 <= 0 fails


def test_strict_bounds_of_inputs_are_covered_by_the_closed_box_and_strict_for_witnesses() -> None:
    spec = read("(assert (< X_0 0))(assert (<= Y_0 0))")
    assert spec.inputs.upper.exact((0, 0)) == 0
    assert not holds(spec, [0.0, 0.0], [0.0, 0.0])
    assert holds(spec, [-1e-30, 0.0], [0.0, 0.0])


def test_constant_comparisons_are_decided() -> None:
    assert len(read("(assert (or (<= 1 0) (<= Y_0 0)))").clauses) == 1
    assert read("(assert (<= 1 0))").clauses == ()
    assert read("(assert (<= Y_0 Y_0))").clauses[0].atoms == ()
    assert read("(assert (< (- Y_0 Y_0) 0))").clauses == ()


def test_a_contradictory_box_makes_an_empty_clause_and_no_error() -> None:
    spec = read("(assert (or (and (>= X_0 1) (<= Y_0 0)) (<= Y_1 0)))")
    assert spec.nonempty().tolist() == [False, True]


def test_comments_and_odd_spacing_are_skipped() -> None:
    spec = read("; all\n(assert ; here\n(or(and(<= Y_0 Y_1)(<=  Y_0\t3))\n  (and (>= Y_1 ; note )\n 2))))\n; end")
    assert [len(clause.atoms) for clause in spec.clauses] == [2, 1]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_comment_ends_with_its_line_whatever_ends_lines(end: str) -> None:
    lines = [
        "; X and Y",
        "(declare-const X_0 Real)(declare-const Y_0 Real)",
        "(assert (<= 0 X_0 1)) ; a box",
        "(assert (>= Y_0 2))",
    ]
    assert read_vnnlib(end.join(lines)) == read_vnnlib("\n".join([*lines[1:2], "(assert (<= 0 X_0 1))", *lines[3:]]))


def test_gzipped_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "property.vnnlib.gz"
    path.write_bytes(gzip.compress((HEADER + BOX + "(assert (<= Y_0 0))").encode()))
    assert len(read_vnnlib(path).clauses) == 1
    assert len(read_vnnlib(str(path)).clauses) == 1


def test_damaged_gzip_files_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "property.vnnlib.gz"
    path.write_bytes(gzip.compress(HEADER.encode() * 100)[:60])
    with pytest.raises(ValueError, match="the gzip file is damaged"):
        read_vnnlib(path)


MALFORMED = {
    "(assert (<= X_7 1))": r"property:5:\d+: X_7 is not declared",
    "(assert (<= Y_0 1)": r"property:5:\d+: expected '\)' at the end of the assertion, found the end of the file",
    "(assert (<= Y_0 abc))": "abc is not declared",
    "(assert (<= Y_0 1e99999))": r"the number 1e99999... is out of range",
    "(assert (<= Y_0 nan))": "nan is not declared",
    "(assert (<= Y_0 1_000))": "expected a variable, a number",
    "(assert (<= Y_0))": r"expected a variable, a number .* found '\)'",
    "(assert (not (<= Y_0 1)))": "'not' is none of and, or, <=",
    "(assert (<= (* Y_0 Y_1) 1))": "a product of variables: only linear properties",
    "(assert (!= Y_0 1))": "'!=' is none of and, or",
    "(assert (and))": "expected a comparison",
    "(assert Y_0)": "expected a comparison, `and` or `or`, found 'Y_0'",
    "(asserts (<= Y_0 1))": r"expected \(declare-const ...\) or \(assert ...\)",
    "(declare-const X_0 Real)": "X_0 is declared twice",
    "(declare-const Z_0 Real)": "expected a variable X_i or Y_i and the type Real",
    "(declare-const X_00 Real)": "expected a variable X_i or Y_i",
    "(declare-const X_9 Real)": "X_2 is not declared, but X variables with higher numbers are",
    "(assert " + "(and " * 300 + "(<= Y_0 1)" + ")" * 301: "nested more than 200 deep",
    "(assert (<= Y_0 " + "(+ " * 300 + "1" + ")" * 302: "nested more than 200 deep",
    "(assert (and " + "(or (<= Y_0 1) (<= Y_0 2))" * 30 + "))": "has 1.07e[+]09 clauses",
    "\x00": "expected",
}


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_properties_are_refused_with_their_position(text: str) -> None:
    with pytest.raises(ValueError, match=MALFORMED[text]) as error:
        read(text)
    assert "\n" not in str(error.value)


def test_positions_are_line_and_column_of_the_offending_word(tmp_path: Path) -> None:
    path = tmp_path / "p.vnnlib"
    path.write_text(HEADER + "; comment\n(assert (or (<= Y_0 1)\n   (<= Y_0 Q)))")
    with pytest.raises(ValueError, match=r"p\.vnnlib:7:12: Q is not declared"):
        read_vnnlib(path)


@pytest.mark.parametrize("missing", ["(>= X_0 -1)", "(<= X_1 2e-1)"])
def test_an_input_without_a_bound_is_named(missing: str) -> None:
    text = HEADER + BOX.replace(f"(assert {missing})", "") + "(assert (<= Y_0 0))"
    with pytest.raises(ValueError, match=rf"X_{missing[6]} has no finite (lower|upper) bound; every input needs both"):
        read_vnnlib(text)


def test_a_property_without_inputs_or_outputs_is_refused() -> None:
    with pytest.raises(ValueError, match="no X_0 is declared"):
        read_vnnlib("(declare-const Y_0 Real)(assert (<= Y_0 1))")
    with pytest.raises(ValueError, match="no Y_0 is declared"):
        read_vnnlib("(declare-const X_0 Real)(assert (<= X_0 1))")


def test_missing_files_are_an_os_error() -> None:
    with pytest.raises(OSError, match="nowhere"):
        read_vnnlib("nowhere.vnnlib")


# A direct evaluator of random formulas over a few integer points: the meaning that every reading must keep.
terms = st.sampled_from(["X_0", "X_1", "Y_0", "Y_1", "1", "-2", "0.5", "(+ X_0 Y_1)", "(* 2 Y_0)", "(- Y_1 X_1 1)", "(- Y_0)"])
VALUES = {
    "X_0": lambda x, y: x[0],
    "X_1": lambda x, y: x[1],
    "Y_0": lambda x, y: y[0],
    "Y_1": lambda x, y: y[1],
    "(+ X_0 Y_1)": lambda x, y: x[0] + y[1],
    "(* 2 Y_0)": lambda x, y: 2 * y[0],
    "(- Y_1 X_1 1)": lambda x, y: y[1] - x[1] - 1,
    "(- Y_0)": lambda x, y: -y[0],
}
COMPARE = {
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "=": lambda a, b: a == b,
}


def text_of(formula: tuple) -> str:
    return f"({formula[0]} {' '.join(part if isinstance(part, str) else text_of(part) for part in formula[1:])})"


def value_of(formula: tuple, x: tuple, y: tuple) -> bool:
    operator, *parts = formula
    if operator in ("and", "or"):
        return (all if operator == "and" else any)(value_of(part, x, y) for part in parts)
    left, right = (VALUES[part](x, y) if part in VALUES else float(part) for part in parts)
    return COMPARE[operator](left, right)


comparisons = st.tuples(st.sampled_from(list(COMPARE)), terms, terms)
formulas = st.recursive(
    comparisons,
    lambda inner: st.tuples(st.sampled_from(["and", "or"]), inner, inner) | st.tuples(st.just("and"), inner),
    max_leaves=6,
)


@given(st.lists(formulas, min_size=1, max_size=3))
def test_a_specification_means_what_its_text_says(assertions: list) -> None:
    box = "(assert (>= X_0 -1))(assert (<= X_0 1))(assert (>= X_1 -1))(assert (<= X_1 1))"
    spec = read_vnnlib(HEADER + box + "".join(f"(assert {text_of(formula)})" for formula in assertions))
    for x in product((-1, 0, 1), repeat=2):
        for y in ((-1, 0), (0, 0), (1, -2), (0.5, 2)):
            assert holds(spec, [*x], [*y]) == all(value_of(formula, x, y) for formula in assertions)


words = st.one_of(
    st.sampled_from(["(", ")", "assert", "and", "or", "not", "[", "]", '"', ";", "\n", "declare-const", "Real", "<2.0>"]),
    st.sampled_from(["<=", ">=", "<", "=", "-", "+", "*", "X_0", "X_9", "Y_0", "Y_", "1", "-1", ".5", "1e9", "1e-9"]),
)


@given(st.lists(words, max_size=25), st.integers(0, 400))
def test_any_text_is_read_or_refused_in_one_line(noise: list[str], at: int) -> None:
    valid = HEADER + BOX + "(assert (or (and (<= Y_0 1) (>= (+ Y_1 X_0) 2)) (<= Y_1 Y_0)))"
    text = valid[:at] + " ".join(noise) + valid[at:]
    try:
        spec = read_vnnlib(text)
    except ValueError as error:
        message = str(error)
    else:
        message = f"{len(spec.clauses)} clauses"
    assert "\n" not in message


def test_many_inputs_are_read_quickly() -> None:
    count = 20_000
    lines = [f"(declare-const X_{i} Real)" for i in range(count)] + ["(declare-const Y_0 Real)"]
    lines += [f"(assert (<= X_{i} 0.{i}1))\n(assert (>= X_{i} -0.{i}1))" for i in range(count)] + ["(assert (<= Y_0 1))"]
    started = time.process_time()
    spec = read_vnnlib("\n".join(lines))
    assert time.process_time() - started < 3.0  # 0.2 s on an idle machine
    assert spec.inputs.upper.exact((0, 123)) == Fraction(1231, 10**4)


def test_all_competition_properties_are_read_and_mean_what_a_plain_scan_says(data_dir: Path) -> None:
    """The input bounds of every file, found by splitting its text at the words, agree with the reader's."""
    paths = sorted((data_dir / "vnncomp").glob("*/vnnlib/*"))
    assert paths
    for path in [p for p in paths if p.stat().st_size < 60_000]:
        text = gzip.decompress(path.read_bytes()).decode()
        spec = read_vnnlib(path)
        assert spec.inputs.size == text.count("(declare-const X_")
        assert spec.outputs == text.count("(declare-const Y_")
        if "nn4sys" not in str(path):
            words = text.replace("(", " ").replace(")", " ").split()
            for i in range(0, spec.inputs.size, max(1, spec.inputs.size // 7)):
                at = [k for k, word in enumerate(words) if word == f"X_{i}" and words[k - 1] in ("<=", ">=")]
                ends = {words[k - 1]: Fraction(words[k + 1]) for k in at}
                assert ends == {"<=": spec.inputs.upper.exact((0, i)), ">=": spec.inputs.lower.exact((0, i))}
