"""Which stages a verification runs: by the structure of network and property, never by a file's name.

Stages are named here and imported when they run, so that a plan costs nothing and a question that is settled by the numba search over
boxes never loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from certify.search.stage import Problem, Progress, Stage


@dataclass(frozen=True)
class Route:
    """The stages for questions of one structure, and what that structure is."""

    structure: str
    applies: Callable[[Problem], bool]
    stages: Sequence[Stage]


def _stage(name: str, home: str, **settings: Any) -> Stage:
    """A stage that lives at `module:function`."""
    module, _, function = home.partition(":")

    def run(problem: Problem, progress: Progress) -> Progress:
        return getattr(import_module(f"certify.search.{module}"), function)(problem, progress, **settings)

    return Stage(name, run)


_QUICK = _stage("attack", "attack:attack", steps=20, restarts=4, share=0.1, most=256)
_THOROUGH = _stage("attack", "attack:attack", steps=100, restarts=16, share=0.2)
# Many random draws are what finds small unsafe regions in few dimensions, where gradients lead elsewhere.
_LAST = _stage("attack", "attack:attack", steps=50, restarts=256, draws=100, share=0.5)
_BOUNDS = {
    method: _stage(method, "proving:exclude", method=method) for method in ("ibp", "crown-ibp", "crown", "forward", "alpha-crown")
}

ROUTES: Sequence[Route] = (
    Route(
        "any network", lambda problem: True, (_QUICK, _BOUNDS["ibp"], _BOUNDS["crown"], _THOROUGH, _BOUNDS["alpha-crown"], _LAST)
    ),
)
"""What `auto` does: the first route that applies."""

METHODS: Mapping[str, Sequence[Stage]] = {method: (_QUICK, stage, _THOROUGH) for method, stage in _BOUNDS.items()}
"""What the other methods do: bounds of one kind between two attacks, and no search."""


def choose(problem: Problem, method: str) -> tuple[str, Sequence[Stage]]:
    """Why, in one line, and the stages in order. A ValueError where the method is unknown."""
    if method == "auto":
        route = next(route for route in ROUTES if route.applies(problem))
        return f"plan for {route.structure}: {', '.join(stage.name for stage in route.stages)}", route.stages
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of auto, {', '.join(METHODS)}")
    return f"plan as asked for: {method}, no search", METHODS[method]
