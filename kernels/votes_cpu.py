"""Numba twins of `votes_reference`, over many inputs in parallel: one input per iteration, ballots contiguous per input.

The sums over units are additions of contiguous runs, which the compiler vectorises; the least number of units comes from a
histogram of the sums, which are small, so nothing is sorted. Classes whose gap is too wide to matter are skipped by a bound that
costs one division.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from certify.kernels.votes_reference import ABSTAIN, UNPROVED


@njit(cache=True)
def _attack_size(weights, runs, sums, histogram, gap):  # type: ignore[no-untyped-def]
    """`attack_size(unit_sums(weights, runs, len(sums)), gap)`; `sums` and `histogram` are scratch."""
    if gap <= 0:
        return 0
    sums[:] = 0
    for run in range(runs.shape[0]):
        unit, classifier, length = runs[run, 0], runs[run, 1], runs[run, 2]
        target, source = sums[unit : unit + length], weights[classifier : classifier + length]
        for t in range(length):
            target[t] += source[t]
    histogram[:] = 0
    for u in range(len(sums)):
        histogram[sums[u]] += 1
    taken = 0
    for value in range(len(histogram) - 1, 0, -1):
        needed = (gap + value - 1) // value
        if needed <= histogram[value]:
            return taken + needed
        taken += histogram[value]
        gap -= value * histogram[value]
    return len(sums) + 1


@njit(cache=True)
def _lead(counts, first, second):  # type: ignore[no-untyped-def]
    return counts[first] - counts[second] + (1 if second > first else 0)


@njit(cache=True)
def _overtaking(winner, rival, table):  # type: ignore[no-untyped-def]
    table[:] = 1
    table[winner], table[rival], table[UNPROVED] = 2, 0, 0


@njit(cache=True)
def _look_up(table, ballots, weights):  # type: ignore[no-untyped-def]
    for b in range(len(ballots)):
        weights[b] = table[ballots[b]]


@njit(cache=True)
def _tally(ballots, counts):  # type: ignore[no-untyped-def]
    counts[:] = 0
    for b in range(len(ballots)):
        counts[ballots[b]] += 1


@njit(cache=True)
def _by_votes(counts, classes):  # type: ignore[no-untyped-def]
    """Classes by votes, most first, ties to the smaller class."""
    return np.argsort(-counts[:classes] * classes + np.arange(classes))


@njit(cache=True, parallel=True)
def plurality(ballots, runs, units, degree, classes):  # type: ignore[no-untyped-def]
    """`votes_reference.plurality` for each row of `ballots` (inputs, classifiers); at most `degree` classifiers see a unit."""
    inputs = ballots.shape[0]
    winners, radii = np.empty(inputs, np.int64), np.empty(inputs, np.int64)
    for i in prange(inputs):
        counts, table = np.empty(256, np.int64), np.empty(256, np.int16)
        weights, sums = np.empty(ballots.shape[1], np.int16), np.empty(units, np.int16)
        histogram = np.empty(2 * degree + 1, np.int64)
        _tally(ballots[i], counts)
        order = _by_votes(counts, classes)
        best, winner = units + 1, order[0]
        for rival in order[1:]:
            gap = _lead(counts, winner, rival) - counts[UNPROVED]
            if gap > 2 * degree * (best - 1):
                continue
            _overtaking(winner, rival, table)
            _look_up(table, ballots[i], weights)
            best = min(best, _attack_size(weights, runs, sums, histogram, gap))
        winners[i], radii[i] = winner, best - 1
    return winners, radii


@njit(cache=True, parallel=True)
def targeted(ballots, runs, units, degree, classes, targets):  # type: ignore[no-untyped-def]
    """`votes_reference.targeted` for each row of `ballots` (inputs, classifiers) and its entry of `targets` (inputs,)."""
    inputs = ballots.shape[0]
    radii = np.empty(inputs, np.int64)
    for i in prange(inputs):
        counts, table = np.empty(256, np.int64), np.empty(256, np.int16)
        weights, sums = np.empty(ballots.shape[1], np.int16), np.empty(units, np.int16)
        histogram = np.empty((classes + 1) * degree + 1, np.int64)
        _tally(ballots[i], counts)
        target, gap, attack = targets[i], 0, 0
        leads = np.empty(classes, np.int64)
        for c in range(classes):
            leads[c] = _lead(counts, c, target)
        leads[target] = -(2**40)
        ahead = np.argsort(-leads * classes + np.arange(classes))[: classes - 1]
        for size in range(1, classes):
            gap += leads[ahead[size - 1]]
            needed = gap - size * counts[UNPROVED]
            table[:] = size
            table[ahead[:size]] = size + 1
            table[target], table[UNPROVED] = 0, 0
            _look_up(table, ballots[i], weights)
            attack = max(attack, _attack_size(weights, runs, sums, histogram, needed))
        radii[i] = attack - 1
    return radii


@njit(cache=True)
def _preferences(places, winner, rival, weights):  # type: ignore[no-untyped-def]
    """Weights of the preference of `winner` over `rival`, and their balance."""
    balance = 0
    for b in range(places.shape[0]):
        prefer = 0
        if places[b, winner] < places[b, rival]:
            prefer = 1
        elif places[b, winner] > places[b, rival]:
            prefer = -1
        weights[b] = 1 + prefer
        balance += prefer
    return balance


@njit(cache=True, parallel=True)
def runoff(places, runs, units, degree):  # type: ignore[no-untyped-def]
    """`votes_reference.runoff` for each entry of `places` (inputs, classifiers, classes)."""
    inputs, classifiers, classes = places.shape
    winners, radii = np.empty(inputs, np.int64), np.empty(inputs, np.int64)
    for i in prange(inputs):
        counts, table = np.empty(256, np.int64), np.empty(256, np.int16)
        weights, sums = np.empty(classifiers, np.int16), np.empty(units, np.int16)
        histogram = np.empty(3 * degree + 1, np.int64)
        ballots = np.empty(classifiers, np.uint8)
        for b in range(classifiers):
            ballots[b] = ABSTAIN
            for c in range(classes):
                if places[i, b, c] == 0:
                    ballots[b] = c
        _tally(ballots, counts)
        order = _by_votes(counts, classes)
        winner = order[0]
        if _preferences(places[i], winner, order[1], weights) + (1 if winner < order[1] else 0) <= 0:
            winner = order[1]

        best, singles = units + 1, np.empty(classes, np.int64)
        for c in range(classes):
            if c == winner:
                continue
            balance = _preferences(places[i], winner, c, weights)
            beat = _attack_size(weights, runs, sums, histogram, balance + (1 if c > winner else 0))
            enter = 0
            for other in range(classes):
                if other in (winner, c) or max(beat, enter) >= best:
                    continue
                _overtaking(other, c, table)
                _look_up(table, ballots, weights)
                enter = max(enter, _attack_size(weights, runs, sums, histogram, _lead(counts, other, c)))
            best = min(best, max(beat, enter))
            _overtaking(winner, c, table)
            _look_up(table, ballots, weights)
            singles[c] = _attack_size(weights, runs, sums, histogram, _lead(counts, winner, c))
        for a in range(classes):
            for b in range(a):
                if a == winner or b == winner or singles[a] >= best or singles[b] >= best:
                    continue
                table[:] = 1
                table[winner], table[a], table[b] = 3, 0, 0
                _look_up(table, ballots, weights)
                gap = _lead(counts, winner, a) + _lead(counts, winner, b)
                both = _attack_size(weights, runs, sums, histogram, gap)
                best = min(best, max(both, singles[a], singles[b]))
        winners[i], radii[i] = winner, best - 1
    return winners, radii


@njit(cache=True)
def attack_size(weights, runs, units, most, gap):  # type: ignore[no-untyped-def]
    """`votes_reference.attack_size` of the sums of `weights`, which are at most `most`."""
    return _attack_size(weights, runs, np.empty(units, np.int64), np.empty(most + 1, np.int64), gap)


@njit(cache=True)
def _gains(sums, limits, unit):  # type: ignore[no-untyped-def]
    total = 0
    for l in range(len(limits)):
        total += min(sums[l, unit], limits[l])
    return total


@njit(cache=True)
def _release(weights, sums, unit, units_of, classifiers_of):  # type: ignore[no-untyped-def]
    """Takes the classifiers that see `unit` out of the sums of all units."""
    classifiers_start, classifiers = classifiers_of
    units_start, units = units_of
    for b in classifiers[classifiers_start[unit] : classifiers_start[unit + 1]]:
        for l in range(len(weights)):
            for other in units[units_start[b] : units_start[b + 1]]:
                sums[l, other] -= weights[l, b]
            weights[l, b] = 0


@njit(cache=True)
def cover(weights, gaps, units_of, classifiers_of):  # type: ignore[no-untyped-def]
    """`votes_reference.cover`, as (units taken, whether they use up every gap); weights is overwritten.

    `units_of` and `classifiers_of` are (where each one's entries begin, entries): units by classifier and classifiers by unit.
    What a unit adds never grows, so the best one is looked for from the last one on, at the same value, before any smaller one.
    """
    units, left = len(classifiers_of[0]) - 1, np.maximum(gaps, 0)
    sums = np.zeros((len(gaps), units), np.int64)
    for l in range(len(gaps)):
        for b in range(weights.shape[1]):
            for unit in units_of[1][units_of[0][b] : units_of[0][b + 1]]:
                sums[l, unit] += weights[l, b]
    added, taken, size, at = np.zeros(units, np.int64), np.empty(units, np.int64), 0, 0
    limits, top = np.full(len(gaps), -1), np.sum(left)
    most = np.array([sums[l].max() if units else 0 for l in range(len(gaps))])
    while left.any():
        fresh = np.minimum(left, most)
        if (fresh != limits).any():
            limits = fresh
            for unit in range(units):
                added[unit] = _gains(sums, limits, unit)
            if limits.sum() < top:
                at, top = 0, limits.sum()
        while top > 0 and (at == units or added[at] != top):
            at, top = (at + 1, top) if at < units else (0, top - 1)
        if top == 0:
            return taken[:size], False
        taken[size] = at
        size += 1
        left = np.maximum(left - sums[:, at], 0)
        touched = classifiers_of[1][classifiers_of[0][at] : classifiers_of[0][at + 1]]
        _release(weights, sums, at, units_of, classifiers_of)
        for b in touched:
            for unit in units_of[1][units_of[0][b] : units_of[0][b + 1]]:
                added[unit] = _gains(sums, limits, unit)
    return taken[:size], True


@njit(cache=True)
def _upper_end(values, order, units_of, units, degree, radius, needed):  # type: ignore[no-untyped-def]
    """`votes_reference._upper_end` of `values[order]`, which must be sorted.

    The sums of the units grow by one value at a time, and the largest of them are read from their histogram.
    """
    starts, seen = units_of
    sums, histogram = np.zeros(units, np.int64), np.zeros(degree + 1, np.int64)
    histogram[0] = units
    for place in range(len(order)):
        for at in range(starts[order[place]], starts[order[place] + 1]):
            u = seen[at]
            histogram[sums[u]] -= 1
            sums[u] += 1
            histogram[sums[u]] += 1
        last = place + 1 == len(order) or values[order[place + 1]] > values[order[place]]
        if place + 1 >= needed and last:
            reach, more = 0, radius
            for value in range(degree, 0, -1):
                taken = min(more, histogram[value])
                reach, more = reach + taken * value, more - taken
            if place + 1 - reach >= needed:
                return values[order[place]]
    return np.inf


@njit(cache=True, parallel=True)
def median_intervals(values, units_of, units, degree, radius):  # type: ignore[no-untyped-def]
    """`votes_reference.median_interval` for each row of `values` (inputs, classifiers), no NaN; `degree` as in `plurality`."""
    inputs, classifiers = values.shape
    low, high = np.empty(inputs), np.empty(inputs)
    middle = (classifiers - 1) // 2
    for i in prange(inputs):
        high[i] = _upper_end(values[i], np.argsort(values[i]), units_of, units, degree, radius, middle + 1)
        turned = -values[i]
        low[i] = -_upper_end(turned, np.argsort(turned), units_of, units, degree, radius, classifiers - middle)
    return low, high


@njit(cache=True, parallel=True)
def median_radii(values, runs, units, degree, low, high):  # type: ignore[no-untyped-def]
    """`votes_reference.median_radius` for each row of `values` (inputs, classifiers) and its interval, (inputs,) and (inputs,)."""
    inputs, classifiers = values.shape
    radii = np.empty(inputs, np.int64)
    middle = (classifiers - 1) // 2
    for i in prange(inputs):
        sums, histogram = np.empty(units, np.int16), np.empty(degree + 1, np.int64)
        below, above = (values[i] <= high[i]).astype(np.int16), (values[i] >= low[i]).astype(np.int16)
        upward = _attack_size(below, runs, sums, histogram, below.sum() - middle)
        downward = _attack_size(above, runs, sums, histogram, above.sum() - (classifiers - middle) + 1)
        radii[i] = min(upward, downward) - 1
    return radii
