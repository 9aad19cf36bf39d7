"""The last word on every front end: a graph must compute what the model it was read from computes.

They are compared output by output: at each point every output may differ by what rounding can do to it there (`certify.graph.noise`),
and by nothing that has to do with the size of other outputs. Points say nothing of an output where the original is not defined,
overflows, or rounding decides on which side of a jump it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from certify.graph import Graph, GraphError, Shape
from certify.graph.formats import FORMATS
from certify.graph.noise import Noisy, evaluate_noisy, work

Array = np.ndarray
Original = Callable[[Array], Array]


def require_agreement(graph: Graph, original: Original, points: Sequence[Array], precision: str, judge: str) -> NDArray[np.bool_]:
    """A `GraphError` where the original, called `judge`, differs from the graph by more than rounding at some point, in some output.

    `precision` names what the original computes in, as in `FORMATS`, and points are numbers of it. Returns which outputs were compared
    at some point, in the shape of the output: the others are NaN, infinite or beyond the range of that precision at all of them.
    """
    compared = np.zeros(graph.output_shape, dtype=bool)
    for x, found in _evaluated_in_parts(graph, points, precision):
        expected = np.asarray(original(x))
        if expected.shape != found.value.shape:
            raise GraphError(
                f"the graph's output has shape {list(found.value.shape)} and {judge}'s {list(expected.shape)}; please report this"
            )
        wrong, known = _differences(expected.astype(np.float64), found)
        if wrong.any():
            raise GraphError(_message(x, expected, found, wrong, judge))
        compared |= known
    return compared


_ELEMENTS = 1 << 22
"""Elements that a node may have at all points that are evaluated at once."""


def _evaluated_in_parts(graph: Graph, points: Sequence[Array], precision: str) -> Iterator[tuple[Array, Noisy]]:
    """Each point, and what the original should find there, and how far from it it may be."""
    size = max(1, _ELEMENTS // max(int(np.prod(node.shape)) for node in graph.nodes))
    for start in range(0, len(points), size):
        part = points[start : start + size]
        noisy = _evaluated(graph, part, precision)
        yield from ((x, Noisy(noisy.value[k], noisy.noise[k])) for k, x in enumerate(part))


def _evaluated(graph: Graph, points: Sequence[Array], precision: str) -> Noisy:
    """What the original should find at all points, and how far from it it may be.

    Where the model computes constants that its runtime rounds, it may be farther by some of what this rounding does to the output:
    the order in which a runtime adds up, say, is its own.
    """
    found = _rounded_as_read(graph, points, precision)
    if graph.runtime is None:
        return found
    rounded = _rounded_as_read(graph.runtime, points, precision)
    with np.errstate(invalid="ignore"):
        return Noisy(rounded.value, rounded.noise + _FREEDOM * np.abs(rounded.value - found.value))


_FREEDOM = 4.0


def _rounded_as_read(graph: Graph, points: Sequence[Array], precision: str) -> Noisy:
    """The values of the graph, with the noise of the one that it was read as, where that is kept and larger."""
    found = evaluate_noisy(graph, points, FORMATS[precision])
    if graph.plain is None:
        return found
    return Noisy(found.value, np.maximum(found.noise, evaluate_noisy(graph.plain, points, FORMATS[precision]).noise))


def _differences(expected: Array, found: Noisy) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which outputs differ by more than rounding, and which could be compared.

    Both NaN agree, as do infinities of one sign: there the original says nothing. Where the noise is endless anything agrees.
    """
    with np.errstate(invalid="ignore"):
        near = np.abs(expected - found.value) <= found.noise
        same = (expected == found.value) | (np.isnan(expected) & np.isnan(found.value)) | np.isposinf(found.noise)
    return ~(near | same), np.isfinite(expected) & np.isfinite(found.value) & np.isfinite(found.noise)


def _message(x: Array, expected: Array, found: Noisy, wrong: NDArray[np.bool_], judge: str) -> str:
    with np.errstate(invalid="ignore", over="ignore"):
        excess = np.where(wrong, np.nan_to_num(np.abs(expected - found.value), nan=np.inf) / (found.noise + 1e-300), -1.0)
    worst = np.unravel_index(int(np.argmax(excess)), wrong.shape)
    number = int(np.ravel_multi_index(worst, wrong.shape))
    return (
        f"output {number} is {float(expected[worst]):.9g} in {judge} and {found.value[worst]:.9g} in the graph at the input {_short(x)}, "
        f"more than rounding explains ({found.noise[worst]:.2g}): the model was misread, please report it"
    )


