"""Smoothed classifiers of one part or several: predict, certify, and certify at a given radius."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from certify.smoothing.certificate import ABSTAIN, Certificate
from certify.smoothing.conclusion import VARIANTS, conclude
from certify.smoothing.confidence import rank_test
from certify.smoothing.decision import VERDICTS, Decision, RadiusTest
from certify.smoothing.sampling import Answer, Question, Sampler, Stage, decide, tally


@dataclass(frozen=True)
class Smoothed:
    """A classifier under noise. Parts of a dual classifier see disjoint sets of pixels, see `certify.smoothing.dual`.

    Inputs are (batch, *shape), uint8 or floats in the units of the noise. `index` addresses the random streams of each input: its
    row in the data set, or what `index_of` derives from the input itself. Same seed, same index: same noise, in whatever batch.
    """

    parts: tuple[Sampler, ...]
    variant: str = "pa"
    bound: str = "cp"

    def __post_init__(self) -> None:
        fitting = [name for name, variant in VARIANTS.items() if len(self.parts) in variant.parts and self._norm == variant.norm]
        if self.variant not in fitting:
            noise = " and ".join(sorted({type(part.noise).__name__ for part in self.parts}))
            raise ValueError(
                f"variant {self.variant!r} is none for {len(self.parts)} parts with {noise} noise; there are {', '.join(fitting)}"
            )

    @property
    def _norm(self) -> float | None:
        """That of the parts' noises; None where they differ."""
        norms = {part.noise.norm for part in self.parts}
        return norms.pop() if len(norms) == 1 else None

    @property
    def seed(self) -> int:
        """Seed of all random streams."""
        return self.parts[0].seed

    def certify(self, x: Tensor, n0: int, n: int, alpha: Fraction, index: Sequence[int] | None = None) -> Iterator[Certificate]:
        """Certificates of a batch of inputs, one by one: n0 samples choose the class, n fresh ones bound its probability.

        Each is wrong with probability at most alpha. The inputs' selection samples share batches.
        """
        rows = self._rows(x, index)
        selects = VARIANTS[self.variant].selects
        selection = [] if selects else self._counts(x, rows, Stage.SELECT, n0)
        for i in range(len(x)):
            counts = self._counts(x[i : i + 1], rows[i : i + 1], Stage.ESTIMATE, n)
            chosen = [part[i] for part in selection]
            candidate = int(np.sum(counts if selects else chosen, axis=0).argmax())
            yield self._certificate(x[i], int(rows[i]), candidate, [part[0] for part in counts], chosen, alpha)

    def predict(self, x: Tensor, n: int, alpha: Fraction, index: Sequence[int] | None = None) -> list[int]:
        """The smoothed classifier's answer for each input, wrong with probability at most alpha; ABSTAIN where the vote is too
        close.

        Cohen et al. 2019, PREDICT, on n samples. For dual classifiers use `certify`: their vote is no count of one sample.
        """
        if len(self.parts) > 1:
            raise ValueError("predict is for classifiers of one part; certify answers the same question for a dual one")
        rows = self._rows(x, index)
        level = alpha - n * Fraction(self.parts[0].noise.slack(x[0].numel()))  # n draws are n slacks away from the stated noise
        return [_winner(counts, level) for counts in self._counts(x, rows, Stage.PREDICT, n)[0]]

    def certify_at(
        self,
        x: Tensor,
        radius: float,
        alpha: Fraction,
        *,
        n0: int = 100,
        max_n: int = 100_000,
        beta: Fraction | None = None,
        rule: str = "betting",
        index: Sequence[int] | None = None,
    ) -> Iterator[tuple[int, Decision]]:
        """Is the prediction certified at `radius` (l_2)? Pairs of a position in `x` and its decision, as they are found.

        The class is chosen from n0 samples of its own. For Gaussian noise and the variants in `decision.TESTS`.
        """
        beta = alpha if beta is None else beta
        test = RadiusTest(radius, self.variant, rule, alpha, beta, max_n, self._scales, self._slacks(x[0].numel()))
        stopping, rows = test.stopping_rule(), self._rows(x, index)
        candidates = np.sum(self._counts(x, rows, Stage.SELECT, n0), axis=0).argmax(axis=1)
        encoded = [part.noise.encode(x) for part in self.parts]
        questions = (Question(i, tuple(e[i] for e in encoded), int(rows[i]), int(candidates[i])) for i in range(len(x)))
        for answer in decide(self.parts, questions, stopping):
            yield answer.key, self._decision(answer, int(candidates[answer.key]), int(rows[answer.key]), x[0].numel(), n0, test)

    def _counts(self, x: Tensor, index: Tensor, stage: Stage, n: int) -> list[np.ndarray]:
        """(inputs, classes) for each part."""
        if n < 1:
            raise ValueError(f"at least one sample is needed, got n = {n}")
        return [tally(part, part.noise.encode(x), index, stage, n) for part in self.parts]

    def _rows(self, x: Tensor, index: Sequence[int] | None) -> Tensor:
        numbers = [index_of(row) for row in x] if index is None else list(index)
        if len(numbers) != len(x):
            raise ValueError(f"{len(x)} inputs and {len(numbers)} indices")
        return torch.tensor(numbers, dtype=torch.int64, device=x.device)

    def _certificate(
        self, x: Tensor, index: int, candidate: int, counts: Sequence[np.ndarray], chosen: Sequence[np.ndarray], alpha: Fraction
    ) -> Certificate:
        scales, slacks = self._scales, self._slacks(x.numel())
        rows = tuple(tuple(map(int, row)) for row in counts)
        found = conclude(rows, candidate, alpha, scales, slacks, self.variant, self.bound)
        certified = found.radius > 0
        return Certificate(
            label=candidate if certified else ABSTAIN,
            radius=found.radius,
            norm=VARIANTS[self.variant].norm,
            candidate=candidate,
            counts=rows,
            selection=tuple(tuple(map(int, row)) for row in chosen),
            alpha=alpha,
            variant=self.variant,
            bound=self.bound,
            scales=scales,
            slacks=slacks,
            arithmetic=self.parts[0].noise.arithmetic,
            dimension=x.numel(),
            seed=self.seed,
            index=index,
            p_lower=found.p_lower,
            p_upper=found.p_upper,
        )

    def _decision(self, answer: Answer, label: int, index: int, dimension: int, n0: int, test: RadiusTest) -> Decision:
        return Decision(
            verdict=VERDICTS[answer.verdict],
            label=label,
            hits=answer.hits,
            n=answer.n,
            drawn=answer.drawn + n0 * len(self.parts),
            test=test,
            arithmetic=self.parts[0].noise.arithmetic,
            dimension=dimension,
            seed=self.seed,
            index=index,
        )

    @property
    def _scales(self) -> tuple[float, ...]:
        return tuple(part.noise.scale for part in self.parts)

    def _slacks(self, dimension: int) -> tuple[float, ...]:
        return tuple(part.noise.slack(dimension) for part in self.parts)


