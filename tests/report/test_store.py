"""The file of results keeps what it is given, and says clearly what it cannot read."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certify.report.store import DECIDED, SCHEMA_VERSION, VERDICTS, Instance, Outcome, Result, Run, Store, is_store, now

RUN = Run(now(), "trial", "certify", "1.0", {"memory": 2.0, "threads": 1}, {"cpu": "some", "cores": 2}, "certify bench x")
INSTANCE = Instance("acasxu", 3, "/data/acasxu", "onnx/a.onnx", "vnnlib/p.vnnlib", 116.0, "aa", "bb", "unsat")
OUTCOME = Outcome("key", "unsat", 1.5, now(), 1 << 30, None, "", "crown", 0.25)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


def test_what_was_recorded_is_read_back(path: Path) -> None:
    with Store(path, create=True) as store:
        run = store.begin(RUN)
        store.record(run, Result(INSTANCE, OUTCOME))
    with Store(path) as store:
        assert store.runs() == [dataclasses.replace(RUN, id=1)]
        assert store.results(store.run("trial")) == [Result(INSTANCE, OUTCOME)]
    assert is_store(path)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
outcomes = st.builds(
    Outcome,
    key=text,
    verdict=st.sampled_from(VERDICTS),
    seconds=st.floats(0, 1e6),
    started=text,
    peak_memory=st.integers(0, 1 << 50),
    witness=st.none() | text,
    message=text,
    plan=st.none() | text,
    bound=st.none() | st.floats(allow_nan=False),
)


@given(recorded=st.lists(st.tuples(st.integers(0, 3), outcomes), max_size=8))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_last_outcome_of_every_row_counts(
    tmp_path_factory: pytest.TempPathFactory, recorded: list[tuple[int, Outcome]]
) -> None:
    path = tmp_path_factory.mktemp("store") / "runs.sqlite"
    with Store(path, create=True) as store:
        run = store.begin(RUN)
        for row, outcome in recorded:
            store.record(run, Result(dataclasses.replace(INSTANCE, row=row), outcome))
        last = dict(recorded)
        assert [(result.instance.row, result.outcome) for result in store.results(run)] == sorted(
            last.items(), key=lambda pair: pair[0]
        )


def test_an_instance_whose_model_changed_takes_the_place_of_the_old_one(path: Path) -> None:
    changed = dataclasses.replace(INSTANCE, model_hash="cc")
    with Store(path, create=True) as store:
        run = store.begin(RUN)
        for instance in (INSTANCE, changed):
            store.record(run, Result(instance, OUTCOME))
        assert [result.instance for result in store.results(run)] == [changed]
        store.record(run, Result(INSTANCE, OUTCOME))
        assert [result.instance for result in store.results(run)] == [INSTANCE]


def test_a_moved_folder_and_a_new_expectation_are_taken_over(path: Path) -> None:
    moved = dataclasses.replace(INSTANCE, folder="/elsewhere", expected="sat")
    with Store(path, create=True) as store:
        run = store.begin(RUN)
        for instance in (INSTANCE, moved):
            store.record(run, Result(instance, OUTCOME))
        [result] = store.results(run)
    assert result.instance == moved
    assert result.wrong


def test_a_run_goes_on_under_the_same_settings_and_is_another_under_others(path: Path) -> None:
    with Store(path, create=True) as store:
        first = store.begin(RUN)
        again = store.begin(dataclasses.replace(RUN, started="later", command="other", settings={"threads": 1, "memory": 2.0}))
        other = store.begin(dataclasses.replace(RUN, settings={"threads": 2, "memory": 2.0}))
        assert again == first
        assert other.id != first.id
        assert store.run() == store.run("trial") == other
        assert store.run("1") == first


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("expected", [None, "unknown", *DECIDED])
def test_a_verdict_is_wrong_only_where_both_decide_and_differ(verdict: str, expected: str | None) -> None:
    result = Result(dataclasses.replace(INSTANCE, expected=expected), dataclasses.replace(OUTCOME, verdict=verdict))
    assert result.wrong == ({verdict, expected} == {"sat", "unsat"})


def test_a_verdict_that_is_none_is_refused_and_leaves_the_file_as_it_was(path: Path) -> None:
    with Store(path, create=True) as store:
        run = store.begin(RUN)
        with pytest.raises(sqlite3.IntegrityError):
            store.record(run, Result(INSTANCE, dataclasses.replace(OUTCOME, verdict="maybe")))
        assert store.results(run) == []


def test_a_reader_sees_results_while_a_run_goes_on(path: Path) -> None:
    with Store(path, create=True) as writer:
        run = writer.begin(RUN)
        writer.record(run, Result(INSTANCE, OUTCOME))
        with Store(path) as reader:
            assert len(reader.results(run)) == 1
            writer.record(run, Result(dataclasses.replace(INSTANCE, row=4), OUTCOME))
            assert len(reader.results(run)) == 2


def test_reading_never_makes_a_file(path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        Store(path)
    assert not path.exists()


def test_a_file_in_a_read_only_folder_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(path, create=True) as store:
        store.record(store.begin(RUN), Result(INSTANCE, OUTCOME))
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with Store(path) as store:
        assert store.results(store.run()) == [Result(INSTANCE, OUTCOME)]
        assert sorted(found.name for found in path.parent.iterdir()) == [path.name]  # no index, no log


def test_other_files_are_refused_in_one_line(path: Path) -> None:
    path.write_text("onnx,vnnlib,60\n" * 100)
    with pytest.raises(ValueError, match="cannot be opened as a file of results"):
        Store(path)
    assert not is_store(path)
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    before = path.read_bytes()
    for create in (False, True):
        with pytest.raises(ValueError, match="not one of `certify bench`"):
            Store(path, create=create)
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_is_said(path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing/runs.sqlite: cannot be opened"):
        Store(path.parent / "missing" / "runs.sqlite", create=True)


def test_another_version_of_the_format_is_refused(path: Path) -> None:
    Store(path, create=True).close()
    with sqlite3.connect(path) as file:
        file.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    file.close()
    with pytest.raises(ValueError, match=f"has version {SCHEMA_VERSION + 1} of the format"):
        Store(path)


def test_a_run_that_is_not_there_is_named_with_those_that_are(path: Path) -> None:
    with Store(path, create=True) as store:
        with pytest.raises(ValueError, match="it holds: none"):
            store.run()
        store.begin(RUN)
        with pytest.raises(ValueError, match=r"no run other; it holds: 1 \(trial\)"):
            store.run("other")


def test_files_are_found_packed_or_not(tmp_path: Path) -> None:
    instance = dataclasses.replace(INSTANCE, folder=str(tmp_path), model="a.onnx")
    assert instance.path(instance.model) == tmp_path / "a.onnx"
    (tmp_path / "a.onnx.gz").touch()
    assert instance.path(instance.model) == tmp_path / "a.onnx.gz"
    (tmp_path / "a.onnx").touch()
    assert instance.path(instance.model) == tmp_path / "a.onnx"
