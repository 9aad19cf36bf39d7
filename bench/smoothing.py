"""Randomized smoothing of an MNIST network: python -m bench.smoothing DIR [--images 500] [--peer-images 5] [--fixed LOG.jsonl]

DIR holds MNIST's four files. Two tables. What noise and counting cost over bare forward passes, in turn in one process. And what the
question "certified at radius R?" costs: Cohen's procedure written plainly (one input at a time, torch.randn, labels counted in a Python
loop), the engine with as many samples, and its sequential test. `--fixed` compares the sequential answers with the log of a run with
n = 100,000 on the same images, such as the one that models/smoothing/README.md names.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn

from bench.measure import best_times
from certify.cli.table import table
from certify.io.datasets import load_data
from certify.smoothing import Certificate, Decision, Gaussian, GridGaussian, Sampler, Smoothed
from certify.smoothing.classifiers import Classify, load_classifier
from certify.smoothing.conclusion import conclude
from certify.smoothing.logs import read_log
from certify.smoothing.run import certificate_of
from certify.smoothing.sampling import Stage, tally

MODEL = Path(__file__).resolve().parents[1] / "models" / "smoothing" / "mnist_gaussian.onnx"
SIGMA, N0, N = 0.5, 100, 100_000
ALPHA = Fraction(1, 1000)


@dataclass(frozen=True)
class Case:
    """A network, the shape of its inputs, and how many batches of noisy copies to time."""

    network: Classify
    shape: tuple[int, ...]
    batches: int


def small() -> Case:
    """The shipped MNIST network: 0.6 million multiplications per image, where noise weighs most."""
    return Case(load_classifier(MODEL), (1, 28, 28), 20)


def medium() -> Case:
    """Three convolutions on CIFAR-sized images: 15 million multiplications, still a fiftieth of a ResNet-18."""
    layers = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1)]
    network = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(64 * 256, 10)).eval()
    return Case(torch.no_grad()(network.forward), (3, 32, 32), 4)


def counters(case: Case, batch: int) -> dict[str, Callable[[], object]]:
    """The same number of evaluations, bare and counted in three ways; what the pixels show does not matter for the time."""
    image = torch.randint(0, 256, (1, *case.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    x, n = torch.rand(batch, *case.shape), batch * case.batches
    own = {name: Sampler(case.network, 10, noise, batch=batch) for name, noise in (("integer", GRID), ("real", Gaussian(SIGMA)))}
    index = torch.zeros(1, dtype=torch.int64)
    return {
        "bare": lambda: [case.network(x) for _ in range(case.batches)],
        **{name: partial(tally, sampler, sampler.noise.encode(image), index, Stage.ESTIMATE, n) for name, sampler in own.items()},
        "plainly": partial(plain_counts, case.network, image[0].float() / 255, n, batch),
    }


GRID = GridGaussian(SIGMA)


def plain_counts(network: Classify, x: Tensor, n: int, batch: int) -> list[int]:
    """Cohen's counting loop."""
    counts, left = [0] * 10, n
    while left:
        rows = x.repeat(min(batch, left), 1, 1, 1)
        left -= len(rows)
        for label in network(rows + torch.randn_like(rows) * SIGMA).argmax(1).cpu().numpy():
            counts[label] += 1
    return counts


def plain_radius(network: Classify, x: Tensor, batch: int) -> float:
    """Cohen's CERTIFY of one input."""
    first = plain_counts(network, x, N0, batch)
    label = max(range(10), key=first.__getitem__)
    return conclude([plain_counts(network, x, N, batch)], label, ALPHA, [SIGMA], [0.0]).radius


