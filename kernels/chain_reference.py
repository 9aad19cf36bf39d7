"""The definition of the chain kernels in plain numpy, on many boxes at once: what the numba twins in `chain_cpu.py` must compute.

Boxes are on the first axis of every array. Sums may be taken in any order; eps is twice the unit roundoff u, and a sum of n products in
any order is off by at most n u / (1 - n u) times the sum of their magnitudes (Higham, Accuracy and Stability, 3.1), which is less than
gamma = (n + 16) eps by a factor of two; that factor covers the rounding of the allowance itself. What underflows is covered by TINY.

**Forward** (zonotopes, arXiv 1810.12715 and DeepZ). Every value is an affine form with an error: for all points x of the box there are
|e_s| <= 1, the same for all neurons, with |z_h(x) - (c_h + sum_s Z_hs e_s)| <= d_h. Of an input the form is exact but for the rounding
of its radius, which is outward. An affine map of forms whose magnitudes |c| + sum |Z| are M and errors D has the error
|W| D + gamma (|W| M + |b|). An activation f(z) = max(z, a z) on [l, u], l < 0 < u, lies in slope * z + [0, shift] for any slope in
[a, 1], shift as in `upper_line`: half of the shift goes to the centre, half into a symbol of the neuron's own, or into its error.

**Backward** (CROWN, arXiv 1811.00866). The claim "row(x) >= A y(x) + constant on the box" passes an affine map as (A W) with the
constant raised by A b: rounding of A W takes at most gamma sum_h |A_h| (|W_h| (M + D) + |b_h|) from it, which is gamma sum |A_h| size_h.
An activation takes the upper line at a negative coefficient, any lower line z -> alpha z, a <= alpha <= 1, at a positive one. The last
step is the minimum over the box. All of this is summed up as the allowance, with gamma for all operations together. What an upper line
adds needs no term of its own: its shift is at most slope * -l, up to rounding, so less than slope * size, and the coefficient has that
slope. It does not underflow: u is a difference of floats that are at least gamma * size, so more than 1e-40 of the size.

**Underflow.** A product that underflows is off by 5e-324, and a coefficient that is off by as much costs that times the size of what it
stands before: less than `LARGEST` / gamma, which is why inputs must be below `LARGEST` as well. `TINY` is twice more than all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from certify.kernels.chain import EPS, LARGEST, TINY, Clauses, Effort, Layer, Net, Work, layers

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bounds:
    """Of one layer, all (boxes, neurons): low <= z <= high; |z| and all terms of it <= size; state as in `Work`.

    `share` (boxes, neurons, inputs) is how much of a neuron's range is due to each input.
    """

    low: Array
    high: Array
    size: Array
    state: NDArray[np.int8]
    share: Array


# --- forward ------------------------------------------------------------------------------------------------------------------


def upper_line(low: Array, high: Array, slope: Array) -> tuple[Array, Array]:
    """The line through both ends of max(z, slope z) on [low, high], low < 0 < high: its slope, and a shift that is rounded up.

    The function lies in line * z + [0, shift] there: it is convex and at the ends below the line by the choice of the shift, and it is
    at least line * z everywhere as slope <= line <= 1, which is enforced.
    """
    line = np.minimum(1.0, np.maximum(slope, (high - slope * low) / (high - low)))
    return line, np.maximum((slope - line) * low, (1.0 - line) * high) * (1.0 + 8.0 * EPS) + TINY


def forward(net: Sequence[Layer], lower: Array, upper: Array, state: NDArray[np.int8], symbols: int) -> list[Bounds]:
    """Bounds of all layers. `state` (boxes, neurons) may know some already, and learns the others; at most so many error symbols."""
    center = 0.5 * lower + 0.5 * upper
    radius = np.maximum(upper - center, center - lower) * (1.0 + 4.0 * EPS)
    n = lower.shape[1]
    forms = np.concatenate([center[:, :, None], radius[:, :, None] * np.eye(n)], axis=2)
    error, left = np.full(lower.shape, TINY), np.full(len(lower), symbols)
    result = []
    first = 0
    for layer in net:
        part = state[:, first : first + len(layer[1])]
        first += len(layer[1])
        forms, error, bounds = _affine(layer, forms, error, part, n)
        result.append(bounds)
        forms, error, left = _activation(layer[2], forms, error, bounds, left)
    return result


def _affine(layer: Layer, forms: Array, error: Array, state: NDArray[np.int8], inputs: int) -> tuple[Array, Array, Bounds]:
    weight, bias, slope = layer
    gamma = (weight.shape[1] + forms.shape[2] + 16) * EPS
    terms = np.abs(forms).sum(axis=2) @ np.abs(weight).T + np.abs(bias)
    error = error @ np.abs(weight).T
    size = (terms + error) * (1.0 + gamma) + TINY
    error = error * (1.0 + gamma) + gamma * terms + TINY
    forms = weight @ forms
    forms[:, :, 0] += bias
    radius = np.abs(forms[:, :, 1:]).sum(axis=2) + error + gamma * size
    low, high = forms[:, :, 0] - radius, forms[:, :, 0] + radius
    unknown = (state == 0) & (slope != 1.0)
    state[unknown & (high <= 0.0)] = -1
    state[unknown & (low >= 0.0)] = 1
    share = np.abs(forms[:, :, 1 : 1 + inputs]) / radius[:, :, None]
    return forms, error, Bounds(low, high, size, state.copy(), share)


def _activation(
    slope: Array, forms: Array, error: Array, bounds: Bounds, left: NDArray[np.int64]
) -> tuple[Array, Array, NDArray[np.int64]]:
    """`left` (boxes,) says how many symbols each box may still use; the first unstable neurons get them."""
    unstable = (bounds.state == 0) & (slope != 1.0)
    line, shift = _lines(bounds, slope, unstable)
    own = unstable & (unstable.cumsum(axis=1) <= left[:, None])
    forms = forms * line[:, :, None]
    forms[:, :, 0] += 0.5 * shift
    fresh = np.flatnonzero(own.any(axis=0))
    columns = np.zeros((*own.shape, len(fresh)))
    columns[:, fresh, np.arange(len(fresh))] = (0.5 * shift * own)[:, fresh]
    error = line * error + TINY + 0.5 * shift * (unstable & ~own)
    return np.concatenate([forms, columns], axis=2), error, left - own.sum(axis=1)


def _lines(bounds: Bounds, slope: Array, unstable: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Slope and shift of the upper line of every activation; of a stable one, the activation itself."""
    stable = np.where(bounds.state < 0, slope, 1.0)
    line, shift = upper_line(np.where(unstable, bounds.low, -1.0), np.where(unstable, bounds.high, 1.0), slope)
    return np.where(unstable, line, stable), np.where(unstable, shift, 0.0)


