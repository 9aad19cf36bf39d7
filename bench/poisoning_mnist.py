"""MNIST with 1200 partitions, end to end: features, training of every base classifier, votes, certificates.

    python -m bench.poisoning_mnist ../shared/data/mnist --d 1 4 --json mnist.json

The base learner is ridge regression on the features of `mnist_features.py`, buckets are those of the papers (pixel sum). The
settings were chosen at the last 5000 training images alone; `--images 55000` leaves them out of the training set, so that it had
no part in the choice. With `--store DIR` models survive, and a killed run goes on. Recalled from the papers for k = 1200 with a
network-in-network: DPA clean 95.9 %, certified at 100/200/300/400/500 samples 92.1/86.5/77.1/61.8/32.4 %, median 448.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from bench.mnist_features import Look, described
from certify.io.datasets import load_data
from certify.poisoning.certificate import certify_votes
from certify.poisoning.partition import pixel_sum
from certify.poisoning.spread import disjoint, finite
from certify.poisoning.store import FolderStore, MemoryStore, Store
from certify.poisoning.targets import Classes
from certify.poisoning.training import Ensemble, TrainingSet
from certify.poisoning.votes import RULES

T = TypeVar("T")
EDITS = (0, 100, 200, 300, 400, 448, 500, 550)
PART = 2500
"""Inputs that are ranked at a time: a ranking takes a byte per classifier and class."""


def main() -> None:
    """Prints a line per d and rule, and writes all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", help="folder with the four IDX files")
    parser.add_argument("--k", type=int, default=1200)
    parser.add_argument("--d", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--images", type=int, default=60_000, help="training images (default: all)")
    parser.add_argument("--store", type=Path, help="folder for the models")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    training, test = (load_data(f"mnist:{arguments.mnist}", split=split) for split in ("train", "test"))
    spent: dict[str, list[float]] = {}
    x, y, look = training.x[: arguments.images], training.y[: arguments.images], Look()
    seen = timed(spent, "features", lambda: described(x, look, look.turns))
    asked = timed(spent, "features of the test", lambda: described(test.x, look))
    print(json.dumps(spent), flush=True)
    pixels = np.rint(x * 255).astype(np.int64)
    store: Store = MemoryStore() if arguments.store is None else FolderStore(arguments.store)
    rows = []
    for d in arguments.d:
        spread = disjoint(arguments.k) if d == 1 else finite(arguments.k, d)
        data = TrainingSet(seen, y, Classes(10), pixel_sum(pixels, y, spread.units))
        for row in measured(Ensemble(look.learner(), data, spread, 0, store), asked, test.y):
            rows.append({"d": d, "images": len(y)} | row)
            print(json.dumps(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def measured(ensemble: Ensemble, X: np.ndarray, y: np.ndarray) -> Iterator[dict]:
    """Figures of one ensemble under each rule, with the wall and processor seconds of each step."""
    spent: dict[str, list[float]] = {}
    timed(spent, "train", ensemble.train)
    radii: dict[str, list[np.ndarray]] = {rule: [] for rule in RULES}
    right = 0.0
    for start in range(0, len(y), PART):
        part = slice(start, start + PART)
        votes = timed(spent, "votes", partial(ensemble.rankings, X[part]))
        right += float((votes.ballots == y[part]).sum()) / len(votes.ballots)
        for rule, found in radii.items():
            ask = partial(certify_votes, votes, ensemble.spread, partition="pixel_sum", rule=rule, labels=y[part])
            certificate = timed(spent, rule, ask)
            found.append(certificate.correct_radii)
    for rule, found in radii.items():
        base = {"rule": rule, "base": round(100 * right / len(y), 2)}
        yield base | figures(np.concatenate(found)) | {"seconds (wall, processor)": spent}


def timed(spent: dict[str, list[float]], step: str, function: Callable[[], T]) -> T:
    """The function's value; its seconds are added up."""
    wall, processor = time.perf_counter(), time.process_time()
    value = function()
    before = spent.get(step, [0.0, 0.0])
    seconds = time.perf_counter() - wall, time.process_time() - processor
    spent[step] = [round(old + new, 1) for old, new in zip(before, seconds, strict=True)]
    return value


def figures(radii: np.ndarray) -> dict:
    """Accuracies in per cent, from the radii of all inputs with -1 for wrong answers."""
    curve = {str(size): round(100 * float((radii >= size).mean()), 2) for size in EDITS}
    median = int(np.sort(radii)[::-1][(len(radii) - 1) // 2])
    return {"clean": curve["0"], "certified": curve, "median": median}


if __name__ == "__main__":
    main()
