"""numba twins of the definitions in `chain_reference.py`: one box of a chain at a time, in scratch memory made once for many boxes.

Reassociation is allowed: the allowances hold for any order of summation. The proofs stand with the definitions. Loops run over slices
from zero, for which no index can be negative: only those vectorise.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from certify.kernels.chain import EPS, LARGEST, TINY

_kernel = njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})


class _Scratch(NamedTuple):
    """Memory of one thread. Few arrays with named rows, because every array more costs compilation time in every function.

    neuron  (7, neurons): bounds, magnitude, lower slopes, coefficients before and behind the activation, values.
    share   (neurons, inputs): how much of a neuron's range is due to each input.
    forms   (2, width, columns): affine forms of one layer and of the next; column 0 is the centre.
    layer   (4, width): of the outputs of one layer, magnitudes and errors of the forms, errors of the next, values at a point.
    rank    (2, width + 1): the outputs that are not always zero; and how many of those come before each.
    input   (9, inputs), see below. weight: one for every atom of a clause.
    """

    neuron: Any
    share: Any
    forms: Any
    layer: Any
    rank: Any
    input: Any
    weight: Any


_LOW, _HIGH, _SIZE, _ALPHA, _PRE, _POST, _Z = range(7)
_MAGNITUDE, _ERROR, _NEXT_ERROR, _Y = range(4)
_ALIVE, _RANK = range(2)
_LINE, _BEST_LINE, _X, _SCORE, _CLAUSE_SCORE, _LEFT, _RIGHT, _HULL_LEFT, _HULL_RIGHT = range(9)


@_kernel
def _scratch(net, atoms, symbols):  # type: ignore[no-untyped-def]
    n, neurons, width = net.width[0], len(net.bias), np.max(net.width)
    return _Scratch(
        np.zeros((7, neurons)),
        np.zeros((neurons, n)),
        np.empty((2, width, 1 + n + symbols)),
        np.empty((4, width)),
        np.empty((2, width + 1), np.int64),
        np.zeros((9, n)),
        np.zeros(atoms + 1),
    )


# --- forward ------------------------------------------------------------------------------------------------------------------


@_kernel
def _upper_line(l, u, a):  # type: ignore[no-untyped-def]
    """See `chain_reference.upper_line`."""
    slope = min(1.0, max(a, (u - a * l) / (u - l)))
    return slope, max((a - slope) * l, (1.0 - slope) * u) * (1.0 + 8.0 * EPS) + TINY


@_kernel
def _combine(weight, alive, begin, forms, out):  # type: ignore[no-untyped-def]
    """out = sum of weight[j - begin] * forms[j] over j in alive; four at a time, as memory is what it waits for."""
    columns, count = len(out), len(alive)
    out[:] = 0.0
    for p in range(count // 4):
        i, j, k, l = alive[4 * p], alive[4 * p + 1], alive[4 * p + 2], alive[4 * p + 3]
        a, b, c, d = weight[i - begin], weight[j - begin], weight[k - begin], weight[l - begin]
        f, g, h, e = forms[i], forms[j], forms[k], forms[l]
        for s in range(columns):
            out[s] += (a * f[s] + b * g[s]) + (c * h[s] + d * e[s])
    for p in range(count - count % 4, count):
        i = alive[p]
        a, f = weight[i - begin], forms[i]
        for s in range(columns):
            out[s] += a * f[s]


@_kernel
def _input_forms(lower, upper, s):  # type: ignore[no-untyped-def]
    n, forms = len(lower), s.forms[0]
    for i in range(n):
        center = 0.5 * lower[i] + 0.5 * upper[i]
        radius = max(upper[i] - center, center - lower[i]) * (1.0 + 4.0 * EPS)
        forms[i, : n + 1] = 0.0
        forms[i, 0], forms[i, 1 + i] = center, radius
        s.layer[_MAGNITUDE, i] = abs(center) + radius
        s.layer[_ERROR, i] = TINY
        s.rank[_ALIVE, i], s.rank[_RANK, i] = i, i
    s.rank[_RANK, n] = n


@_kernel
def _affine_forms(net, k, state, wanted, columns, s):  # type: ignore[no-untyped-def]
    """Forms and bounds of layer k's values from the forms of its inputs. Returns how many neurons are unstable; -1 on overflow."""
    n, layers = net.width[0], len(net.width) - 1
    before, after = s.forms[k % 2], s.forms[(k + 1) % 2]
    magnitude, errors = s.layer[_MAGNITUDE], s.layer[_ERROR]
    gamma = (net.width[k] + columns + 16) * EPS
    unstable = 0
    for i in range(net.width[k + 1]):
        h = net.first[k] + i
        if (state[h] < 0 and net.slope[h] == 0.0) or (k == layers - 1 and not wanted[i]):
            s.neuron[_LOW, h], s.neuron[_HIGH, h], s.neuron[_SIZE, h] = -np.inf, np.inf, 0.0
            continue
        begin, end = net.begin[h], net.end[h]
        weight = net.weight[net.base[h] + begin : net.base[h] + end]
        alive = s.rank[_ALIVE, s.rank[_RANK, begin] : s.rank[_RANK, end]]
        row = after[i, :columns]
        _combine(weight, alive, begin, before, row)
        row[0] += net.bias[h]
        terms, error, radius = abs(net.bias[h]), 0.0, 0.0
        for p in range(len(alive)):
            a = abs(weight[alive[p] - begin])
            terms += a * magnitude[alive[p]]
            error += a * errors[alive[p]]
        for c in range(columns):
            radius += abs(row[c])
        radius -= abs(row[0])
        size = (terms + error) * (1.0 + gamma) + TINY
        error = error * (1.0 + gamma) + gamma * terms + TINY
        radius = max(radius, 0.0) + error + gamma * size
        if not (size + radius < LARGEST):
            return -1
        l, u = row[0] - radius, row[0] + radius
        s.neuron[_LOW, h], s.neuron[_HIGH, h], s.neuron[_SIZE, h] = l, u, size
        s.layer[_NEXT_ERROR, i] = error
        if net.slope[h] == 1.0 or state[h] != 0:
            continue
        if l >= 0.0:
            state[h] = 1
        elif u <= 0.0:
            state[h] = -1
        else:
            unstable += 1
            for c in range(n):
                s.share[h, c] = abs(row[1 + c]) / radius
    return unstable