# --- backward -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A lower bound of rows by functions of the inputs: line @ x + constant. All in all (boxes,), `post` as in `lower_line`."""

    bound: Array
    allowance: Array
    line: Array
    post: list[Array]


def lower_line(net: Sequence[Layer], bounds: list[Bounds], lower: Array, upper: Array, rows: Array, alpha: list[Array]) -> Line:
    """The lower bound of `rows` (boxes, rows of the last layer) over the boxes; `post` are the coefficients of the layers' outputs.

    `alpha` holds the lower slopes of every layer but the last, (boxes, neurons).
    """
    gamma = (2 * sum(len(bias) for _, bias, _ in net) + 2 * lower.shape[1] + 64) * EPS
    constant, loss = np.zeros(len(rows)), np.zeros(len(rows))
    pre, post = rows, []
    for k, (weight, bias, _) in reversed(list(enumerate(net))):
        constant += pre @ bias
        loss += (np.abs(pre) * bounds[k].size).sum(axis=1)
        after = pre @ weight
        if k:
            post.append(after)
            slope = net[k - 1][2]
            unstable = (bounds[k - 1].state == 0) & (slope != 1.0)
            line, shift = _lines(bounds[k - 1], slope, unstable)
            negative = after < 0.0
            constant += (after * np.where(negative, shift, 0.0)).sum(axis=1)
            pre = after * np.where(unstable & ~negative, alpha[k - 1], line)
    ends = np.minimum(after * lower, after * upper)
    loss += (np.abs(after) * np.maximum(np.abs(lower), np.abs(upper))).sum(axis=1)
    allowance = gamma * loss + TINY
    bound = np.where(allowance < LARGEST, constant + ends.sum(axis=1) - allowance, -np.inf)
    return Line(bound, allowance, after, post[::-1])


def follow(net: Sequence[Layer], bounds: list[Bounds], x: Array, alpha: list[Array], post: list[Array]) -> list[Array]:
    """The values of all layers at the points x (boxes, inputs) where every activation is the line that `lower_line` took."""
    values = []
    for k, (weight, bias, slope) in enumerate(net):
        values.append(x @ weight.T + bias)
        if k < len(alpha):
            unstable = (bounds[k].state == 0) & (slope != 1.0)
            line, shift = _lines(bounds[k], slope, unstable)
            up = unstable & (post[k] >= 0.0)
            x = np.where(up, alpha[k] * values[k], line * values[k] + shift)
    return values