def _short(x: Array) -> str:
    """The first few numbers of a point."""
    flat = x.ravel()
    shown = ", ".join(f"{float(v):.9g}" for v in flat[:_SHOWN])
    return f"[{shown}{', ...' if len(flat) > _SHOWN else ''}]"


_SHOWN = 4

# --- points for a model of which nothing is asked yet ---------------------------------------------------------------------------

_WORK = 100_000_000
"""Products that a comparison may take, apart from its least points."""
_LEAST = 2

Draw = Callable[[np.random.Generator, Shape], Array]


def _spread(middle: float, reach: float) -> Draw:
    return lambda random, shape: middle + reach * random.uniform(-1, 1, shape)


DRAWS: Sequence[Draw] = (
    lambda random, shape: random.random(shape),
    lambda random, shape: random.standard_normal(shape),
    lambda random, shape: np.zeros(shape),
    lambda random, shape: random.integers(-6, 7, shape) / 2,  # ties of rounding, and zeros
    lambda random, shape: 1e3 * random.standard_normal(shape),
    _spread(1.5, 0.5),
    lambda random, shape: random.choice((-1.0, 1.0), shape),
    lambda random, shape: 1e-3 * random.standard_normal(shape),
    _spread(60.0, 20.0),
    lambda random, shape: 1e6 * random.standard_normal(shape),
)
"""An image, values of either sign, and what a kink, a jump, a limit or a domain may hide behind: the more telling ones first."""
_DISTANT: Sequence[Draw] = (_spread(10.0, 5.0), _spread(1e3, 1e2), _spread(-1.5, 0.5), _spread(-60.0, 20.0), _spread(1e5, 1e4))
"""Where else a model may be defined that is not at the others."""


def trial_points(graph: Graph, precision: str, examples: Sequence[Array] = ()) -> Iterator[Sequence[Array]]:
    """Points of a format at which to compare a graph, always the same: those to try, examples first, and others one by one.

    The others are for what is not defined, or overflows, at the first.
    """
    form = FORMATS[precision]
    random = np.random.default_rng(0)
    number = len(examples) + max(_LEAST, min(len(DRAWS), _WORK // max(work(graph), 1)))
    drawn = [*examples, *(draw(random, graph.input_shape) for draw in (*DRAWS, *_DISTANT))]
    points = [form.round(np.clip(x, -form.largest, form.largest)) for x in drawn]
    yield points[:number]
    yield from ([x] for x in points[number:])


def in_agreement(
    graph: Graph, read: Callable[[], Graph], original: Original, precision: str, judge: str, examples: Sequence[Array] = ()
) -> Graph:
    """The graph, held against its original at `trial_points`; a `GraphError` where they differ by more than rounding.

    Layers that were merged into one may cancel what a runtime computes first and rounds: where the graph itself rounds too little to
    explain a difference, the graph as it was `read`, before it was rewritten, is asked, and kept with it for later comparisons.
    """
    try:
        require_agreement_somewhere(graph, original, trial_points(graph, precision, examples), precision, judge)
        return graph
    except GraphError:
        kept = _with_plain(graph, read())
        require_agreement_somewhere(kept, original, trial_points(graph, precision, examples), precision, judge)
        return kept


def _with_plain(graph: Graph, plain: Graph) -> Graph:
    """The graph, and that of what its runtime rounds, with the one that was read: constants of another rounding change no noise."""
    runtime = None if graph.runtime is None else replace(graph.runtime, plain=plain)
    return replace(graph, runtime=runtime, plain=plain)


def require_agreement_somewhere(
    graph: Graph, original: Original, batches: Iterable[Sequence[Array]], precision: str, judge: str
) -> None:
    """`require_agreement` at batches of points, until every output was compared or no points are left.

    A model that is defined at none of them is not refused: before a proof counts it is compared on the set that was asked about.
    """
    compared = np.zeros(graph.output_shape, dtype=bool)
    for points in batches:
        compared |= require_agreement(graph, original, points, precision, judge)
        if compared.all():
            return