@_kernel
def _activation_forms(net, k, state, columns, most, s):  # type: ignore[no-untyped-def]
    """The forms of layer k's outputs, in place; each unstable neuron gets a column of its own while there are some, up to `most`."""
    alive, column = 0, columns
    for i in range(net.width[k + 1]):
        h = net.first[k] + i
        s.rank[_RANK, i] = alive
        slope, shift = (net.slope[h] if state[h] < 0 else 1.0), 0.0
        if slope == 0.0:
            continue
        s.rank[_ALIVE, alive] = i
        alive += 1
        if net.slope[h] != 1.0 and state[h] == 0:
            slope, shift = _upper_line(s.neuron[_LOW, h], s.neuron[_HIGH, h], net.slope[h])
        row = s.forms[(k + 1) % 2, i, :most]
        row[columns:] = 0.0
        if slope != 1.0:
            for c in range(columns):
                row[c] *= slope
        row[0] += 0.5 * shift
        error = slope * s.layer[_NEXT_ERROR, i] + TINY
        if shift > 0.0 and column < most:
            row[column] = 0.5 * shift
            column += 1
        else:
            error += 0.5 * shift
        total = 0.0
        for c in range(most):
            total += abs(row[c])
        s.layer[_MAGNITUDE, i] = total
        s.layer[_ERROR, i] = error
    s.rank[_RANK, net.width[k + 1]] = alive


@_kernel
def _forward(net, lower, upper, state, wanted, s):  # type: ignore[no-untyped-def]
    """See `chain_reference.forward`; False where something overflows."""
    columns = 1 + net.width[0]
    _input_forms(lower, upper, s)
    for i in range(net.width[0]):
        if not (s.layer[_MAGNITUDE, i] < LARGEST):
            return False
    for k in range(len(net.width) - 1):
        unstable = _affine_forms(net, k, state, wanted, columns, s)
        if unstable < 0:
            return False
        most = min(columns + unstable, s.forms.shape[2])
        _activation_forms(net, k, state, columns, most, s)
        columns = most
    return True


# --- backward -----------------------------------------------------------------------------------------------------------------


