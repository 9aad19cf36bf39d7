"""How verifiers are called, and how their answers are read."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.bench.outcomes import Limits, Said, conclude
from certify.bench.tools import PREFIXES, Answer, certify_tool, other_tool, read_record, read_result
from certify.bench.worker import Ending
from certify.report.store import VERDICTS

PLACES = "{model} {property} {timeout} {result}"


@pytest.mark.parametrize(
    ("first", "verdict"),
    [
        ("unsat", "unsat"),
        ("holds", "unsat"),
        ("UNSAT", "unsat"),
        ("sat", "sat"),
        ("violated", "sat"),
        ("timeout", "timed-out"),
        ("timed-out", "timed-out"),
        ("unknown", "unknown"),
        ("error_nonmaximal", "error"),
    ],
)
def test_verdicts_are_normalised_as_the_scorer_does(first: str, verdict: str) -> None:
    assert read_result(f"{first}\n").verdict == verdict


def test_a_witness_follows_its_verdict() -> None:
    assert read_result("sat\n((X_0 1)\n (Y_0 2))\n") == Answer("sat", "((X_0 1)\n (Y_0 2))")
    assert read_result("sat").witness is None
    assert read_result("unsat\nnot a witness").witness is None


def test_no_result_is_unknown() -> None:
    assert read_result(" \n") == Answer("unknown", message="wrote no result")


@given(text=st.text(min_size=1).filter(str.strip))
def test_what_is_no_verdict_is_an_error_that_quotes_it(text: str) -> None:
    answer = read_result(text)
    if text.strip().splitlines()[0].lower().strip().startswith(tuple(PREFIXES)):
        assert answer.verdict in VERDICTS
    else:
        assert answer.verdict == "error"
        assert " ".join(text.split())[:20] in answer.message


@given(
    output=st.text()
    | st.dictionaries(st.sampled_from(["verdict", "bound", "notes", "plan"]), st.none() | st.text()).map(json.dumps)
)
def test_no_output_of_certify_is_taken_for_a_verdict_it_is_not(output: str) -> None:
    assert read_record(output, "").verdict == "error"


def test_a_record_of_certify_is_read() -> None:
    record = json.dumps({"verdict": "sat", "bound": "-inf", "notes": ["a", "b"], "plan": "attack"})
    assert read_record(record, "sat\n((X_0 1))\n") == Answer("sat", "((X_0 1))", "a; b", "attack", -float("inf"))


def test_values_take_their_places_and_nothing_else_does() -> None:
    tool = other_tool(f"{shlex.quote(sys.executable)} --net={{model}} '{{property}}' {{timeout}}s '{{ x }}'")
    words = tool.call(model="a b.onnx", property="{model}", timeout="5", result="r")
    assert words == [sys.executable, "--net=a b.onnx", "{model}", "5s", "{ x }"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("tool {model}", "names no {property}"),
        ("tool {model} {proprety}", "{proprety} in it, which is none of {model}"),
        ("no-such-tool {model} {property}", "there is no program no-such-tool"),
        ("tool '{model} {property}", "cannot be split into words"),
        ("", "names no {model}"),
    ],
)
def test_a_command_line_that_cannot_work_is_refused(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        other_tool(template)


def test_a_changed_tool_has_another_version(tmp_path: Path) -> None:
    script = tmp_path / "tool.sh"
    versions = []
    for text in ("a", "b", "a"):
        script.write_text(text)
        versions.append(other_tool(f"sh {script} {PLACES}").version)
    assert versions[0] == versions[2] != versions[1]
    assert other_tool(f"sh {script} --fast {PLACES}").version != versions[0]
    assert certify_tool().version == certify_tool().version


LIMITS = Limits(seconds=10.0, memory=10**9)


@pytest.mark.parametrize(
    ("ending", "said", "verdict", "message"),
    [
        (Ending("itself", 0, 3.0), Said(result="unsat"), "unsat", ""),
        (Ending("itself", 0, 3.0), Said(output="unsat"), "unknown", "wrote no result"),
        (Ending("itself", 1, 3.0), Said(result="unsat", errors="a\nlost\n"), "error", "said unsat; a / lost; exit code 1"),
        (Ending("itself", 0, 3.0), Said(result="done", errors="lost"), "error", "not a verdict: done; lost"),
        (Ending("itself", -6, 3.0), Said(), "error", "wrote no result; ended by SIGABRT"),
        (Ending("itself", 0, 10.5), Said(result="unsat"), "timed-out", "answered unsat after 10.50 s, past its limit of 10 s"),
        (Ending("itself", 0, 10.5), Said(result="timeout"), "timed-out", ""),
        (Ending("time", 0, 12.0), Said(result="unsat"), "timed-out", "killed after 12.0 s; its limit was 10 s"),
        (Ending("memory", 0, 2.0, 11 * 10**8), Said(result="unsat"), "out-of-memory", "killed at 1.10 GB; its limit was 1.00 GB"),
        (Ending("unstarted", message="no gzip"), Said(), "error", "could not be started: no gzip"),
    ],
)
def test_only_a_clean_end_in_time_is_an_answer(ending: Ending, said: Said, verdict: str, message: str) -> None:
    answer = conclude(ending, said, other_tool(f"sh {PLACES}"), LIMITS)
    assert (answer.verdict, answer.message) == (verdict, message)