def index_of(x: Tensor) -> int:
    """32 bits derived from an input: the address of its random streams where the caller has no row number."""
    return int.from_bytes(hashlib.sha256(input_bytes(x)).digest()[:4], "little")


def input_bytes(x: Tensor) -> bytes:
    """The input's values as bytes, for hashes."""
    return x.detach().cpu().contiguous().numpy().tobytes()


def _winner(counts: np.ndarray, alpha: Fraction) -> int:
    second, first = np.argsort(counts, kind="stable")[-2:] if len(counts) > 1 else (0, 0)
    return int(first) if rank_test(int(counts[first]), int(counts[second])) <= alpha else ABSTAIN


class Smooth:
    """The interface of Cohen et al. 2019: one input at a time, plain answers. Inputs that are 8-bit levels get integer noise.

    The noise of an input follows from the input, the seed and the purpose: the same call gives the same answer.
    """

    ABSTAIN = ABSTAIN

    def __init__(
        self,
        base_classifier: Callable[[Tensor], Tensor],
        num_classes: int,
        sigma: float,
        *,
        seed: int = 0,
        threshold: float | None = None,
    ) -> None:
        """`base_classifier` maps (batch, *shape) to scores (batch, num_classes), or to labels; sigma is in the units of its inputs.

        With `threshold` it maps to one score (batch, 1), and the two classes are 0 up to the threshold and 1 above it. A module is
        put into evaluation mode.
        """
        from certify.smoothing.answers import by_threshold
        from certify.smoothing.classifiers import as_classifier

        if threshold is not None and num_classes != 2:
            raise ValueError(f"a threshold tells two classes apart, got num_classes = {num_classes}")
        self.base_classifier = as_classifier(base_classifier)
        self.threshold = threshold
        self._classify = self.base_classifier if threshold is None else by_threshold(self.base_classifier, threshold)
        self.num_classes = num_classes
        self.sigma = sigma
        self.seed = seed

    def certify(self, x: Tensor, n0: int, n: int, alpha: float, batch_size: int) -> tuple[int, float]:
        """Class and l_2 radius, wrong with probability at most alpha, or (ABSTAIN, 0.0). x is (*shape)."""
        found = next(self._smoothed(x, batch_size).certify(x[None], n0, n, Fraction(alpha)))
        return found.label, found.radius

    def predict(self, x: Tensor, n: int, alpha: float, batch_size: int) -> int:
        """Class, wrong with probability at most alpha, or ABSTAIN. x is (*shape)."""
        return self._smoothed(x, batch_size).predict(x[None], n, Fraction(alpha))[0]

    def _smoothed(self, x: Tensor, batch: int) -> Smoothed:
        from certify.smoothing.noise import gaussian_for

        noise = gaussian_for(x, self.sigma)
        return Smoothed((Sampler(self._classify, self.num_classes, noise, self.seed, batch),))
