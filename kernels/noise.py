"""Noise on torch tensors, chosen by the tensors' device: numba on the CPU, torch operations elsewhere. The numbers are the same."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from certify.kernels import noise_cpu, noise_torch
from certify.kernels.noise_reference import REFINE, Steps

LIMIT = 1 << 32
ROWS_PER_THREAD = 512


@dataclass(frozen=True)
class Streams:
    """Addresses of one random stream per row.

    `sample` and `index` are int64 (rows,) below 2^32, `stage` lies below 2^31 and `seed` below 2^64.
    """

    sample: Tensor
    index: Tensor
    stage: int
    seed: int

    def __post_init__(self) -> None:
        if not (0 <= self.stage < REFINE and 0 <= self.seed < LIMIT**2):
            raise ValueError(f"stage {self.stage} must lie below 2^31 and seed {self.seed} below 2^64, neither below 0")


def words(streams: Streams, count: int) -> Tensor:
    """The first `count` words of each stream as int64 (rows, count)."""
    if streams.sample.device.type != "cpu":
        return noise_torch.words(streams.sample, streams.index, streams.stage, streams.seed, count)
    out = np.empty((len(streams.sample), 4 * -(-count // 4)), dtype=np.uint32)
    noise_cpu.words(out, *_addresses(streams))
    return torch.from_numpy(out[:, :count].astype(np.int64))


def noisy_grid(inputs: Tensor, owner: Tensor, streams: Streams, steps: Steps, scale: float) -> Tensor:
    """float32 (rows, pixels): `scale` times the exact integer sum of inputs[owner] and fresh noise from `steps`.

    inputs are int16 (owners, pixels), owner int64 (rows,).
    """
    if inputs.device.type != "cpu":
        thresholds, table = (torch.as_tensor(array, device=inputs.device) for array in (steps.thresholds, steps.table))
        on_device = (steps.lowest, thresholds, table)
        return noise_torch.noisy_grid(inputs, owner, streams.sample, streams.index, streams.stage, streams.seed, on_device, scale)
    out = np.empty((len(owner), inputs.shape[1]), dtype=np.float32)
    x, owners, (sample, index, *key) = inputs.numpy(), owner.numpy(), _addresses(streams)

    def fill(rows: slice) -> None:
        address = (sample[rows], index[rows], *key)
        noise_cpu.noisy_grid(out[rows], x, owners[rows], *address, np.int64(steps.lowest), *steps[1:], np.float32(scale))

    _in_threads(fill, len(out))
    return torch.from_numpy(out)


def _in_threads(work: Callable[[slice], None], rows: int) -> None:
    """All rows, in as many threads as torch uses, each with enough of them to be worth its start."""
    threads = max(1, min(torch.get_num_threads(), rows // ROWS_PER_THREAD))
    cuts = [rows * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        first, *others = map(slice, cuts, cuts[1:])
        running = [pool.submit(work, part) for part in others]
        work(first)
        for part in running:
            part.result()


def _addresses(streams: Streams) -> tuple[np.ndarray, np.ndarray, np.uint64, np.uint64, np.uint64]:
    numbers = (streams.sample.numpy().view(np.uint64), streams.index.numpy().view(np.uint64))
    return (*numbers, np.uint64(streams.stage), np.uint64(streams.seed % LIMIT), np.uint64(streams.seed // LIMIT))