def evaluate(net: Sequence[Layer], x: Array) -> list[Array]:
    """The values of all layers at the points x (points, inputs); not rigorous."""
    values = []
    for weight, bias, slope in net:
        values.append(x @ weight.T + bias)
        x = np.maximum(values[-1], slope * values[-1])
    return values


# --- one clause on some boxes -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Atoms:
    """Of one clause for each box, filled up to equal numbers: (boxes, atoms); `present` says which are there."""

    row: NDArray[np.int64]
    rhs: Array
    present: NDArray[np.bool_]

    @classmethod
    def of(cls, clauses: Clauses, clause: NDArray[np.int64]) -> Atoms:
        """Those of the clauses with these numbers."""
        first, last = clauses.start[clause], clauses.start[clause + 1]
        index = first[:, None] + np.arange(max(1, (last - first).max(initial=0)))
        present = index < last[:, None]
        index = np.where(present, index, 0)
        return cls(clauses.row[index], np.where(present, clauses.rhs[index], 0.0), present)

    def excess(self, rows: Array) -> Array:
        """Values of the rows minus right-hand sides; -inf where there is no atom."""
        return np.where(self.present, np.take_along_axis(rows, self.row, axis=1) - self.rhs, -np.inf)

    def weighted(self, weight: Array, rows: int) -> tuple[Array, Array]:
        """Coefficients of the weighted sum of the atoms, (boxes, rows), and its right-hand side, rounded up."""
        pre = np.zeros((len(weight), rows))
        np.add.at(pre, (np.arange(len(weight))[:, None], self.row), weight)
        terms = weight * self.rhs
        return pre, terms.sum(axis=1) + (self.present.sum(axis=1) + 8) * EPS * np.abs(terms).sum(axis=1)


def ascend(
    net: Sequence[Layer],
    bounds: list[Bounds],
    atoms: Atoms,
    line: Line,
    values: list[Array],
    alpha: list[Array],
    weight: Array,
    rate: float,
) -> tuple[list[Array], Array]:
    """One step up in lower slopes and in weights of atoms: each is a multiplier of something whose sign `values` tell.

    A weighted sum of a clause's atoms with weights of sum 1 exceeds the weighted right-hand sides only if some atom does.
    """
    new = []
    for k, slope in enumerate(alpha):
        own = net[k][2]
        moves = (bounds[k].state == 0) & (own != 1.0) & (line.post[k] > 0.0)
        step = np.where(values[k] > 0.0, rate, -rate)
        new.append(np.where(moves, np.minimum(1.0, np.maximum(own, slope + step)), slope))
    excess = atoms.excess(values[-1])
    largest = np.where(atoms.present, np.abs(excess), TINY).max(axis=1, keepdims=True)
    grown = np.maximum(weight, 0.02) * np.exp(2.0 * rate * np.where(atoms.present, excess, -np.inf) / largest)
    several = atoms.present.sum(axis=1, keepdims=True) > 1
    return new, np.where(several, grown / np.maximum(grown.sum(axis=1, keepdims=True), TINY), weight)


def clip(lower: Array, upper: Array, line: Array, excess: Array) -> tuple[Array, Array]:
    """Ends of the part of the box where a counterexample can be, given "row(x) - rhs >= line @ x + constant >= excess on the box".

    A point of the clause has row(x) <= rhs, so line_i x_i <= -(constant + sum_(j != i) min(line_j x_j)) = -rest_i. The bound behind
    `excess` was lowered by more than twice of what rounding and underflow can do; 8 eps of all terms cover the rounding here, and the
    other half of that allowance, at least `TINY` / 2, a product that underflows. A NaN compares false and cuts nothing.
    """
    scale = np.abs(excess) + (np.abs(line) * np.maximum(np.abs(lower), np.abs(upper))).sum(axis=1)
    rest = excess[:, None] - np.minimum(line * lower, line * upper) - 8.0 * EPS * scale[:, None]
    cut = -rest / np.where(line == 0.0, 1.0, line)
    slack = 4.0 * EPS * np.abs(cut) + TINY
    left = np.where((line < 0.0) & (cut - slack > lower), cut - slack, lower)
    right = np.where((line > 0.0) & (cut + slack < upper), cut + slack, upper)
    return left, right


