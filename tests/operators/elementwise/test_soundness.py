"""The lines and intervals of every row against its function in exact or 80-digit arithmetic, with zero tolerance."""

from __future__ import annotations

import hypothesis.strategies as st
import torch
from hypothesis import given
from mpmath import mpf
from torch import Tensor


def hardest_points(case, l: Tensor, u: Tensor, slope: Tensor, intercept: Tensor, sign: int) -> Tensor:
    """Per box: the ends, zero, and those of many points where the line is nearest to f; with neighbours."""
    wide = torch.float64
    spread = torch.cat([torch.linspace(0, 1, 49, dtype=wide), torch.tensor([1e-9, 1e-3, 0.999, 1 - 1e-9], dtype=wide)])
    x = torch.cat(
        [l[:, None].to(wide) + (u - l)[:, None].to(wide) * spread, torch.linspace(-8, 8, 129, dtype=wide).expand(len(l), -1)], 1
    )
    x = x.to(l.dtype).clamp(l[:, None], u[:, None])
    y = case.row.value(x.to(wide), case.node, case.params(wide))
    gap = sign * (y - slope.to(wide)[:, None] * x.to(wide) - intercept.to(wide)[:, None])
    near = x.gather(1, gap.nan_to_num(nan=-1e300).topk(3, largest=False).indices)
    zero = torch.zeros_like(l)[:, None]
    around = [torch.nextafter(zero, zero - 1), zero, torch.nextafter(zero, zero + 1)]
    down, up = (torch.nextafter(near, end[:, None].expand_as(near)) for end in (l, u))
    return torch.cat([l[:, None], u[:, None], near, down, up, *(p.clamp(l[:, None], u[:, None]) for p in around)], 1)


def violations(case, l: Tensor, u: Tensor) -> list[str]:
    """Every point found where a line or an end of the interval is on the wrong side of f, or a NaN."""
    params = case.params(l.dtype)
    lines = case.row.lines(l, u, case.node, params)
    lower, upper = case.row.interval(l, u, case.node, params)
    found = ["NaN"] if any(bool(part.isnan().any()) for part in (*lines, lower, upper)) else []
    exact: dict[float, mpf] = {}
    for sign, slope, intercept in ((1, lines[0], lines[1]), (-1, lines[2], lines[3])):
        points = hardest_points(case, l, u, slope, intercept, sign)
        for box in range(len(l)):
            s, b = mpf(slope[box].item()), mpf(intercept[box].item())
            for x in set(points[box].tolist()):
                f = exact[x] if x in exact else exact.setdefault(x, case.exact(x))
                where = f"{case} on [{l[box].item()!r}, {u[box].item()!r}] at {x!r}"
                if sign * (f - s * mpf(x) - b) < 0:
                    found.append(f"line {'below' if sign > 0 else 'above'}: {where}")
                if not mpf(lower[box].item()) <= f <= mpf(upper[box].item()):
                    found.append(f"interval: {where}")
    return found


def test_lines_and_intervals_hold_exactly(case, dtype, boxes) -> None:
    assert not violations(case, *boxes(case, dtype, count=60))


@given(data=st.data(), width=st.sampled_from([32, 64]))
def test_lines_and_intervals_hold_exactly_on_any_box(cases, data: st.DataObject, width: int) -> None:
    case = data.draw(st.sampled_from(cases))
    dtype = {32: torch.float32, 64: torch.float64}[width]
    limit = 2.0**90  # every row of the table is finite there in float64
    ends = data.draw(st.lists(st.tuples(*[st.floats(-limit, limit, width=width)] * 2), min_size=1, max_size=8))
    l, u = (torch.tensor([end(pair) for pair in ends], dtype=dtype) for end in (min, max))
    keep = case.defined(l, u)
    assert not violations(case, l[keep], u[keep])


def test_the_default_line_is_at_most_as_far_as_the_interval_in_the_middle(case, dtype, boxes) -> None:
    l, u = boxes(case, dtype, count=60)
    l, u = l[u - l < 1e3], u[u - l < 1e3]
    params = case.params(dtype)
    lines = case.row.lines(l, u, case.node, params)
    lower, upper = case.row.interval(l, u, case.node, params)
    middle = 0.5 * l + 0.5 * u
    slack = (
        1e2
        * torch.finfo(dtype).eps
        * (1 + lower.abs().maximum(upper.abs()) + lines[0].abs().maximum(lines[2].abs()) * middle.abs())
    )
    slack = slack.nan_to_num(posinf=torch.inf)
    assert bool((lines[0] * middle + lines[1] >= lower - slack).all())
    assert bool((lines[2] * middle + lines[3] <= upper + slack).all())