@_kernel
def _through_affine(net, k, pre, out):  # type: ignore[no-untyped-def]
    """out = weight.T @ pre of layer k."""
    out[:] = 0.0
    for h in range(net.first[k], net.first[k + 1]):
        a = pre[h]
        if a != 0.0:
            begin, end = net.begin[h], net.end[h]
            weight, part = net.weight[net.base[h] + begin : net.base[h] + end], out[begin:end]
            for j in range(len(weight)):
                part[j] += a * weight[j]


@_kernel
def _lower_line(net, lower, upper, state, gamma, s):  # type: ignore[no-untyped-def]
    """See `chain_reference.lower_line`: from the coefficients of the last layer to those of the inputs; returns the bound
    and what rounding took from it."""
    pre, post, size, line = s.neuron[_PRE], s.neuron[_POST], s.neuron[_SIZE], s.input[_LINE]
    constant, loss = 0.0, 0.0
    for k in range(len(net.width) - 2, -1, -1):
        for h in range(net.first[k], net.first[k + 1]):
            constant += pre[h] * net.bias[h]
            loss += abs(pre[h]) * size[h]
        if k == 0:
            _through_affine(net, 0, pre, line)
            break
        _through_affine(net, k, pre, post[net.first[k - 1] : net.first[k]])
        for h in range(net.first[k - 1], net.first[k]):
            a = post[h]
            if net.slope[h] == 1.0 or state[h] > 0:
                pre[h] = a
            elif state[h] < 0:
                pre[h] = a * net.slope[h]
            elif a >= 0.0:
                pre[h] = a * s.neuron[_ALPHA, h]
            else:
                slope, shift = _upper_line(s.neuron[_LOW, h], s.neuron[_HIGH, h], net.slope[h])
                pre[h] = a * slope
                constant += a * shift
    for i in range(len(lower)):
        constant += min(line[i] * lower[i], line[i] * upper[i])
        loss += abs(line[i]) * max(abs(lower[i]), abs(upper[i]))
    loss = gamma * loss + TINY
    return (constant - loss if loss < LARGEST else -np.inf), loss


@_kernel
def _affine_values(net, k, y, z):  # type: ignore[no-untyped-def]
    for h in range(net.first[k], net.first[k + 1]):
        begin, end = net.begin[h], net.end[h]
        weight, part = net.weight[net.base[h] + begin : net.base[h] + end], y[begin:end]
        total = 0.0
        for j in range(len(weight)):
            total += weight[j] * part[j]
        z[h] = total + net.bias[h]


@_kernel
def _follow(net, x, state, s):  # type: ignore[no-untyped-def]
    """The values at x where every activation is the line that `_lower_line` took."""
    y, z = s.layer[_Y], s.neuron[_Z]
    y[: len(x)] = x
    for k in range(len(net.width) - 1):
        _affine_values(net, k, y, z)
        for i in range(net.width[k + 1]):
            h = net.first[k] + i
            if net.slope[h] == 1.0 or state[h] > 0:
                y[i] = z[h]
            elif state[h] < 0:
                y[i] = net.slope[h] * z[h]
            elif s.neuron[_POST, h] >= 0.0:
                y[i] = s.neuron[_ALPHA, h] * z[h]
            else:
                slope, shift = _upper_line(s.neuron[_LOW, h], s.neuron[_HIGH, h], net.slope[h])
                y[i] = slope * z[h] + shift


@_kernel
def _evaluate(net, x, s):  # type: ignore[no-untyped-def]
    """All values at x; not rigorous."""
    y, z = s.layer[_Y], s.neuron[_Z]
    y[: len(x)] = x
    for k in range(len(net.width) - 1):
        _affine_values(net, k, y, z)
        for i in range(net.width[k + 1]):
            h = net.first[k] + i
            y[i] = max(z[h], net.slope[h] * z[h])


# --- one clause on one box ----------------------------------------------------------------------------------------------------


