"""The table of the README: python -m bench.table [--only bounds paths training kernels startup] [--quick]

Ours and the peer's in turn in one process, the best of several runs; ratios below 1 mean that we are faster. Needs no pytest. Where
auto_LiRPA is not installed its columns stay empty.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import nan

import torch

from bench import bench_bounds, bench_kernels, bench_paths, bench_startup, bench_training
from bench.measure import best_times
from bench.networks import RANDOM, RESNET_FILE


@dataclass(frozen=True)
class Effort:
    """Rounds of everything, and the seconds after which a contender sits out the rest."""

    repeats: int
    seconds: float


Row = Sequence[str]


def milliseconds(value: float) -> str:
    """Three figures, or nothing where it was not measured."""
    return "" if value != value else f"{value * 1e3:.3g}"


def ratio(ours: float, other: float) -> str:
    """Ours in units of the other, or nothing."""
    return "" if other != other else f"{ours / other:.3f}"


def bounds(effort: Effort) -> Iterator[Row]:
    """crown, interval and alpha-crown bounds of every network and batch, and how tight they are against the peer's."""
    yield ("bounds", "network", "batch", "certify, ms", "auto_LiRPA, ms", "ratio", "lower bounds, relative gain")
    for case in (*bench_bounds.PASSES, *bench_bounds.OPTIMISATIONS):
        contenders = {name: engine(case) for name, engine in bench_bounds.engines(case).items()}
        times = best_times(contenders, effort.repeats, effort.seconds)
        ours, peer = times["certify"], times.get("auto_LiRPA", nan)
        gain = f"{bench_bounds.advantage(case) + 0.0:+.1%}" if "auto_LiRPA" in times else ""
        yield (case.method, case.workload.about, str(case.batch), milliseconds(ours), milliseconds(peer), ratio(ours, peer), gain)
    if RESNET_FILE.is_file():
        yield ("memory at most, MB", "CIFAR ResNet (sri_resnet_a)", "1", f"{bench_bounds.resnet_memory() / 1e6:.0f}", "", "", "")


def paths(effort: Effort) -> Iterator[Row]:
    """Balls, poolings, deep convolutions and elementwise outputs: medians of the processor time of one thread."""
    yield ("bounds", "network", "batch", "certify, ms", "auto_LiRPA, ms", "ratio", "widths, ratio")
    for path in bench_paths.PATHS:
        times, widths = bench_paths.times(path, effort.repeats, effort.seconds), bench_paths.widths(path)
        ours, peer = times["certify"], times.get("auto_LiRPA", nan)
        tight = ratio(widths["certify"], widths.get("auto_LiRPA", nan))
        yield (path.method, path.about, str(path.batch), milliseconds(ours), milliseconds(peer), ratio(ours, peer), tight)
    for name, found in bench_paths.memory_of_verifying().items():
        yield ("verify", f"memory at most, MB: a {name}", "1", f"{found / 1e6:.0f}", "", "", "")


def training(effort: Effort) -> Iterator[Row]:
    """One step on the conv net, batch 128."""
    yield ("training step", "certify, ms", "auto_LiRPA, ms", "ratio", "plain steps")
    contenders = {
        f"{engine} {method}": bench_training.step(engine, method)
        for engine, method in bench_training.CASES
        if engine in bench_training.PEERS
    }
    times = best_times(contenders, 3 * effort.repeats, effort.seconds)
    plain = times["plain none"]
    yield ("plain", milliseconds(plain), "", "", "1")
    for method in bench_training.THEIR_NAMES:
        ours, peer = times[f"certify {method}"], times.get(f"auto_LiRPA {method}", nan)
        yield (method, milliseconds(ours), milliseconds(peer), ratio(ours, peer), f"{ours / plain:.2f}")


def kernels(effort: Effort) -> Iterator[Row]:
    """The fused loops against eager torch and against the memory; crown against matrix products."""
    yield ("kernel", "ms", "in units of a pass over the memory")
    calls = bench_kernels.calls()
    times = best_times({name: partial(lambda call: call, call) for name, call in calls.items()}, effort.repeats, effort.seconds)
    for family, memory in (("relax", "a copy of the rows"), ("minimise", "a sum of the rows")):
        for name in (family, f"{family}, eager torch", memory):
            yield (name, milliseconds(times[name]), f"{times[name] / times[memory]:.2f}")
    products = bench_kernels.product_rate()
    yield ("matrix product, GFLOP/s", f"{products / 1e9:.0f}", "")
    for workload in RANDOM[:2]:
        rate = bench_kernels.crown_rate(workload, workload.batches[0])
        yield (f"crown of the {workload.about}, GFLOP/s", f"{rate / 1e9:.0f}", f"{rate / products:.2f} of the product's")


def startup(effort: Effort) -> Iterator[Row]:
    """Whole processes."""
    yield ("start", "ms")
    for name, start in bench_startup.STARTS.items():
        yield (name, milliseconds(min(start() for _ in range(effort.repeats))))


SECTIONS: Mapping[str, Callable[[Effort], Iterator[Row]]] = {
    "bounds": bounds,
    "paths": paths,
    "training": training,
    "kernels": kernels,
    "startup": startup,
}


def main() -> None:
    """Prints the tables asked for, rows as they are measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="two rounds: to see that everything runs")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    effort = Effort(1, 1.0) if arguments.quick else Effort(9, 12.0)
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
    print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, {machine}")
    for name in arguments.only:
        print()
        for number, row in enumerate(SECTIONS[name](effort)):
            print("| " + " | ".join(row) + " |", flush=True)
            if number == 0:
                print("|" + "---|" * len(row), flush=True)


if __name__ == "__main__":
    main()
