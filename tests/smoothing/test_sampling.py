"""Counting and sequential testing: what is drawn depends on addresses alone, and the answers on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from certify.smoothing.noise import Gaussian, GridGaussian
from certify.smoothing.sampling import Answer, Question, Sampler, Stage, decide, tally
from certify.smoothing.sequential import Betting


def parity(x: Tensor) -> Tensor:
    """Three classes by the first pixel's level: integer arithmetic, so that no batch size can change it."""
    level = (x.flatten(1)[:, 0] * 255).round().long() % 3
    return torch.nn.functional.one_hot(level, 3).float()


INPUTS = (torch.arange(3 * 5).reshape(3, 5) * 16).to(torch.int16)
INDEX = torch.tensor([4, 0, 9])


def sampler(batch: int = 64, seed: int = 0) -> Sampler:
    return Sampler(parity, 3, GridGaussian(0.1), seed, batch)


@given(st.integers(1, 90), st.integers(1, 40))
@settings(max_examples=25)
def test_counts_do_not_depend_on_the_batch(batch: int, n: int) -> None:
    counts = tally(sampler(batch), INPUTS, INDEX, Stage.ESTIMATE, n)
    assert (counts == tally(sampler(1000), INPUTS, INDEX, Stage.ESTIMATE, n)).all()
    assert (counts.sum(axis=1) == n).all()


def test_counts_of_an_input_do_not_depend_on_its_neighbours_or_threads() -> None:
    together = tally(sampler(), INPUTS, INDEX, Stage.ESTIMATE, 50)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    alone = [tally(sampler(), INPUTS[i : i + 1], INDEX[i : i + 1], Stage.ESTIMATE, 50)[0] for i in range(3)]
    torch.set_num_threads(threads)
    assert (together == np.stack(alone)).all()


def test_a_run_in_two_parts_draws_the_samples_of_one() -> None:
    first = tally(sampler(), INPUTS, INDEX, Stage.ESTIMATE, 30)
    second = tally(sampler(), INPUTS, INDEX, Stage.ESTIMATE, 20, first=30)
    assert (first + second == tally(sampler(), INPUTS, INDEX, Stage.ESTIMATE, 50)).all()


@pytest.mark.parametrize("change", [{"stage": Stage.SELECT}, {"seed": 1}, {"part": 1}, {"index": 7}])
def test_purposes_seeds_parts_and_inputs_have_noise_of_their_own(change: dict[str, int]) -> None:
    def labels(stage: Stage = Stage.ESTIMATE, seed: int = 0, part: int = 0, index: int = 0) -> Tensor:
        source = Sampler(parity, 3, GridGaussian(0.1), seed, 64, part)
        owner = torch.zeros(64, dtype=torch.int64)
        return source.labels(INPUTS[:1], torch.tensor([index]), owner, torch.arange(64), stage)

    assert not torch.equal(labels(), labels(**change))  # type: ignore[arg-type]
    assert torch.equal(labels(), labels())


def test_nan_is_an_error() -> None:
    broken = Sampler(lambda x: x[:, :3] * float("nan"), 3, Gaussian(0.1))
    with pytest.raises(ValueError, match="NaN for 21 noisy"):
        tally(broken, INPUTS.float(), INDEX, Stage.SELECT, 7)
    with pytest.raises(ValueError, match="NaN"):
        list(decide([broken], [Question(0, (INPUTS[0].float(),), 0, 0)], Betting(0.5, 0.5, 0.01, 0.01, 50)))


RULE = Betting(0.36, 0.36, 0.05, 0.05, 700)


def answers(batch: int, questions: int = 12) -> dict[int, Answer]:
    asked = (Question(i, (INPUTS[i % 3],), i, i % 3) for i in range(questions))
    return {answer.key: answer for answer in decide([sampler(batch)], asked, RULE)}


def test_sequential_answers_do_not_depend_on_the_batch_or_the_queue() -> None:
    small, large = answers(16), answers(256)
    assert small.keys() == large.keys() == set(range(12))
    for key in small:
        assert (small[key].verdict, small[key].hits, small[key].n) == (large[key].verdict, large[key].hits, large[key].n)


def test_a_sequential_answer_is_that_of_the_rule_on_the_stream() -> None:
    for key, answer in answers(64, 6).items():
        owner = torch.zeros(RULE.budget, dtype=torch.int64)
        labels = sampler(RULE.budget).labels(
            INPUTS[key % 3][None], torch.tensor([key]), owner, torch.arange(RULE.budget), Stage.DECIDE
        )
        hits = np.cumsum((labels == key % 3).numpy())
        verdicts = RULE.verdicts(hits[None], np.arange(1, RULE.budget + 1))
        stop = np.flatnonzero(verdicts)[0] if verdicts.any() else RULE.budget - 1
        assert (answer.verdict, answer.hits, answer.n) == (verdicts[stop], (hits[stop],), stop + 1)
        assert answer.n <= answer.drawn


def test_the_budget_ends_a_question_undecided() -> None:
    rule = Betting(1 / 3, 1 / 3, 1e-6, 1e-6, 40)
    (answer,) = decide([sampler(32)], [Question(0, (INPUTS[0],), 0, 0)], rule)
    assert (answer.verdict, answer.n, answer.drawn) == (0, 40, 40)
