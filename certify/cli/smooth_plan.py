"""What a number of samples can certify, and how many a radius needs. No model is run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from certify.cli.arguments import command_parser, noise_level, number, positive, probability, radius

EXAMPLES = """\
  certify smooth plan --sigma 0.5 --n 100000
  certify smooth plan --sigma 0.25 0.5 1 --radius 1.5 --alpha 0.001"""


def main(argv: Sequence[str]) -> int:
    """Prints a table with a row for every noise level."""
    arguments = _parser().parse_args(argv)
    from certify.cli.table import table
    from certify.smoothing.logs import floor_digits
    from certify.smoothing.plan import largest_radius, samples_needed, samples_to_predict

    def needed(sigma: float) -> str:
        try:
            return str(samples_needed(float(arguments.radius), arguments.alpha, sigma, arguments.variant))
        except ValueError:
            return "out of reach"

    titles = ["sigma", f"largest radius, n = {arguments.n}"]
    largest = (largest_radius(arguments.n, arguments.alpha, float(s), arguments.variant) for s in arguments.sigma)
    cells = [[f"{float(s):g}", floor_digits(r, 4)] for s, r in zip(arguments.sigma, largest, strict=True)]
    if arguments.radius is not None:
        titles.append(f"samples for radius {float(arguments.radius):g}")
        cells = [[*row, needed(float(sigma))] for row, sigma in zip(cells, arguments.sigma, strict=True)]
    print(table(titles, cells))
    print(f"\nsamples below which predict always abstains: {samples_to_predict(arguments.alpha)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("smooth plan", __doc__, EXAMPLES)
    parser.add_argument("--sigma", type=noise_level, nargs="+", required=True, metavar="S", help="noise levels")
    parser.add_argument("--n", type=positive, default=100_000, metavar="N", help="samples (100000)")
    parser.add_argument("--alpha", type=probability, default=number("0.001"), metavar="A", help="error probability (0.001)")
    parser.add_argument("--radius", type=radius, metavar="R", help="a radius to reach")
    parser.add_argument("--variant", choices=("pa", "pa-pb", "dual"), default="pa", help="which formula (pa)")
    return parser