@_kernel
def _ascend(net, clauses, c, state, rate, s):  # type: ignore[no-untyped-def]
    """One step up in lower slopes and weights of atoms, from the values that `_follow` found at the minimiser."""
    rows, z, alpha = net.first[len(net.width) - 2], s.neuron[_Z], s.neuron[_ALPHA]
    for h in range(rows):
        if state[h] == 0 and net.slope[h] != 1.0 and s.neuron[_POST, h] > 0.0:
            alpha[h] = min(1.0, max(net.slope[h], alpha[h] + (rate if z[h] > 0.0 else -rate)))
    first, last = clauses.start[c], clauses.start[c + 1]
    if last - first == 1:
        return
    largest, total = TINY, 0.0
    for t in range(first, last):
        largest = max(largest, abs(z[rows + clauses.row[t]] - clauses.rhs[t]))
    for t in range(first, last):
        value = z[rows + clauses.row[t]] - clauses.rhs[t]
        s.weight[t - first] = max(s.weight[t - first], 0.02) * np.exp(2.0 * rate * value / largest)
        total += s.weight[t - first]
    for t in range(last - first):
        s.weight[t] /= total


@_kernel
def _clip(lower, upper, excess, s):  # type: ignore[no-untyped-def]
    """Cuts off where the line exceeds the right-hand side; `excess` is its bound minus that. See `chain_reference.clip`."""
    line, left, right = s.input[_LINE], s.input[_LEFT], s.input[_RIGHT]
    scale = abs(excess)
    for i in range(len(lower)):
        scale += abs(line[i]) * max(abs(lower[i]), abs(upper[i]))
    for i in range(len(lower)):
        a = line[i]
        if a == 0.0:
            continue
        rest = excess - min(a * lower[i], a * upper[i]) - 8.0 * EPS * scale
        cut = -rest / a
        if a > 0.0:
            right[i] = min(right[i], cut + 4.0 * EPS * abs(cut) + TINY)
        else:
            left[i] = max(left[i], cut - 4.0 * EPS * abs(cut) - TINY)


@_kernel
def _gaps(net, state, s):  # type: ignore[no-untyped-def]
    """What the relaxation costs, shared among the inputs by their parts in the ranges of unstable neurons."""
    score = s.input[_CLAUSE_SCORE]
    score[:] = 0.0
    for h in range(net.first[len(net.width) - 2]):
        a = s.neuron[_POST, h]
        if state[h] != 0 or net.slope[h] == 1.0 or a == 0.0:
            continue
        l, u = s.neuron[_LOW, h], s.neuron[_HIGH, h]
        if a < 0.0:
            gap = a * (1.0 - net.slope[h]) * u * l / (u - l)
        else:
            gap = a * max((net.slope[h] - s.neuron[_ALPHA, h]) * l, (1.0 - s.neuron[_ALPHA, h]) * u)
        for i in range(len(score)):
            score[i] += gap * s.share[h, i]


@_kernel
def _try_point(net, clauses, c, work, q, s):  # type: ignore[no-untyped-def]
    """Evaluates the network where the line is least, and keeps the point if no other of the box was nearer to a counterexample."""
    rows = net.first[len(net.width) - 2]
    _evaluate(net, s.input[_X], s)
    value = -np.inf
    for t in range(clauses.start[c], clauses.start[c + 1]):
        value = max(value, s.neuron[_Z, rows + clauses.row[t]] - clauses.rhs[t])
    if value < work.value[q]:
        work.value[q] = value
        work.point[q] = s.input[_X]


@_kernel
def _weigh(net, clauses, c, s):  # type: ignore[no-untyped-def]
    """Sets the coefficients of the weighted sum of the clause's atoms; returns its right-hand side, rounded up."""
    rows, first, last = net.first[len(net.width) - 2], clauses.start[c], clauses.start[c + 1]
    pre = s.neuron[_PRE, rows:]
    pre[:] = 0.0
    rhs, terms = 0.0, 0.0
    for t in range(first, last):
        weight = s.weight[t - first]
        pre[clauses.row[t]] += weight
        rhs += weight * clauses.rhs[t]
        terms += abs(weight * clauses.rhs[t])
    return rhs + (last - first + 8) * EPS * terms


