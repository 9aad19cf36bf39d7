"""Holds every operation of the front ends against those who define it, at hostile points, for as many rounds as asked for.

    python bench/fuzz_front_ends.py --rounds 100 [--from 0] [--only torch]

Prints each disagreement on a line of its own; exits with 1 where there is any. `make test` runs the first round.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

Fuzz = Callable[[Iterable[int]], Iterator[str]]


def torch_operations(seeds: Iterable[int]) -> Iterator[str]:
    """Every ATen operation against torch."""
    from certify.io.torch.program import HANDLERS
    from tests.io.fuzz_torch import disagreements

    return disagreements(sorted(HANDLERS), seeds)


def onnx_operators(seeds: Iterable[int]) -> Iterator[str]:
    """Every ONNX operator against onnxruntime and the standard."""
    from certify.io.onnx.table import HANDLERS
    from tests.io.fuzz_onnx import disagreements

    return disagreements(sorted(HANDLERS), seeds)


def damaged_onnx(seeds: Iterable[int]) -> Iterator[str]:
    """Damaged ONNX files, a hundred a seed: what ends in anything but a model that agrees with onnxruntime, or one line."""
    from tests.io.fuzz_onnx import mishaps

    return mishaps(number for seed in seeds for number in range(100 * seed, 100 * seed + 100))


FRONT_ENDS: Mapping[str, Fuzz] = {"torch": torch_operations, "onnx": onnx_operators, "damaged": damaged_onnx}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="SEED")
    parser.add_argument("--only", choices=sorted(FRONT_ENDS))
    options = parser.parse_args()
    wrong = 0
    for name in [options.only] if options.only else FRONT_ENDS:
        start = time.perf_counter()
        for line in FRONT_ENDS[name](range(options.first, options.first + options.rounds)):
            wrong += 1
            print(f"{name}: {line}", flush=True)
        print(f"{name}: {options.rounds} rounds in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
