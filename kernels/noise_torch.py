"""torch twins of `noise_reference` for any device: the same numbers, bit by bit, as elementwise operations on int64 tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from certify.kernels.noise_reference import AMBIGUOUS, MULTIPLIERS, REFINE, REST_BITS, ROUNDS, WEYL

LOW32 = 0xFFFFFFFF


def philox(block: Tensor, sample: Tensor, index: Tensor, stage: int, seed: int) -> list[Tensor]:
    """The four words of blocks, as int64 tensors of 32-bit values. A product may wrap around: its bits are right all the same."""
    c = [*torch.broadcast_tensors(block, sample, index, torch.full_like(block[:1, :1], stage))]
    keys = [seed & LOW32, seed >> 32 & LOW32]
    for _ in range(ROUNDS):
        first, second = c[0] * MULTIPLIERS[0], c[2] * MULTIPLIERS[1]
        c = [
            (second >> 32 & LOW32) ^ c[1] ^ keys[0],
            second & LOW32,
            (first >> 32 & LOW32) ^ c[3] ^ keys[1],
            first & LOW32,
        ]
        keys = [key + step & LOW32 for key, step in zip(keys, WEYL, strict=True)]
    return c


def words(sample: Tensor, index: Tensor, stage: int, seed: int, count: int) -> Tensor:
    """See `noise_reference.words`; int64 (rows, count)."""
    blocks = torch.arange(-(-count // 4), device=sample.device)[None]
    drawn = philox(blocks, sample[:, None], index[:, None], stage, seed)
    return torch.stack(drawn, dim=2).reshape(len(sample), -1)[:, :count]


def noisy_grid(
    inputs: Tensor,
    owner: Tensor,
    sample: Tensor,
    index: Tensor,
    stage: int,
    seed: int,
    steps: tuple[int, Tensor, Tensor],
    scale: float,
) -> Tensor:
    """See `noise_reference.noisy_grid`; `steps` as tensors on the device. Pixels that 16 bits leave open are drawn apart."""
    lowest, thresholds, table = steps
    count = inputs.shape[1]
    packed = words(sample, index, stage, seed, -(-count // 2))
    prefix = torch.stack([packed & 0xFFFF, packed >> 16], dim=2).reshape(len(sample), -1)[:, :count]
    noise = table[prefix].long()
    rows, pixels = (noise == int(AMBIGUOUS)).nonzero(as_tuple=True)
    w0, w1, *_ = philox(pixels[:, None], sample[rows, None], index[rows, None], stage | REFINE, seed)
    u = prefix[rows, pixels] << REST_BITS | (w0 << 12 | w1 >> 20).squeeze(1)
    noise[rows, pixels] = lowest + torch.searchsorted(thresholds, u, right=True)
    return (inputs[owner] + noise).float() * torch.tensor(scale, dtype=torch.float32, device=inputs.device)
