"""The kernels on torch tensors, chosen by the tensors' device: numba on the CPU, torch operations elsewhere (CUDA twins: `cuda/`).

No gradients here; `autograd.py` adds them. Row-shaped work is cut into one block of rows per thread (numba releases the interpreter
lock), because a thread pool of numba's own would fight torch's for the cores.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from certify.kernels import cpu

_ELEMENTS_PER_THREAD = 1 << 17  # below this a second thread costs more than it gains


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that outlive a call: they keep subnormal numbers, whatever the thread that starts them does with its own."""
    return ThreadPoolExecutor(threads, "certify-kernel", torch.set_flush_denormal, (False,))


def _by_rows(kernel: Callable[..., None], count: int, elements: int, rowwise: tuple[Any, ...], shared: tuple[Any, ...]) -> None:
    """Calls `kernel(*rowwise[block], *shared)` on blocks of rows."""
    threads = min(torch.get_num_threads(), max(1, elements // _ELEMENTS_PER_THREAD), max(1, count))
    if threads == 1:
        kernel(*rowwise, *shared)
        return
    blocks = [slice(count * i // threads, count * (i + 1) // threads) for i in range(threads)]
    futures = [_pool(threads).submit(kernel, *(array[block] for array in rowwise), *shared) for block in blocks[1:]]
    kernel(*(array[blocks[0]] for array in rowwise), *shared)
    for future in futures:
        future.result()


def _numpy(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def relax(
    rows: Tensor,
    lower_slope: Tensor,
    lower_shift: Tensor,
    lower_owner: Tensor,
    upper_slope: Tensor,
    upper_shift: Tensor,
    upper_owner: Tensor,
) -> tuple[Tensor, Tensor]:
    """`reference.relax`: rows (R, n), lines (owners, n), owners int64 (R,); returns the new rows and their shifts (R,)."""
    if rows.device.type != "cpu":
        positive, negative = rows.clamp(min=0), rows.clamp(max=0)
        new = positive * lower_slope[lower_owner] + negative * upper_slope[upper_owner]
        return new, (positive * lower_shift[lower_owner] + negative * upper_shift[upper_owner]).sum(dim=1)
    out, shift = torch.empty_like(rows, memory_format=torch.contiguous_format), rows.new_empty(len(rows))
    a, lo, up = _numpy(rows, lower_owner, upper_owner)
    lines = _numpy(lower_slope, lower_shift, upper_slope, upper_shift)
    _by_rows(cpu.relax, len(rows), rows.numel(), (a, lo, up, out.numpy(), shift.numpy()), tuple(lines))
    return out, shift


def follow(
    x: Tensor,
    rows: Tensor,
    lower_slope: Tensor,
    lower_shift: Tensor,
    lower_owner: Tensor,
    upper_slope: Tensor,
    upper_shift: Tensor,
    upper_owner: Tensor,
) -> Tensor:
    """`reference.follow`: points and rows (R, n), lines (owners, n); returns (R, n)."""
    if rows.device.type != "cpu":
        lower = lower_slope[lower_owner] * x + lower_shift[lower_owner]
        return torch.where(rows > 0, lower, upper_slope[upper_owner] * x + upper_shift[upper_owner])
    out = torch.empty_like(rows, memory_format=torch.contiguous_format)
    lines = tuple(_numpy(lower_slope, lower_shift, upper_slope, upper_shift))
    _by_rows(cpu.follow, len(rows), rows.numel(), (*_numpy(x, rows, lower_owner, upper_owner), out.numpy()), lines)
    return out


def relax_gradients(
    rows: Tensor,
    lower_slope: Tensor,
    lower_shift: Tensor,
    lower_owner: Tensor,
    upper_slope: Tensor,
    upper_shift: Tensor,
    upper_owner: Tensor,
    grad_out: Tensor,
    grad_shift: Tensor,
) -> tuple[Tensor, ...]:
    """`reference.relax_gradients`: gradients in the rows, and in lower slope, lower shift, upper slope, upper shift."""
    lines = (lower_slope, lower_shift, upper_slope, upper_shift)
    if rows.device.type != "cpu":
        positive, negative, s = rows.clamp(min=0), rows.clamp(max=0), grad_shift[:, None]
        grad_rows = (rows > 0) * (grad_out * lower_slope[lower_owner] + s * lower_shift[lower_owner])
        grad_rows = grad_rows + (rows < 0) * (grad_out * upper_slope[upper_owner] + s * upper_shift[upper_owner])
        owners = (lower_owner, lower_owner, upper_owner, upper_owner)
        sums = (grad_out * positive, s * positive, grad_out * negative, s * negative)
        return grad_rows, *(torch.zeros_like(line).index_add(0, o, v) for line, o, v in zip(lines, owners, sums, strict=True))
    grads = [torch.empty_like(rows, memory_format=torch.contiguous_format)]
    grads += [torch.zeros_like(line, memory_format=torch.contiguous_format) for line in lines]
    arrays = _numpy(rows, lower_owner, upper_owner, *lines, grad_out, grad_shift)
    out = [grad.numpy() for grad in grads]
    columns = np.arange(rows.shape[1] + 1)
    _by_rows(
        lambda block, *args: cpu.relax_gradients(block[0], block[-1] + 1, *args),
        rows.shape[1],
        rows.numel(),
        (columns[:-1],),
        (*arrays, *out),
    )
    return tuple(grads)


def halves(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """`reference.halves`: centre and radius of intervals of any shape."""
    if lower.device.type != "cpu":
        return lower / 2 + upper / 2, upper / 2 - lower / 2
    center, radius = (torch.empty_like(lower, memory_format=torch.contiguous_format) for _ in range(2))
    arrays = [array.reshape(-1) for array in (*_numpy(lower, upper), center.numpy(), radius.numpy())]
    _by_rows(cpu.halves, lower.numel(), lower.numel(), tuple(arrays), ())
    return center, radius


def minimise(rows: Tensor, lower: Tensor, upper: Tensor, owner: Tensor) -> Tensor:
    """`reference.minimise`: rows (R, n), box ends (owners, n); returns (R,)."""
    if rows.device.type != "cpu":
        return (rows.clamp(min=0) * lower[owner] + rows.clamp(max=0) * upper[owner]).sum(dim=1)
    out = rows.new_empty(len(rows))
    a, b = _numpy(rows, owner)
    _by_rows(cpu.minimise, len(rows), rows.numel(), (a, b, out.numpy()), tuple(_numpy(lower, upper)))
    return out


def minimiser(rows: Tensor, lower: Tensor, upper: Tensor, owner: Tensor) -> Tensor:
    """`reference.minimiser`: rows (R, n), box ends (owners, n); returns (R, n)."""
    if rows.device.type != "cpu":
        return torch.where(rows > 0, lower[owner], upper[owner])
    out = torch.empty_like(rows, memory_format=torch.contiguous_format)
    a, b = _numpy(rows, owner)
    _by_rows(cpu.minimiser, len(rows), rows.numel(), (a, b, out.numpy()), tuple(_numpy(lower, upper)))
    return out


def magnitude(rows: Tensor, weight: Tensor, owner: Tensor) -> Tensor:
    """`reference.magnitude`: rows (R, n), weight (owners, n); returns (R,)."""
    if rows.device.type != "cpu":
        return (rows.abs() * weight[owner]).sum(dim=1)
    out = rows.new_empty(len(rows))
    a, b = _numpy(rows, owner)
    _by_rows(cpu.magnitude, len(rows), rows.numel(), (a, b, out.numpy()), tuple(_numpy(weight)))
    return out


def norm(rows: Tensor) -> Tensor:
    """`reference.norm`: rows (R, n); returns (R,)."""
    if rows.device.type != "cpu":
        largest = rows.abs().amax(dim=1) if rows.shape[1] else rows.new_zeros(len(rows))
        unit = torch.where(largest > 0, largest, 1)
        return largest * (rows / unit[:, None]).square().sum(dim=1).sqrt()
    out = rows.new_empty(len(rows))
    _by_rows(cpu.norm, len(rows), rows.numel(), (*_numpy(rows), out.numpy()), ())
    return out


def spatial(lines: Tensor) -> tuple[int, int, int]:
    """The three spatial sizes of a tensor (owners, channels, D, H, W)."""
    depth, height, width = lines.shape[2:]
    return depth, height, width


def _channels_last(tensor: Tensor) -> Tensor:
    """(n, channels, D, H, W) seen as (n, D, H, W, channels): the order in which the CPU's kernels want it in memory."""
    return tensor.permute(0, 2, 3, 4, 1)


def _cells(windows: Tensor, origin: Tensor, space: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Which cells of the windows lie in the space, (R, 1, d, h, w), and their flat positions (0 elsewhere)."""
    z, y, x = (
        (origin[:, axis].reshape(-1, 1) + torch.arange(size, device=origin.device)).reshape(
            -1, 1, *(size if other == axis else 1 for other in range(3))
        )
        for axis, size in enumerate(windows.shape[2:])
    )
    inside = (z >= 0) & (z < space[0]) & (y >= 0) & (y < space[1]) & (x >= 0) & (x < space[2])
    return inside, torch.where(inside, (z * space[1] + y) * space[2] + x, 0)


def gather_lines(lines: Tensor, windows: Tensor, origin: Tensor, space: tuple[int, int, int], owner: Tensor) -> Tensor:
    """The values of lines (owners, channels, D, H, W) at the cells of each window; differentiable; arbitrary outside the space."""
    _, cell = _cells(windows, origin, space)
    rows, channels = windows.shape[:2]
    flat = lines.flatten(2)[
        owner[:, None, None], torch.arange(channels, device=owner.device)[None, :, None], cell.reshape(rows, 1, -1)
    ]
    return flat.reshape(windows.shape)


def window_places(windows: Tensor, origin: Tensor, space: tuple[int, int, int]) -> Tensor:
    """The flat positions in (C, D, H, W) of the cells of windows (R, C, d, h, w); arbitrary outside the space."""
    _, cell = _cells(windows, origin, space)
    channel = torch.arange(windows.shape[1], device=windows.device).reshape(1, -1, 1, 1, 1)
    return channel * (space[0] * space[1] * space[2]) + cell


def window_mask(windows: Tensor, origin: Tensor, space: tuple[int, int, int]) -> Tensor:
    """The windows with zero in the cells outside the space; differentiable."""
    inside, _ = _cells(windows, origin, space)
    return torch.where(inside, windows, windows.new_zeros(()))


def window_relax(
    windows: Tensor,
    origin: Tensor,
    lower_slope: Tensor,
    lower_shift: Tensor,
    upper_slope: Tensor,
    upper_shift: Tensor,
    owner: Tensor,
) -> tuple[Tensor, Tensor]:
    """`reference.window_relax`: windows (R, C, d, h, w), lines (owners, C, D, H, W)."""
    space = spatial(lower_slope)
    if windows.device.type != "cpu":
        a = window_mask(windows, origin, space)
        lines = [gather_lines(line, windows, origin, space, owner) for line in (lower_slope, lower_shift, upper_slope, upper_shift)]
        positive, negative = a.clamp(min=0), a.clamp(max=0)
        return positive * lines[0] + negative * lines[2], (positive * lines[1] + negative * lines[3]).flatten(1).sum(dim=1)
    last = _channels_last(windows)
    out, shift = torch.empty_like(last, memory_format=torch.contiguous_format), windows.new_empty(len(windows))
    rowwise = (*_numpy(last, origin, owner), out.numpy(), shift.numpy())
    shared = (*space, *_numpy(*(_channels_last(line).flatten(1) for line in (lower_slope, lower_shift, upper_slope, upper_shift))))
    _by_rows(cpu.window_relax, len(windows), windows.numel(), rowwise, shared)
    return out.permute(0, 4, 1, 2, 3), shift


def window_minimise(windows: Tensor, origin: Tensor, lower: Tensor, upper: Tensor, owner: Tensor) -> Tensor:
    """`reference.minimise` of the rows that windows (R, C, d, h, w) stand for; box ends are (owners, C, D, H, W)."""
    space = spatial(lower)
    if windows.device.type != "cpu":
        a = window_mask(windows, origin, space)
        low, high = (gather_lines(end, windows, origin, space, owner) for end in (lower, upper))
        return (a.clamp(min=0) * low + a.clamp(max=0) * high).flatten(1).sum(dim=1)
    out = windows.new_empty(len(windows))
    rowwise = (*_numpy(_channels_last(windows), origin, owner), out.numpy())
    ends = _numpy(*(_channels_last(end).flatten(1) for end in (lower, upper)))
    _by_rows(cpu.window_minimise, len(windows), windows.numel(), rowwise, (*space, *ends))
    return out


def window_dense(windows: Tensor, origin: Tensor, space: tuple[int, int, int]) -> Tensor:
    """`reference.window_dense`: (R, C, D, H, W)."""
    rows, channels = windows.shape[:2]
    out = windows.new_zeros(rows, channels, *space)
    if windows.device.type != "cpu":
        inside, cell = _cells(windows, origin, space)
        values = torch.where(inside, windows, windows.new_zeros(()))
        index = cell.reshape(rows, 1, -1).expand(rows, channels, -1)
        return out.flatten(2).scatter_add(2, index, values.flatten(2)).reshape(out.shape)
    a, o = _numpy(_channels_last(windows), origin)
    _by_rows(cpu.window_dense, rows, out.numel(), (a, o, out.numpy()), space)
    return out
