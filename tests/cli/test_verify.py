"""`certify verify`: verdicts, witnesses, exit codes, and every form of the question."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

Certify = Callable[..., tuple[int, str, str]]
Write = Callable[..., str]

UNREACHABLE, REACHABLE = "(>= Y_0 1.5)", "(<= Y_0 Y_1)"


def test_a_proved_property_is_unsat_and_nothing_else_is_printed(certify: Certify, model: str, write_property: Write) -> None:
    assert certify("verify", model, write_property(UNREACHABLE))[:2] == (0, "unsat\n")


def test_a_violated_property_is_sat_with_a_witness_that_satisfies_it(certify: Certify, model: str, write_property: Write) -> None:
    code, out, _ = certify("verify", model, write_property(REACHABLE))
    verdict, assignment = out.split("\n", 1)
    values = [float(word) for word in assignment.replace(")", " ").replace("(", " ").split()[1::2]]
    assert (code, verdict) == (0, "sat")
    assert values[:2] == values[2:]
    assert 0 <= values[0] <= values[1] <= 1


def test_the_order_of_files_and_options_does_not_matter(certify: Certify, model: str, write_property: Write) -> None:
    spec = write_property(UNREACHABLE)
    assert certify("verify", spec, "--timeout", "20", model)[1] == "unsat\n"
    assert certify("verify", "--timeout", "20", spec, model)[1] == "unsat\n"


def test_version_2_takes_the_network_by_name(certify: Certify, model: str, tmp_path: Path) -> None:
    query = tmp_path / "query.vnnlib"
    query.write_text(
        "(vnnlib-version <2.0>)\n(declare-network f (declare-input A float32 [1,2]) (declare-output B float32 [1,2]))\n"
        "(assert (and (>= A[0,0] 0.0) (<= A[0,0] 1.0) (>= A[0,1] 0.0) (<= A[0,1] 1.0)))\n(assert (<= B[0,0] B[0,1]))\n"
    )
    code, out, _ = certify("verify", str(query), "--network", f"f={model}", "--timeout", "20")
    assert (code, out.splitlines()[:2]) == (0, ["sat", "A float32 [1,2]"])
    code, out, error = certify("verify", str(query), "--network", f"g={model}")
    assert (code, out) == (2, "")
    assert "declares the network 'f'" in error


@pytest.mark.parametrize(("eps", "verdict"), [("1/4", "sat"), ("249/1000", "unsat")])
def test_a_radius_is_exact(certify: Certify, model: str, point: str, eps: str, verdict: str) -> None:
    code, out, _ = certify("verify", model, "--around", point, "--eps", eps, "--label", "0", "--domain", "0", "1")
    assert (code, out.splitlines()[0]) == (0, verdict)


def test_the_label_is_the_models_answer_unless_given(certify: Certify, model: str, point: str) -> None:
    assert certify("verify", model, "--around", point, "--eps", "0.1", "--domain", "0", "1")[1:] == (
        "unsat\n",
        "label 0: the model's own answer; --label sets another\n",
    )
    assert certify("verify", model, "--around", point, "--eps", "0.1", "--label", "1")[1].startswith("sat\n")


def test_an_unmet_expectation_is_exit_code_1_with_the_verdict(certify: Certify, model: str, write_property: Write) -> None:
    spec = write_property(UNREACHABLE)
    assert certify("verify", model, spec, "--expect", "unsat")[:2] == (0, "unsat\n")
    assert certify("verify", model, spec, "--expect", "sat")[:2] == (1, "unsat\n")


def test_explanations_go_to_standard_error(certify: Certify, model: str, write_property: Write) -> None:
    _, out, error = certify("verify", model, write_property(UNREACHABLE), "--explain")
    assert out == "unsat\n"
    assert "plan for" in error
    assert "1 excluded" in error


def test_the_record_names_files_versions_and_settings(certify: Certify, model: str, write_property: Write) -> None:
    spec = write_property(REACHABLE)
    record = json.loads(certify("verify", model, spec, "--json", "--seed", "3")[1])
    assert record["schema"] == "certify.verify/1"
    assert record["verdict"] == "sat"
    assert [entry["path"] for entry in record["files"]] == [model, spec]
    assert record["settings"]["seed"] == 3
    assert np.shape(record["witness"]["input"]) == (1, 2)
    assert record["versions"]["torch"]


def test_the_witness_is_written_to_a_file_too(certify: Certify, model: str, write_property: Write, tmp_path: Path) -> None:
    target = tmp_path / "witness.txt"
    _, out, _ = certify("verify", model, write_property(REACHABLE), "--witness", str(target))
    assert target.read_text() == out


def test_assignments_are_serialised_in_place_of_printed(
    certify: Certify, model: str, write_property: Write, tmp_path: Path
) -> None:
    folder = tmp_path / "assignment"
    assert certify("verify", model, write_property(REACHABLE), "--serialise-assignments", str(folder))[1] == "sat\n"
    x, y = (numpy_helper.to_array(onnx.load_tensor(folder / f"{name}.pb")) for name in "XY")
    assert x.dtype == np.float32
    assert np.array_equal(np.maximum(x, 0), y)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "exactly one property"),
        (("MODEL",), "exactly one property"),
        (("MODEL", "MODEL", "PROPERTY"), "more than one model"),
        (("PROPERTY",), "exactly one model"),
        (("MODEL", "PROPERTY", "--around", "POINT", "--eps", "0.1"), "exactly one property"),
        (("MODEL", "--around", "POINT"), "--eps"),
        (("MODEL", "--around", "POINT", "--eps", "0.1", "--label", "7"), "class 7 does not exist"),
        (("MODEL", "--around", "POINT", "--eps", "0.1", "--domain", "2", "3"), "domain"),
        (("MODEL", "--around", "MODEL", "--eps", "0.1"), "not a .npy file"),
        (("missing.onnx", "PROPERTY"), "missing.onnx: no such file"),
        (("MODEL", "missing.vnnlib"), "missing.vnnlib"),
        (("PROPERTY", "--network", "MODEL"), "NAME=FILE"),
        (("PROPERTY", "--network", "f=a.onnx", "--network", "g=b.onnx"), "several networks"),
        (("PROPERTY", "--arch", "os:getcwd"), "--input-shape"),
        (("PROPERTY", "--arch", "os:getcwd", "--input-shape", "2"), "not a torch.nn.Module"),
    ],
)
def test_bad_input_is_one_line_exit_code_2_and_no_verdict(
    certify: Certify, model: str, point: str, write_property: Write, arguments: tuple[str, ...], reason: str
) -> None:
    names = {"MODEL": model, "POINT": point, "PROPERTY": write_property(UNREACHABLE)}
    code, out, error = certify("verify", *(names.get(word, word) for word in arguments))
    assert (code, out) == (2, "")
    assert reason in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("content", ["", "(assert (<= X_0", "(assert (<= X_0 nan))", "\x00\x01"])
def test_a_malformed_property_gives_no_verdict(certify: Certify, model: str, tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.vnnlib"
    path.write_text(content)
    code, out, error = certify("verify", model, str(path))
    assert (code, out, error.count("\n")) == (2, "", 1)


def test_a_truncated_model_gives_no_verdict(certify: Certify, model: str, write_property: Write, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    content = Path(model).read_bytes()
    for length in range(0, len(content), 7):
        broken.write_bytes(content[:length])
        code, out, error = certify("verify", str(broken), write_property(UNREACHABLE))
        assert (code, out, error.count("\n")) == (2, "", 1)


def test_an_unsupported_operator_is_named(certify: Certify, softmax: str, write_property: Write) -> None:
    code, out, error = certify("verify", softmax, write_property(UNREACHABLE))
    assert (code, out) == (2, "")
    assert "probs" in error
    assert "Softmax" in error


@pytest.mark.parametrize(
    ("options", "eps", "verdict"),
    [
        (("--threshold", "0"), "31/256", "unsat"),  # the score is 1/4 at (3/4, 1/4), and falls by 2 eps
        (("--threshold", "0"), "1/8", "sat"),  # a tie
        (("--threshold", "1/2"), "31/256", "unsat"),
        (("--threshold", "1/2"), "1/8", "sat"),
        (("--threshold", "0", "--label", "0"), "0", "sat"),
        (("--within", "0", "1/2"), "1/8", "unsat"),
        (("--within", "0", "1/2"), "33/256", "sat"),
        (("--within", "0.2500001", "1"), "0", "sat"),
    ],
)
def test_one_score_is_asked_about_by_a_threshold_or_an_interval(
    certify: Certify, score: str, point: str, options: tuple[str, ...], eps: str, verdict: str
) -> None:
    code, out, _ = certify("verify", score, "--around", point, "--eps", eps, *options)
    assert (code, out.split("\n", 1)[0]) == (0, verdict)


@pytest.mark.parametrize("options", [(), ("--label", "0"), ("--label", "1")])
def test_one_score_has_no_other_class_that_could_win(certify: Certify, score: str, point: str, options: tuple[str, ...]) -> None:
    code, out, error = certify("verify", score, "--around", point, "--eps", "10", *options)
    assert (code, out) == (2, "")
    assert "one output" in error
    assert "--threshold" in error
    assert "--within" in error


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--threshold", "0", "--within", "0", "1"), "give no label"),
        (("--label", "1", "--within", "0", "1"), "give no label"),
        (("--within", "1", "0"), "is above"),
        (("--threshold", "0", "--label", "2"), "label is 1"),
    ],
)
def test_questions_that_contradict_themselves_are_refused(
    certify: Certify, score: str, point: str, options: tuple[str, ...], reason: str
) -> None:
    code, out, error = certify("verify", score, "--around", point, "--eps", "0.1", *options)
    assert (code, out) == (2, "")
    assert reason in error


def test_a_threshold_is_not_for_networks_with_several_scores_nor_for_files(
    certify: Certify, model: str, point: str, write_property: Write
) -> None:
    code, _, error = certify("verify", model, "--around", point, "--eps", "0.1", "--threshold", "0")
    assert code == 2
    assert "2 outputs" in error
    code, _, error = certify("verify", model, write_property(UNREACHABLE), "--threshold", "0")
    assert code == 2
    assert "--around" in error


@pytest.mark.parametrize("norm", ["inf", "2", "1"])
def test_one_rule_of_units_holds_in_all_commands(certify: Certify, model: str, tmp_path: Path, norm: str) -> None:
    """The same points as bytes, as whole numbers to be divided, and as shares: one verdict, the same bounds, one accuracy."""
    pixels = np.array([[200, 60], [90, 100]], np.uint8)
    forms = {"bytes": (pixels, ()), "whole": (pixels.astype(int), ("--scale", "255")), "shares": (pixels / 255, ())}
    found = set()
    for name, (values, words) in forms.items():
        np.save(tmp_path / f"{name}.npy", values[0].astype(np.float32) if name == "shares" else values[0])
        np.savez(tmp_path / f"{name}.npz", x=values, y=[0, 1])
        around = ("--around", str(tmp_path / f"{name}.npy"), "--eps", "60/255", "--norm", norm, "--domain", "0", "1", *words)
        verdict = certify("verify", model, *around, "--label", "0")[1]
        bounds = certify("bounds", model, *around)[1]
        data = ("--data", str(tmp_path / f"{name}.npz"), "--eps", "3/255", "--norm", norm, "--domain", "0", "1", *words)
        accuracy = certify("accuracy", model, *data)[1].rsplit("|", 2)[0]
        found.add((verdict, bounds, accuracy))
    assert len(found) == 1


def test_units_stand_in_the_record_and_what_looks_wrong_on_standard_error(certify: Certify, model: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([200, 60], np.uint8))
    arguments = ("--around", str(tmp_path / "x.npy"), "--eps", "8", "--label", "0")
    for command in ("verify", "bounds"):
        _, out, error = certify(command, model, *(arguments if command == "verify" else arguments[:-2]), "--json")
        assert json.loads(out)["units"] == {
            "stored": "uint8",
            "divided_by": "255",
            "range": [float(np.float32(60 / 255)), float(np.float32(200 / 255))],
            "domain": [0.0, 1.0],
        }
        assert "bytes were divided by 255" in error
        assert "was 8/255 meant?" in error


def test_a_witness_off_the_grid_is_recorded_with_all_its_digits(certify: Certify, model: str, tmp_path: Path) -> None:
    long = "0.12345678901234567890123"
    declared = "".join(f"(declare-const {name}_{i} Real)" for name in "XY" for i in (0, 1))
    fixed = f"(assert (>= X_0 {long}))(assert (<= X_0 {long}))(assert (>= X_1 0))(assert (<= X_1 1))"
    (tmp_path / "fixed.vnnlib").write_text(declared + fixed + "(assert (>= Y_0 0.1))")
    code, out, _ = certify("verify", model, str(tmp_path / "fixed.vnnlib"), "--json")
    found = json.loads(out)["witness"]
    assert code == 0
    assert found["exact"][0] == long
