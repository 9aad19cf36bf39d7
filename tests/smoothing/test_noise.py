"""Random streams and noise: the generator's published vectors, equal twins, exact thresholds, the right distribution."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from certify.kernels import noise as kernels
from certify.kernels import noise_reference as reference
from certify.kernels import noise_torch
from certify.smoothing.noise import BITS, Gaussian, GridGaussian, Uniform, as_levels, gaussian_for, rounded_gaussian

seeds = st.integers(0, 2**64 - 1)


def streams(rows: int, seed: int = 1, stage: int = 0, first: int = 0) -> kernels.Streams:
    return kernels.Streams(torch.arange(first, first + rows), torch.zeros(rows, dtype=torch.int64), stage, seed)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_its_authors_numbers(counter: tuple[int, ...], key: tuple[int, int], words: str) -> None:
    found = reference.philox(*map(np.array, counter[:3]), counter[3], key[1] << 32 | key[0])
    assert " ".join(f"{int(word):08x}" for word in found) == words


@given(
    seeds, st.integers(0, 2**31 - 1), st.integers(1, 4), st.integers(1, 21), st.integers(0, 2**32 - 9), st.integers(0, 2**32 - 9)
)
@settings(max_examples=25)
def test_twins_draw_the_same_words(seed: int, stage: int, rows: int, count: int, sample: int, index: int) -> None:
    address = kernels.Streams(torch.arange(sample, sample + rows), torch.arange(index, index + rows), stage, seed)
    expected = reference.words(address.sample.numpy(), address.index.numpy(), stage, seed, count)
    assert (kernels.words(address, count).numpy() == expected).all()
    assert (noise_torch.words(address.sample, address.index, stage, seed, count).numpy() == expected).all()


@given(seeds, st.integers(1, 40), st.integers(1, 30), st.sampled_from([0.05, 0.25, 1.0]))
@settings(max_examples=25)
def test_twins_add_the_same_noise(seed: int, rows: int, pixels: int, sigma: float) -> None:
    steps = rounded_gaussian(sigma, 255)
    inputs = torch.arange(2 * pixels, dtype=torch.int16).reshape(2, pixels) % 256
    owner, address = torch.arange(rows) % 2, streams(rows, seed, stage=3)
    arrays = (inputs.numpy(), owner.numpy(), address.sample.numpy(), address.index.numpy())
    expected = reference.noisy_grid(*arrays, 3, seed, steps, 1 / 255)
    assert (kernels.noisy_grid(inputs, owner, address, steps, 1 / 255).numpy() == expected).all()
    on_device = (steps.lowest, torch.from_numpy(steps.thresholds), torch.from_numpy(steps.table))
    twin = noise_torch.noisy_grid(inputs, owner, address.sample, address.index, 3, seed, on_device, 1 / 255)
    assert (twin.numpy() == expected).all()


def test_noise_drawn_in_threads_is_the_same() -> None:
    steps, inputs = rounded_gaussian(0.25, 255), torch.arange(60, dtype=torch.int16).reshape(2, 30)
    rows = 3 * kernels.ROWS_PER_THREAD + 7
    threads = torch.get_num_threads()
    drawn = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        drawn.append(kernels.noisy_grid(inputs, torch.arange(rows) % 2, streams(rows), steps, 1 / 255))
    torch.set_num_threads(threads)
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


def test_no_two_addresses_share_words() -> None:
    drawn = [
        reference.words(np.arange(20), np.full(20, index), stage, seed, 16)
        for index in (0, 1)
        for stage in (0, 1, 1 | reference.REFINE)
        for seed in (0, 1)
    ]
    words = np.concatenate(drawn).ravel()
    assert len(np.unique(words)) > len(words) - 3  # 32-bit words meet by chance about 0.003 times


@pytest.mark.parametrize(("sigma", "levels"), [(0.25, 255), (0.03, 255), (1.0, 16)])
def test_thresholds_are_exact_to_a_unit(sigma: float, levels: int) -> None:
    steps = rounded_gaussian(sigma, levels)
    with mpmath.workdps(50):
        for i in range(0, len(steps.thresholds), 37):
            true = mpmath.ncdf((mpmath.mpf(steps.lowest + i) + mpmath.mpf("0.5")) / (levels * mpmath.mpf(sigma))) * 2**BITS
            assert abs(true - int(steps.thresholds[i])) <= 1
    assert (np.diff(steps.thresholds) >= 0).all()


def test_integer_noise_has_the_stated_frequencies() -> None:
    """Chi-square over all values of the rounded Gaussian, 200,000 draws."""
    sigma, levels = 0.25, 16
    zeros = torch.zeros(1, 1000, dtype=torch.int16)
    drawn = (GridGaussian(sigma, levels).perturb(zeros, torch.zeros(200, dtype=torch.int64), streams(200)) * levels).round().int()
    values = np.arange(-12, 13)
    expected = np.diff(norm.cdf((np.arange(-12, 14) - 0.5) / (levels * sigma))) * drawn.numel()
    observed = np.array([int((drawn == v).sum()) for v in values])
    assert ((observed - expected) ** 2 / expected).sum() < 25 + 5 * np.sqrt(50)


@pytest.mark.parametrize(("noise", "cdf"), [(Gaussian(0.5), norm(0.3, 0.5).cdf), (Uniform(0.5), lambda v: np.clip(v + 0.2, 0, 1))])
def test_real_noise_has_the_stated_distribution(noise: Gaussian | Uniform, cdf: object) -> None:
    drawn = noise.perturb(torch.full((1, 3, 67), 0.3), torch.zeros(300, dtype=torch.int64), streams(300))
    assert drawn.shape == (300, 3, 67)
    assert kstest(drawn.flatten().numpy(), cdf).pvalue > 1e-4


def test_what_the_network_sees_is_a_function_of_the_integer_sum() -> None:
    """No low bits of the input leak: equal sums give equal floats, whatever input and noise they are made of."""
    noise = GridGaussian(0.1)
    inputs = torch.arange(0, 256, dtype=torch.int16)[:, None].expand(256, 50).contiguous()
    seen = noise.perturb(inputs, torch.arange(256), streams(256))
    levels = (seen * 255).round()
    assert torch.equal(levels * torch.tensor(1 / 255, dtype=torch.float32), seen)


def test_the_slack_of_integer_noise_is_negligible_but_stated() -> None:
    assert 0 < GridGaussian(0.25).slack(784) < 1e-11
    assert Gaussian(0.25).slack(784) == 0


def test_eight_bit_inputs_get_integer_noise_and_others_do_not() -> None:
    eight_bit = torch.arange(256).float() / 255
    assert gaussian_for(eight_bit, 0.25) == GridGaussian(0.25)
    assert gaussian_for(torch.arange(17).float() / 16, 0.25) == GridGaussian(0.25, 16)
    assert gaussian_for(eight_bit + 0.001, 0.25) == Gaussian(0.25)
    assert as_levels(eight_bit, 255).tolist() == list(range(256))  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="real-arithmetic"):
        GridGaussian(0.25).encode(eight_bit + 0.001)


@pytest.mark.parametrize(("stage", "seed"), [(2**31, 0), (0, 2**64), (-1, 0), (0, -1)])
def test_addresses_outside_the_counter_are_refused(stage: int, seed: int) -> None:
    with pytest.raises(ValueError, match="below"):
        streams(1, seed, stage)
