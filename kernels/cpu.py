"""numba twins of the definitions in `reference.py`: one pass over the coefficients of some rows; `dispatch.py` shares rows among threads.

Reassociation is allowed (it makes the sums vectorise) because nothing depends on their order: the rounding allowance in
`certify.bounds.rounding` is the a-priori bound gamma_n, which holds for every order of summation. NaN and infinity are honoured.
Compilations are cached on disk next to this file, or where NUMBA_CACHE_DIR says.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_kernel = njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})


@_kernel
def relax(rows, lower_owner, upper_owner, out, shift, lower_slope, lower_shift, upper_slope, upper_shift):  # type: ignore[no-untyped-def]
    """See `reference.relax`; writes into `out` and `shift`."""
    for r in range(rows.shape[0]):
        p, q = lower_owner[r], upper_owner[r]
        total = rows.dtype.type(0)
        for i in range(rows.shape[1]):
            a = rows[r, i]
            positive, negative = max(a, rows.dtype.type(0)), min(a, rows.dtype.type(0))
            out[r, i] = positive * lower_slope[p, i] + negative * upper_slope[q, i]
            total += positive * lower_shift[p, i] + negative * upper_shift[q, i]
        shift[r] = total


@_kernel
def follow(x, rows, lower_owner, upper_owner, out, lower_slope, lower_shift, upper_slope, upper_shift):  # type: ignore[no-untyped-def]
    """See `reference.follow`."""
    for r in range(rows.shape[0]):
        p, q = lower_owner[r], upper_owner[r]
        for i in range(rows.shape[1]):
            lower = lower_slope[p, i] * x[r, i] + lower_shift[p, i]
            upper = upper_slope[q, i] * x[r, i] + upper_shift[q, i]
            out[r, i] = lower if rows[r, i] > 0 else upper


@_kernel
def relax_gradients(  # type: ignore[no-untyped-def]
    first,
    last,
    rows,
    lower_owner,
    upper_owner,
    lower_slope,
    lower_shift,
    upper_slope,
    upper_shift,
    grad_out,
    grad_shift,
    grad_rows,
    grad_lower_slope,
    grad_lower_shift,
    grad_upper_slope,
    grad_upper_shift,
):
    """See `reference.relax_gradients`; one block of columns, so that threads never add into the same line.

    Three loops over a row, which stays in the cache: of one with so many arrays the compiler cannot show that it may be vectorised.
    """
    zero = rows.dtype.type(0)
    for r in range(rows.shape[0]):
        p, q, s = lower_owner[r], upper_owner[r], grad_shift[r]
        a, g, out = rows[r, first:last], grad_out[r, first:last], grad_rows[r, first:last]
        ls, lb, us, ub = (
            lower_slope[p, first:last],
            lower_shift[p, first:last],
            upper_slope[q, first:last],
            upper_shift[q, first:last],
        )
        for i in range(last - first):
            lower, upper = g[i] * ls[i] + s * lb[i], g[i] * us[i] + s * ub[i]
            out[i] = lower if a[i] > 0 else (upper if a[i] < 0 else zero)
        slope, shift = grad_lower_slope[p, first:last], grad_lower_shift[p, first:last]
        for i in range(last - first):
            positive = max(a[i], zero)
            slope[i] += g[i] * positive
            shift[i] += s * positive
        slope, shift = grad_upper_slope[q, first:last], grad_upper_shift[q, first:last]
        for i in range(last - first):
            negative = min(a[i], zero)
            slope[i] += g[i] * negative
            shift[i] += s * negative


@njit(cache=True, nogil=True, error_model="numpy")  # no reassociation: lower + upper may overflow, their halves do not
def halves(lower, upper, center, radius):  # type: ignore[no-untyped-def]
    """See `reference.halves`; one axis."""
    half = lower.dtype.type(0.5)
    for i in range(lower.shape[0]):
        a, b = half * lower[i], half * upper[i]
        center[i] = b + a
        radius[i] = b - a


@_kernel
def minimise(rows, owner, out, lower, upper):  # type: ignore[no-untyped-def]
    """See `reference.minimise`."""
    for r in range(rows.shape[0]):
        b = owner[r]
        total = rows.dtype.type(0)
        for i in range(rows.shape[1]):
            a = rows[r, i]
            total += max(a, rows.dtype.type(0)) * lower[b, i] + min(a, rows.dtype.type(0)) * upper[b, i]
        out[r] = total


@_kernel
def minimiser(rows, owner, out, lower, upper):  # type: ignore[no-untyped-def]
    """See `reference.minimiser`."""
    for r in range(rows.shape[0]):
        b = owner[r]
        for i in range(rows.shape[1]):
            out[r, i] = lower[b, i] if rows[r, i] > 0 else upper[b, i]


@_kernel
def magnitude(rows, owner, out, weight):  # type: ignore[no-untyped-def]
    """See `reference.magnitude`."""
    for r in range(rows.shape[0]):
        b = owner[r]
        total = rows.dtype.type(0)
        for i in range(rows.shape[1]):
            total += abs(rows[r, i]) * weight[b, i]
        out[r] = total


@_kernel
def norm(rows, out):  # type: ignore[no-untyped-def]
    """See `reference.norm`; adds squares in float64, and once more in units of the largest entry where they left its range."""
    for r in range(rows.shape[0]):
        total = 0.0
        for i in range(rows.shape[1]):
            a = float(rows[r, i])
            total += a * a
        if 1e-280 < total < 1e300:
            out[r] = np.sqrt(total)
            continue
        largest = 0.0
        for i in range(rows.shape[1]):
            a = abs(float(rows[r, i]))
            largest = a if a > largest or np.isnan(a) else largest
        if largest == 0 or not np.isfinite(largest):
            out[r] = largest
            continue
        total = 0.0
        for i in range(rows.shape[1]):
            a = float(rows[r, i]) / largest
            total += a * a
        out[r] = largest * np.sqrt(total)


@_kernel
def window_relax(  # type: ignore[no-untyped-def]
    windows, origin, owner, out, shift, depth, height, width, lower_slope, lower_shift, upper_slope, upper_shift
):
    """See `reference.window_relax`, channels last: windows (rows, d, h, w, channels), lines (owners, D * H * W * channels).

    What a line of cells shares with the space is one run of numbers, in the window and in the lines.
    """
    rows, d, h, w, channels = windows.shape
    zero = windows.dtype.type(0)
    for r in range(rows):
        b = owner[r]
        z0, y0, x0 = origin[r, 0], origin[r, 1], origin[r, 2]
        first = min(w, max(0, -x0))  # the window may lie outside altogether, where a padding is wider than its kernel
        last = max(first, min(w, width - x0))
        ls, lb, us, ub = lower_slope[b], lower_shift[b], upper_slope[b], upper_shift[b]
        total = zero
        for k in range(d):
            z = z0 + k
            for j in range(h):
                y = y0 + j
                a, new = windows[r, k, j].reshape(w * channels), out[r, k, j].reshape(w * channels)
                if z < 0 or z >= depth or y < 0 or y >= height or first == last:
                    new[:] = zero
                    continue
                new[: first * channels] = zero
                new[last * channels :] = zero
                count, start = (last - first) * channels, ((z * height + y) * width + x0 + first) * channels
                a, new = a[first * channels : last * channels], new[first * channels : last * channels]
                p, q, s, t = (
                    ls[start : start + count],
                    lb[start : start + count],
                    us[start : start + count],
                    ub[start : start + count],
                )
                for i in range(count):
                    positive, negative = max(a[i], zero), min(a[i], zero)
                    new[i] = positive * p[i] + negative * s[i]
                    total += positive * q[i] + negative * t[i]
        shift[r] = total


@_kernel
def window_minimise(windows, origin, owner, out, depth, height, width, lower, upper):  # type: ignore[no-untyped-def]
    """`reference.minimise` of the rows that the windows stand for; layouts as in `window_relax`."""
    rows, d, h, w, channels = windows.shape
    zero = windows.dtype.type(0)
    for r in range(rows):
        low, high = lower[owner[r]], upper[owner[r]]
        z0, y0, x0 = origin[r, 0], origin[r, 1], origin[r, 2]
        first = min(w, max(0, -x0))
        count = (max(first, min(w, width - x0)) - first) * channels
        total = zero
        for k in range(max(0, -z0), min(d, depth - z0)):
            for j in range(max(0, -y0), min(h, height - y0)):
                a = windows[r, k, j].reshape(w * channels)[first * channels : first * channels + count]
                start = (((z0 + k) * height + y0 + j) * width + x0 + first) * channels
                p, q = low[start : start + count], high[start : start + count]
                for i in range(count):
                    total += max(a[i], zero) * p[i] + min(a[i], zero) * q[i]
        out[r] = total


@_kernel
def window_dense(windows, origin, out, depth, height, width):  # type: ignore[no-untyped-def]
    """See `reference.window_dense`; windows are (rows, d, h, w, channels), `out` is (rows, channels, D, H, W) and zero."""
    rows, d, h, w, channels = windows.shape
    for r in range(rows):
        z0, y0, x0 = origin[r, 0], origin[r, 1], origin[r, 2]
        for c in range(channels):
            for k in range(max(0, -z0), min(d, depth - z0)):
                for j in range(max(0, -y0), min(h, height - y0)):
                    for i in range(max(0, -x0), min(w, width - x0)):
                        out[r, c, z0 + k, y0 + j, x0 + i] += windows[r, k, j, i, c]