@_kernel
def _start(net, clauses, c, s):  # type: ignore[no-untyped-def]
    """The slopes of least area, and all weight on the atom with the largest margin by forms alone.

    Returns that margin, and the largest of the atoms' upper bounds minus right-hand sides.
    """
    rows, first = net.first[len(net.width) - 2], clauses.start[c]
    best, most, highest = first, -np.inf, -np.inf
    for t in range(first, clauses.start[c + 1]):
        margin = s.neuron[_LOW, rows + clauses.row[t]] - clauses.rhs[t]
        highest = max(highest, s.neuron[_HIGH, rows + clauses.row[t]] - clauses.rhs[t])
        if margin > most:
            best, most = t, margin
    for h in range(rows):
        s.neuron[_ALPHA, h] = 1.0 if s.neuron[_HIGH, h] > -s.neuron[_LOW, h] else net.slope[h]
    s.weight[:] = 0.0
    s.weight[best - first] = 1.0
    return most, highest


_OPEN, _EXCLUDED, _STUCK = range(3)


@_kernel
def _examine_clause(net, clauses, c, work, q, effort, gamma, s):  # type: ignore[no-untyped-def]
    """What becomes of clause c on box q; where it stays open, left and right are the ends of what it leaves of the box."""
    lower, upper, state = work.lower[q], work.upper[q], work.state[q]
    line, x = s.input[_LINE], s.input[_X]
    margin, highest = _start(net, clauses, c, s)
    if margin > 0.0:
        work.margin[q] = min(work.margin[q], margin)
        return _EXCLUDED
    s.input[_LEFT], s.input[_RIGHT] = lower, upper
    most, outcome = -np.inf, _STUCK if highest <= 0.0 else _OPEN
    for step in range(effort.steps + 1):
        rhs = _weigh(net, clauses, c, s)
        bound, allowance = _lower_line(net, lower, upper, state, gamma, s)
        excess = bound - rhs
        if excess > 0.0:
            work.margin[q] = min(work.margin[q], excess)
            return _EXCLUDED
        if excess > -8.0 * allowance:
            outcome = _STUCK
        if excess > most:
            most = excess
            s.input[_BEST_LINE] = line
            _gaps(net, state, s)
        if effort.clip and excess > -np.inf:
            _clip(lower, upper, excess, s)
        for i in range(len(x)):
            x[i] = lower[i] if line[i] > 0.0 else upper[i]
        if step == 0 or step == effort.steps:
            _try_point(net, clauses, c, work, q, s)
        if step < effort.steps:
            _follow(net, x, state, s)
            _ascend(net, clauses, c, state, 0.7 * 0.8**step, s)
    if np.any(s.input[_LEFT] > s.input[_RIGHT]):
        work.margin[q] = 0.0
        return _EXCLUDED
    return outcome


# --- boxes --------------------------------------------------------------------------------------------------------------------


@_kernel
def _want(clauses, root, mask, wanted):  # type: ignore[no-untyped-def]
    """Marks the rows that the open clauses need."""
    wanted[:] = False
    c = root
    while mask:
        if mask & 1:
            for t in range(clauses.start[c], clauses.start[c + 1]):
                wanted[clauses.row[t]] = True
        mask >>= 1
        c += 1


@_kernel
def _keep(lower, upper, s):  # type: ignore[no-untyped-def]
    """Takes what an open clause leaves of the box into the hull, and its estimates into the scores.

    The estimate of an input is how far halving it would raise the bounds of the two halves, as a product: both lose the input's part
    of the relaxation's cost, and the half that does not hold the minimiser gains along the line too.
    """
    line = s.input[_BEST_LINE]
    least = TINY
    for i in range(len(lower)):
        least = max(least, 1e-9 * abs(line[i]) * (upper[i] - lower[i]))
    for i in range(len(lower)):
        gap = s.input[_CLAUSE_SCORE, i] + least
        s.input[_SCORE, i] += gap * (gap + abs(line[i]) * (upper[i] - lower[i]))
        s.input[_HULL_LEFT, i] = min(s.input[_HULL_LEFT, i], s.input[_LEFT, i])
        s.input[_HULL_RIGHT, i] = max(s.input[_HULL_RIGHT, i], s.input[_RIGHT, i])


@_kernel
def _axis(lower, upper, score):  # type: ignore[no-untyped-def]
    """The input with the largest score among those that can be halved; -1 where none can."""
    axis, best = -1, -1.0
    for i in range(len(lower)):
        middle = 0.5 * lower[i] + 0.5 * upper[i]
        if lower[i] < middle < upper[i] and score[i] > best:
            axis, best = i, score[i]
    return axis