def gaps(net: Sequence[Layer], bounds: list[Bounds], post: list[Array], alpha: list[Array]) -> Array:
    """What the relaxation costs, (boxes, inputs), shared among the inputs by their parts in the ranges of unstable neurons."""
    total = np.zeros(bounds[-1].share[:, 0].shape)
    for k, slope in enumerate(alpha):
        own = net[k][2]
        unstable = (bounds[k].state == 0) & (own != 1.0)
        low, high = np.where(unstable, bounds[k].low, -1.0), np.where(unstable, bounds[k].high, 1.0)
        above = post[k] * (1.0 - own) * high * low / (high - low)
        below = post[k] * np.maximum((own - slope) * low, (1.0 - slope) * high)
        total += np.einsum("bh,bhi->bi", np.where(unstable, np.where(post[k] < 0.0, above, below), 0.0), bounds[k].share)
    return total


@dataclass
class Outcome:
    """Of one clause on some boxes: whether it is excluded, with what margin, or stuck; else what it leaves of them, and more."""

    excluded: NDArray[np.bool_]
    stuck: NDArray[np.bool_]
    margin: Array
    left: Array
    right: Array
    best: Array
    line: Array
    gap: Array
    point: Array
    value: Array


def examine_clause(net: Sequence[Layer], atoms: Atoms, effort: Effort, bounds: list[Bounds], lower: Array, upper: Array) -> Outcome:
    """Bounds of the clause's atoms by forms, then of weighted sums of them by lines whose slopes and weights climb."""
    boxes, rows = len(lower), len(net[-1][1])
    by_forms = atoms.excess(bounds[-1].low)
    margin = by_forms.max(axis=1)
    highest = atoms.excess(bounds[-1].high).max(axis=1)
    slopes = [slope for _, _, slope in net[:-1]]
    alpha = [np.where(b.high > -b.low, 1.0, slope) for b, slope in zip(bounds, slopes, strict=False)]
    weight = np.eye(by_forms.shape[1])[by_forms.argmax(axis=1)]
    none = np.zeros(lower.shape)
    excluded = margin > 0.0
    done = Outcome(
        excluded,
        ~excluded & (highest <= 0.0),
        margin,
        lower.copy(),
        upper.copy(),
        np.full(boxes, -np.inf),
        none,
        none,
        lower,
        none[:, 0],
    )
    done.value = np.full(boxes, np.inf)
    for step in range(effort.steps + 1):
        pre, rhs = atoms.weighted(weight, rows)
        line = lower_line(net, bounds, lower, upper, pre, alpha)
        excess = line.bound - rhs
        done.margin = np.where(done.excluded, done.margin, excess)
        done.excluded = done.excluded | (excess > 0.0)
        done.stuck |= excess > -8.0 * line.allowance
        better = excess > done.best
        done.best = np.where(better, excess, done.best)
        done.line = np.where(better[:, None], line.line, done.line)
        done.gap = np.where(better[:, None], gaps(net, bounds, line.post, alpha), done.gap)
        if effort.clip:
            left, right = clip(lower, upper, line.line, excess)
            done.left, done.right = np.maximum(done.left, left), np.minimum(done.right, right)
        x = np.where(line.line > 0.0, lower, upper)
        if step in (0, effort.steps):
            value = atoms.excess(evaluate(net, x)[-1]).max(axis=1)
            nearer = value < done.value
            done.point, done.value = np.where(nearer[:, None], x, done.point), np.where(nearer, value, done.value)
        if step < effort.steps:
            values = follow(net, bounds, x, alpha, line.post)
            alpha, weight = ascend(net, bounds, atoms, line, values, alpha, weight, 0.7 * 0.8**step)
    cut_off = ~done.excluded & (done.left > done.right).any(axis=1)
    done.margin = np.where(cut_off, 0.0, done.margin)
    done.excluded |= cut_off
    done.stuck &= ~done.excluded
    return done


def score(lower: Array, upper: Array, line: Array, gap: Array) -> Array:
    """Of each input, an estimate of how far halving it would raise the bounds of the two halves, as a product: (boxes, inputs).

    Both lose the input's part of the relaxation's cost, and the half that does not hold the minimiser gains along the line too.
    """
    gain = np.abs(line) * (upper - lower)
    cost = gap + np.maximum(1e-9 * gain.max(axis=1, keepdims=True), TINY)
    return cost * (cost + gain)


# --- boxes --------------------------------------------------------------------------------------------------------------------


