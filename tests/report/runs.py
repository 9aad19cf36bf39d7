"""A property whose witnesses are known by hand, and runs."""

from __future__ import annotations

from typing import Any

from certify.report.store import Run

PROPERTY = """(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)
(assert (>= X_0 0))(assert (<= X_0 0.3))(assert (>= X_1 0))(assert (<= X_1 1))(assert (>= Y_0 0.2))"""


def witness(x: str, y: str | None = None) -> str:
    """The point (x, 0.5) as text; the outputs are those of the network unless others are named."""
    return f"((X_0 {x})\n (X_1 0.5)\n (Y_0 {y or x})\n (Y_1 0.5))"


GOOD = witness("0.25")


def a_run(name: str) -> Run:
    """A run with settings and machine."""
    machine = {"cpu": "some processor", "cores": 2, "memory": 8_000_000_000, "versions": {"torch": "2.13.0"}}
    return Run("2026-11-20T10:00:00+00:00", name, "certify", "1.0", {"workers": 2}, machine, f"certify bench --name {name}")


def certificate(radii: list[int], **changed: Any) -> dict[str, Any]:
    """What `certify poison certify --json` writes of a run whose answers are right but for the last one."""
    count = len(radii)
    return {
        "schema": "certify.poison/1",
        "rule": "plurality",
        "threat": {"name": "insert_delete", "edit": "one sample inserted or deleted", "buckets_per_edit": 1},
        "buckets": 50,
        "classifiers": 50,
        "shifts": [0],
        "certified_accuracy": {"0": 1.0},
        "assumptions": ["training again gives the same answers"],
        "answers": [1] * count,
        "labels": [1] * (count - 1) + [2],
        "radii": radii,
        "settings": {"schema": "certify.poison-run/1", "k": 50, "learner": "ridge"},
    } | changed