def overheads(rounds: int) -> Iterator[Sequence[str]]:
    """Microseconds per evaluation, and the share over bare forward passes."""
    for name, case in (("MNIST, 0.6 M multiplications", small()), ("CIFAR-sized, 15 M", medium())):
        for batch in (256, 512):
            times = best_times({key: partial(lambda call: call, call) for key, call in counters(case, batch).items()}, rounds, 60)
            each = {key: 1e6 * value / (batch * case.batches) for key, value in times.items()}
            shares = (f"{each[key]:.1f} (+{each[key] / each['bare'] - 1:.0%})" for key in ("integer", "real", "plainly"))
            yield (name, str(batch), f"{each['bare']:.1f}", *shares)


def procedures(
    x: Tensor, index: Sequence[int], peer_images: int, radius: float, batch: int
) -> tuple[list[Sequence[str]], list[Decision]]:
    """A row for every way to answer, and the sequential decisions. `index` are the images' places in the data set."""
    network = load_classifier(MODEL)
    smoothed = Smoothed((Sampler(network, 10, GRID, batch=batch),))
    few = x[:peer_images]
    began = perf_counter()
    plainly = [plain_radius(network, image, batch) >= radius for image in few]
    middle = perf_counter()
    fixed = [c.radius >= radius for c in smoothed.certify(few, N0, N, ALPHA, index[:peer_images])]
    end = perf_counter()
    found = dict(smoothed.certify_at(x, radius, ALPHA, n0=N0, max_n=N, index=index))
    last = perf_counter()
    decisions = [found[i] for i in range(len(x))]
    verdicts = [d.verdict for d in decisions]
    passes = sum(d.drawn for d in decisions) / len(x)
    rows = [
        _row("Cohen's procedure, plainly", len(few), N0 + N, middle - began, plainly.count(True), plainly.count(False), 0),
        _row("certify, n = 100,000", len(few), N0 + N, end - middle, fixed.count(True), fixed.count(False), 0),
        _row("certify, sequential", len(x), passes, last - end, *(verdicts.count(v) for v in ("yes", "no", "undecided"))),
    ]
    return rows, decisions


def _row(name: str, images: int, passes: float, seconds: float, *verdicts: int) -> Sequence[str]:
    return (name, str(images), f"{passes:,.0f}", f"{seconds / images:.3f}", *map(str, verdicts))


def disagreements(decisions: Sequence[Decision], log: str, radius: float) -> str:
    """Sequential answers against those of fixed samples, by the index of the image."""
    fixed: dict[int, Certificate] = {entry["idx"]: certificate_of(dict(entry)) for entry in read_log(log).records}
    shared = [(fixed[d.index], d) for d in decisions if d.index in fixed]
    decided = [(c, d) for c, d in shared if d.verdict != "undecided"]
    other = [(c, d) for c, d in decided if (c.radius >= radius and c.label == d.label) != (d.verdict == "yes")]
    which = ", ".join(f"idx {d.index}: radius {c.radius:.3f}, {d.verdict} after {d.n}" for c, d in other) or "none"
    return f"{len(shared)} images in {log}: {len(decided)} decided, different answers: {which}"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", metavar="DIR")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--peer-images", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--radius", type=float, default=1.0)
    parser.add_argument("--fixed", metavar="LOG.jsonl")
    arguments = parser.parse_args()
    titles = ("network", "batch", "bare forward, us per evaluation", "integer noise", "real noise", "Cohen's loop")
    print(table(titles, list(overheads(arguments.rounds))), flush=True)
    x = torch.as_tensor(load_data(f"mnist:{arguments.mnist}").x)
    index = range(0, len(x), len(x) // arguments.images)[: arguments.images]
    rows, decisions = procedures(
        x[index.start : index.stop : index.step], index, arguments.peer_images, arguments.radius, arguments.batch
    )
    columns = ("procedure", "images", "passes per image", "seconds per image", "yes", "no", "undecided")
    print(f"\ncertified at radius {arguments.radius:g}?\n\n{table(columns, rows)}")
    if arguments.fixed:
        print(f"\n{disagreements(decisions, arguments.fixed, arguments.radius)}")


if __name__ == "__main__":
    main()