def examine(net: Net, clauses: Clauses, effort: Effort, work: Work) -> None:
    """Finds out about every box what `Work` tells, in place: bounds, the open clauses one by one, the cut and where to halve."""
    made = layers(net)
    with np.errstate(all="ignore"):
        bounds = forward(made, work.lower, work.upper, work.state, effort.symbols)
        sizes = [np.abs(end) for end in (work.lower, work.upper, *(end for b in bounds for end in (b.low, b.high)))]
        fine = np.all([(size < LARGEST).all(axis=1) for size in sizes], axis=0)
        work.value[~fine] = np.nan
        total = np.zeros(work.lower.shape)
        left, right = np.full(total.shape, np.inf), np.full(total.shape, -np.inf)
        given, bit = work.open.copy(), 0
        while (given >> bit).any():
            index = np.flatnonzero(fine & (given >> bit & 1 == 1))
            if len(index):
                _take_in(made, clauses, effort, work, bounds, index, bit, total, left, right)
            bit += 1
    unsettled = fine & (work.open != 0)
    work.lower[unsettled] = np.maximum(work.lower, left)[unsettled]
    work.upper[unsettled] = np.minimum(work.upper, right)[unsettled]
    middle = 0.5 * work.lower + 0.5 * work.upper
    total[(middle <= work.lower) | (middle >= work.upper)] = -1.0
    axis = np.where(total.max(axis=1) >= 0.0, total.argmax(axis=1), -1)
    work.axis[unsettled] = axis[unsettled]
    lost = fine & (work.axis < 0)
    work.stuck[lost] |= work.open[lost]
    work.open[lost] = 0


def _take_in(
    net: Sequence[Layer],
    clauses: Clauses,
    effort: Effort,
    work: Work,
    bounds: list[Bounds],
    index: NDArray[np.intp],
    bit: int,
    total: Array,
    left: Array,
    right: Array,
) -> None:
    """Examines the clause of one bit on the boxes `index`: settles it there, or adds to scores and hulls."""
    lower, upper = work.lower[index], work.upper[index]
    part = [Bounds(b.low[index], b.high[index], b.size[index], b.state[index], b.share[index]) for b in bounds]
    found = examine_clause(net, Atoms.of(clauses, work.root[index] + bit), effort, part, lower, upper)
    settled = found.excluded | found.stuck
    work.open[index[settled]] &= ~(1 << bit)
    work.stuck[index[found.stuck]] |= 1 << bit
    work.margin[index] = np.where(found.excluded, np.minimum(work.margin[index], found.margin), work.margin[index])
    nearer = ~found.excluded & (found.value < work.value[index])
    work.value[index[nearer]], work.point[index[nearer]] = found.value[nearer], found.point[nearer]
    still = index[~settled]
    total[still] += score(lower, upper, found.line, found.gap)[~settled]
    left[still], right[still] = np.minimum(left[still], found.left[~settled]), np.maximum(right[still], found.right[~settled])


# --- attack -------------------------------------------------------------------------------------------------------------------


def descend(
    net: Net, clauses: Clauses, clause: NDArray[np.int64], lower: Array, upper: Array, points: Array, values: Array, steps: int
) -> None:
    """Descends from each of the points (in place) to where its clause's worst atom is least, within its box; gives the best values.

    Follows the gradient of half the sum of the violated atoms and half the worst, with steps that shrink and are a share of the box.
    """
    made, atoms, x = layers(net), Atoms.of(clauses, clause), points.copy()
    values[:] = np.inf
    extent = upper - lower
    moving = np.ones(len(points), dtype=bool)
    for step in range(steps):
        reached = evaluate(made, x)
        excess = atoms.excess(reached[-1])
        worst = excess.argmax(axis=1)
        value = excess.max(axis=1)
        better = moving & (value < values)
        values[better], points[better] = value[better], x[better]
        weight = 0.5 * (excess > 0.0) + 0.5 * np.eye(excess.shape[1])[worst]
        slope = _gradient(made, reached, atoms.weighted(weight, int(net.width[-1]))[0])
        largest = (np.abs(slope) * extent).max(axis=1, keepdims=True)
        moving &= largest[:, 0] > 0.0
        move = 0.25 * 0.93**step * extent * np.sqrt(np.abs(slope) * extent / np.maximum(largest, TINY))
        x = np.minimum(upper, np.maximum(lower, x - np.where(slope > 0.0, move, -move)))


def _gradient(net: Sequence[Layer], values: list[Array], pre: Array) -> Array:
    """Of rows of the last layer with coefficients `pre` (points, rows), at points with these values: (points, inputs)."""
    for k, (weight, _, _) in reversed(list(enumerate(net))):
        pre = pre @ weight
        if k:
            pre = pre * np.where(values[k - 1] > 0.0, 1.0, net[k - 1][2])
    return pre
