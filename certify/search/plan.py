"""Which stages a verification runs: by the structure of network and property, never by a file's name.

Stages are named here and imported when they run, so that a plan costs nothing and a question that is settled by the numba search over
boxes never loads torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from certify.search.stage import Problem, Progress, Stage


@dataclass(frozen=True)
class Route:
    """The stages for questions of one structure, and what that structure is."""

    structure: str
    applies: Callable[[Problem], bool]
    stages: Sequence[Stage]


def _load(home: str) -> Any:
    """What is called `module:name` in this package."""
    module, _, name = home.partition(":")
    return getattr(import_module(f"certify.search.{module}"), name)


def _always(problem: Problem) -> bool:
    return True


def _stage(name: str, home: str, within: float = 1.0, when: Callable[[Problem], bool] = _always, **settings: Any) -> Stage:
    """A stage that lives at `home`, and gets a share of the time that is left; it is skipped, and not imported, unless `when`."""

    def run(problem: Problem, progress: Progress) -> Progress:
        if not when(problem):
            return progress
        own = replace(problem, deadline=time.monotonic() + within * problem.remaining()) if within < 1 else problem
        return _load(home)(own, progress, **settings)

    return Stage(name, run)


# Where bounds meet a condition exactly, no rounding outward can exclude it.
_EXACT = _stage("exact intervals", "exact_intervals:decide_exactly", share=0.1)
_QUICK = _stage("attack", "attack:attack", steps=20, restarts=4, share=0.1, most=256)
_THOROUGH = _stage("attack", "attack:attack", steps=100, restarts=16, share=0.1)
# Where nearly all is flat, as behind dead ReLUs, true gradients lead nowhere.
_LEAKING = _stage("attack through flat activations", "attack:attack", steps=100, restarts=8, leak=0.02, share=0.1)
# Many random draws are what finds small unsafe regions in few dimensions, where gradients lead elsewhere.
_LONG = _stage("attack", "attack:attack", steps=50, restarts=256, draws=100, share=0.1)
_DECIMALS = _stage(
    "attack off the grid",
    "decimal_witness:attack_decimals",
    when=lambda problem: not problem.spec.inputs.attackable().all(),
    steps=50,
    restarts=32,
    share=0.1,
)
_BOUNDS = {
    method: _stage(method, "proving:exclude", method=method) for method in ("ibp", "crown-ibp", "crown", "forward", "alpha-crown")
}
_CHAIN, _BOXES, _NEURONS, _PROGRAMS = (
    ("input splitting of a chain", "chain_split:split_chain"),
    ("input splitting", "input_split:split_inputs"),
    ("neuron splitting", "neuron_split:split_neurons"),
    ("splitting by linear programs", "lp_split:split_by_lp"),
)
_CHEAP = (_EXACT, _BOUNDS["ibp"], _QUICK, _BOUNDS["crown"], _THOROUGH, _LEAKING, _DECIMALS)
_FIRM = (*_CHEAP, _BOUNDS["alpha-crown"], _LONG)


def _is_chain(problem: Problem) -> bool:
    return bool(_load("chain_split:chain_applies")(problem.model.graph, problem.spec))


def _is_small_chain(problem: Problem) -> bool:
    return problem.spec.inputs.size <= _VERY_FEW and _is_chain(problem)


def _has_few_inputs(problem: Problem) -> bool:
    return bool(_load("boxes:few_inputs")(problem))


def _is_small(problem: Problem) -> bool:
    return bool(_load("lp_split:small")(problem))


def _is_splittable(problem: Problem) -> bool:
    return bool(_load("neuron_split:splittable")(problem.model.graph))


_VERY_FEW = 6

ROUTES: Sequence[Route] = (
    Route(
        "a chain of affine and ReLU layers with very few inputs",
        _is_small_chain,
        (_EXACT, _DECIMALS, _stage(*_CHAIN), _QUICK, _stage(*_PROGRAMS, when=_is_small)),
    ),
    Route(
        "a chain of affine and ReLU layers with few inputs",
        _is_chain,
        (_EXACT, _DECIMALS, _stage(*_CHAIN, within=0.5), *_FIRM, _stage(*_NEURONS)),
    ),
    Route(
        "few inputs that vary",
        _has_few_inputs,
        (*_CHEAP, _stage(*_PROGRAMS, when=_is_small, within=0.3), _stage(*_BOXES)),
    ),
    Route(
        "a small piecewise linear network",
        _is_small,
        (*_FIRM, _stage(*_PROGRAMS, within=0.3), _stage(*_NEURONS), _stage(*_PROGRAMS)),
    ),
    Route("many inputs, neurons that can be split", _is_splittable, (*_FIRM, _stage(*_NEURONS))),
    Route("any network", _always, (*_FIRM, _stage(*_BOXES))),
)
"""What `auto` does: the first route that applies."""

METHODS: Mapping[str, Sequence[Stage]] = {method: (_EXACT, _QUICK, stage, _THOROUGH) for method, stage in _BOUNDS.items()}
"""What the other methods do: bounds of one kind between two attacks, and no search."""


def choose(problem: Problem, method: str) -> tuple[str, Sequence[Stage]]:
    """Why, in one line, and the stages in order. A ValueError where the method is unknown."""
    if method == "auto":
        route = next(route for route in ROUTES if route.applies(problem))
        return f"plan for {route.structure}: {', '.join(stage.name for stage in route.stages)}", route.stages
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of auto, {', '.join(METHODS)}")
    return f"plan as asked for: {method}, no search", METHODS[method]