@_kernel
def _examine_box(net, clauses, effort, work, q, gamma, s):  # type: ignore[no-untyped-def]
    """All open clauses of box q, whose forms are known; then the cut and the axis."""
    lower, upper, mask = work.lower[q], work.upper[q], work.open[q]
    s.input[_SCORE] = 0.0
    s.input[_HULL_LEFT], s.input[_HULL_RIGHT] = np.inf, -np.inf
    bit = 0
    while mask >> bit:
        if (mask >> bit) & 1:
            outcome = _examine_clause(net, clauses, work.root[q] + bit, work, q, effort, gamma, s)
            if outcome == _OPEN:
                _keep(lower, upper, s)
            else:
                work.open[q] ^= 1 << bit
            if outcome == _STUCK:
                work.stuck[q] |= 1 << bit
        bit += 1
    if work.open[q] != 0:
        for i in range(len(lower)):
            lower[i], upper[i] = max(lower[i], s.input[_HULL_LEFT, i]), min(upper[i], s.input[_HULL_RIGHT, i])
        work.axis[q] = _axis(lower, upper, s.input[_SCORE])
    if work.axis[q] < 0:
        work.stuck[q] |= work.open[q]
        work.open[q] = 0


@_kernel
def examine(net, clauses, effort, work):  # type: ignore[no-untyped-def]
    """See `chain_reference.examine`."""
    gamma = (2 * len(net.bias) + 2 * net.width[0] + 64) * EPS
    s = _scratch(net, len(clauses.rhs), effort.symbols)
    wanted = np.empty(net.width[-1], np.bool_)
    for q in range(len(work.root)):
        _want(clauses, work.root[q], work.open[q], wanted)
        if _forward(net, work.lower[q], work.upper[q], work.state[q], wanted, s):
            _examine_box(net, clauses, effort, work, q, gamma, s)
        else:
            work.value[q] = np.nan


# --- attack -------------------------------------------------------------------------------------------------------------------


@_kernel
def _gradient(net, s):  # type: ignore[no-untyped-def]
    """From the coefficients of the last layer, at the values of the last evaluation, to those of the inputs."""
    pre, post = s.neuron[_PRE], s.neuron[_POST]
    for k in range(len(net.width) - 2, 0, -1):
        _through_affine(net, k, pre, post[net.first[k - 1] : net.first[k]])
        for h in range(net.first[k - 1], net.first[k]):
            pre[h] = post[h] * (1.0 if s.neuron[_Z, h] > 0.0 else net.slope[h])
    _through_affine(net, 0, pre, s.input[_LINE])


@_kernel
def _violation(net, clauses, c, s):  # type: ignore[no-untyped-def]
    """The largest of the clause's atoms at the last evaluation; sets the coefficients of the sum of all that are violated."""
    rows = net.first[len(net.width) - 2]
    pre, z = s.neuron[_PRE, rows:], s.neuron[_Z, rows:]
    pre[:] = 0.0
    worst, value = 0, -np.inf
    for t in range(clauses.start[c], clauses.start[c + 1]):
        v = z[clauses.row[t]] - clauses.rhs[t]
        if v > 0.0:
            pre[clauses.row[t]] += 0.5
        if v > value:
            worst, value = clauses.row[t], v
    pre[worst] += 0.5
    return value


@_kernel
def descend(net, clauses, clause, lower, upper, points, values, steps):  # type: ignore[no-untyped-def]
    """See `chain_reference.descend`."""
    s = _scratch(net, 1, 0)
    line, x = s.input[_LINE], s.input[_X]
    for q in range(len(points)):
        x[:] = points[q]
        values[q] = np.inf
        for step in range(steps):
            _evaluate(net, x, s)
            value = _violation(net, clauses, clause[q], s)
            if value < values[q]:
                values[q] = value
                points[q] = x
            _gradient(net, s)
            largest = 0.0
            for i in range(len(x)):
                largest = max(largest, abs(line[i]) * (upper[q, i] - lower[q, i]))
            if largest == 0.0:
                break
            for i in range(len(x)):
                extent = upper[q, i] - lower[q, i]
                move = 0.25 * 0.93**step * extent * np.sqrt(abs(line[i]) * extent / largest)
                x[i] = min(upper[q, i], max(lower[q, i], x[i] - (move if line[i] > 0.0 else -move)))
