"""Verdicts: what is proved holds at every sampled point, what is found is a witness, and everything else is admitted."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import inf

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certify.graph import GraphBuilder
from certify.io.vnnlib import read_vnnlib
from certify.io.witness import replay
from certify.model import Model
from certify.search.plan import METHODS
from certify.search.problem import tabulate
from certify.search.proving import lower_bounds
from certify.search.verify import verify
from certify.specification import Specification, robust

Network = Callable[..., Model]
DECLARED = "".join(f"(declare-const {v}_{i} Real)" for v in "XY" for i in range(3))


def text(assertions: str, low: str = "0", high: str = "1") -> str:
    box = "".join(f"(assert (>= X_{i} {low}))(assert (<= X_{i} {high}))" for i in range(3))
    return DECLARED + box + assertions


def identity() -> Model:
    """y = x, three inputs."""
    builder = GraphBuilder()
    weight = builder.constant("w", np.eye(3, dtype=np.float32))
    return Model(builder.build(builder.add("linear", [builder.input("x", (1, 3))], {"weight": weight})))


def samples(spec: Specification, region: int, count: int = 500) -> np.ndarray:
    """Points of an exact box: random ones, corners and the middle."""
    lower, upper = (end[region].astype(np.float64) for end in spec.inputs.inward(np.float64))
    rng = np.random.default_rng(0)
    t = np.concatenate([rng.random((count, spec.inputs.size)), rng.integers(0, 2, (count, spec.inputs.size)), [[0.5] * 3]])
    return np.clip(lower + t * (upper - lower), lower, upper)


def any_sample_unsafe(model: Model, spec: Specification) -> bool:
    """Whether some sampled point satisfies a clause with room to spare for float64 rounding."""
    for clause in spec.clauses:
        x = samples(spec, clause.region)
        y = model(torch.from_numpy(x)).numpy()
        if any(spec.holds(clause, a, b) for a, b in zip(x, y, strict=True)):
            return True
    return False


thresholds = st.floats(-3, 3, width=32).map(lambda v: f"{v:.3f}")
atoms = st.one_of(
    st.tuples(st.sampled_from(["<=", ">="]), st.sampled_from(["Y_0", "Y_1", "Y_2"]), thresholds),
    st.tuples(st.sampled_from(["<=", "<"]), st.sampled_from(["Y_0", "Y_1"]), st.sampled_from(["Y_2", "(+ Y_2 1)", "(- Y_2 X_0)"])),
    st.tuples(st.sampled_from(["<=", ">="]), st.sampled_from(["X_0", "(+ X_0 X_1)", "(- X_2 Y_0)"]), thresholds),
).map(lambda parts: f"({' '.join(parts)})")
clauses = st.lists(atoms, min_size=1, max_size=3).map(lambda parts: f"(and {' '.join(parts)})")
properties = st.lists(clauses, min_size=1, max_size=3).map(lambda parts: f"(assert (or {' '.join(parts)}))")


@given(properties, st.integers(0, 20), st.sampled_from(["ibp", "crown", "auto"]))
def test_verdicts_are_true(network: Network, assertions: str, seed: int, method: str) -> None:
    model, spec = network(seed), read_vnnlib(text(assertions, "-0.3", "0.4"))
    result = verify(model, spec, method=method, timeout=30)
    if result.verdict == "unsat":
        assert not any_sample_unsafe(model, spec)
    if result.verdict == "sat":
        assert result.witness is not None
        assert replay(model, spec, result.witness.x).ok


@given(properties, st.integers(0, 20))
def test_lower_bounds_of_atoms_hold_at_every_sample(network: Network, assertions: str, seed: int) -> None:
    model, spec = network(seed), read_vnnlib(text(assertions, "-0.3", "0.4"))
    table = tabulate(spec)
    numbers = table.of_clauses(spec.nonempty())
    for method in ("ibp", "crown"):
        lower = lower_bounds(model, spec, table, numbers, method)
        for atom, bound in zip(numbers, lower, strict=True):
            x = samples(spec, table.region[atom], 50)
            y = model(torch.from_numpy(x)).numpy()
            row = table.direction[atom]
            left = y @ table.directions.outputs[row]
            left = left if table.directions.inputs is None else left + x @ table.directions.inputs[row]
            assert left.min() >= bound


@pytest.mark.parametrize("method", ["ibp", "crown", "alpha-crown", "auto"])
def test_an_easy_property_is_proved_and_an_easy_counterexample_found(network: Network, method: str) -> None:
    model = network(0)
    proved = verify(model, read_vnnlib(text("(assert (>= Y_0 1000))")), method=method)
    assert proved.verdict == "unsat"
    assert proved.bound is not None
    assert proved.bound > 0
    found = verify(model, read_vnnlib(text("(assert (<= Y_0 1000))")), method=method)
    assert found.verdict == "sat"
    assert found.witness is not None


def test_touching_the_rim_is_never_excluded() -> None:
    """x = 0.1 satisfies y >= 0.1, though no float32 equals it: neither a proof nor a witness exists."""
    result = verify(identity(), read_vnnlib(text("(assert (>= Y_0 0.1))", "0", "0.1")))
    assert result.verdict == "unknown"
    assert verify(identity(), read_vnnlib(text("(assert (>= Y_0 1))"))).verdict == "sat"


def test_margins_far_below_float32_resolution_are_decided() -> None:
    assert verify(identity(), read_vnnlib(text("(assert (>= Y_0 1.000000000001))"))).verdict == "unsat"


def test_a_clause_falls_with_one_of_its_atoms() -> None:
    result = verify(identity(), read_vnnlib(text("(assert (and (<= Y_0 5) (>= Y_1 2)))")), method="ibp")
    assert result.verdict == "unsat"


def test_atoms_over_inputs_alone_and_mixed_atoms_are_bounded() -> None:
    assert verify(identity(), read_vnnlib(text("(assert (>= (+ X_0 X_1) 2.5))"))).verdict == "unsat"
    assert verify(identity(), read_vnnlib(text("(assert (>= (- Y_0 X_0) 0.5))"))).verdict == "unsat"
    assert verify(identity(), read_vnnlib(text("(assert (>= (+ Y_0 X_0) 1.5))"))).verdict == "sat"


def test_coefficients_of_many_digits_stay_sound() -> None:
    condition = "(assert (>= (+ (* 0.12345678901234567 Y_0) (* 0.98765432109876543 Y_1)) {}))"
    total = Fraction("0.12345678901234567") + Fraction("0.98765432109876543")
    above = f"{float(total) + 1e-12:.18f}"
    assert verify(identity(), read_vnnlib(text(condition.format(above)))).verdict == "unsat"
    assert verify(identity(), read_vnnlib(text(condition.format("1.11111111011111110")))).verdict != "unsat"  # the sum itself


def test_an_empty_input_set_is_unsat_with_a_note() -> None:
    result = verify(identity(), read_vnnlib(text("(assert (>= X_0 2))(assert (<= Y_0 9))")))
    assert result.verdict == "unsat"
    assert any("empty input set" in note for note in result.notes)


def test_an_input_set_without_float32_points_gives_a_note() -> None:
    result = verify(identity(), read_vnnlib(text("(assert (>= X_0 0.1))(assert (<= X_0 0.1))(assert (>= Y_0 0))")))
    assert result.verdict == "sat"
    assert any("hold no float32 point" in note for note in result.notes)


def test_a_property_that_is_false_outright_is_unsat_and_one_without_atoms_sat() -> None:
    assert verify(identity(), read_vnnlib(text("(assert (<= 1 0))"))).verdict == "unsat"
    assert verify(identity(), read_vnnlib(text("(assert (<= 0 1))"))).verdict == "sat"


def test_thousands_of_boxes_are_decided_in_batches(network: Network) -> None:
    model = network(5, (3, 8, 3))
    boxes = " ".join(f"(and (>= X_0 0.{i:04d}) (<= X_0 0.{i:04d}1) (>= Y_0 50))" for i in range(3000))
    result = verify(model, read_vnnlib(text(f"(assert (or {boxes}))")))
    assert result.verdict == "unsat"
    assert result.stats["clauses"] == 3000


@pytest.mark.parametrize("p", [1.0, 2.0, inf])
def test_robustness_in_every_norm(network: Network, p: float) -> None:
    model = network(1)
    x = np.array([[0.4, 0.5, 0.6]], np.float32)
    label = int(model(torch.from_numpy(x)).argmax())
    assert verify(model, robust(x, label, eps="1/10000", p=p, domain=(0, 1))).verdict == "unsat"
    wrong = verify(model, robust(x, (label + 1) % 3, eps="1/100", p=p, domain=(0, 1)))
    assert wrong.verdict == "sat"
    assert wrong.witness is not None
    assert np.linalg.norm((wrong.witness.x - x).ravel().astype(float), p) <= 0.01


def test_no_time_is_timed_out() -> None:
    assert verify(identity(), read_vnnlib(text("(assert (>= Y_0 0.1))", "0", "0.1")), timeout=0).verdict == "timed-out"


def test_the_plan_says_what_was_done(network: Network) -> None:
    result = verify(network(0), read_vnnlib(text("(assert (>= Y_0 1000))")), method="crown")
    assert result.plan.splitlines()[1].startswith("attack (20 steps, 4 restarts) on 1 clause: no witness found")
    assert "1 excluded" in result.plan.splitlines()[2]


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_every_plan_gives_a_verdict(network: Network, method: str) -> None:
    assert verify(network(0), read_vnnlib(text("(assert (>= Y_0 1000))")), method=method).verdict == "unsat"


def test_unknown_methods_and_unfitting_properties_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown method 'magic'; choose one of auto, ibp"):
        verify(identity(), read_vnnlib(text("(assert (>= Y_0 1))")), method="magic")
    with pytest.raises(ValueError, match="the network takes 3"):
        verify(identity(), robust(np.zeros(4), 0, eps=1))


def test_nan_weights_give_an_error_and_no_verdict(network: Network) -> None:
    model = network(0)
    for dtype in (torch.float32, torch.float64):
        model.program(dtype).constants["b"].fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        verify(model, read_vnnlib(text("(assert (>= Y_0 1000))")))


def test_overflow_is_an_error_and_no_verdict() -> None:
    builder = GraphBuilder()
    node = builder.input("x", (1, 3))
    for _ in range(12):
        node = builder.add("linear", [node], {"weight": builder.constant("w", np.full((3, 3), 1e30, np.float64))})
    model = Model(builder.build(node), reference=lambda x: np.zeros((1, 3), np.float32))
    spec = read_vnnlib(text("(assert (<= Y_0 -1))", "-1", "1"))
    with pytest.raises(ValueError, match="values are NaN or overflow on the input set"):
        verify(model, spec)  # inf - inf in float32
    table = tabulate(spec)
    with pytest.raises(ValueError, match="NaN"):
        lower_bounds(model, spec, table, table.of_clauses(spec.nonempty()), "ibp")
