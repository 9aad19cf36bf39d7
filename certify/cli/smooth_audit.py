"""Checks a log of certification by smoothing, anybody's: could these radii have been shown by these samples?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from certify.cli.arguments import command_parser, noise_level, positive, probability

EXAMPLES = """\
  certify smooth audit run.tsv --sigma 0.25 --n 100000 --alpha 0.001
  certify smooth audit dual.tsv --sigma 0.18 --n 100000 --alpha 0.001 --formula dual
  certify smooth audit run.jsonl

The first line is `ok` or `faults: COUNT`; --expect ok makes faults the exit code 1."""


def main(argv: Sequence[str]) -> int:
    """Prints the verdict and what was found, faults first."""
    arguments = _parser().parse_args(argv)
    from certify.smoothing.audit import audit
    from certify.smoothing.logs import read_log

    sigma = None if arguments.sigma is None else float(arguments.sigma)
    findings = audit(read_log(arguments.log), sigma, arguments.n, arguments.alpha, arguments.formula)
    faults = sum(finding.fault for finding in findings)
    print(f"faults: {faults}" if faults else "ok")
    for finding in findings:
        print(f"{'fault' if finding.fault else 'note'}: {finding.text}")
    return int(bool(faults) and arguments.expect == "ok")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("smooth audit", __doc__, EXAMPLES)
    parser.add_argument("log", metavar="LOG", help="a .tsv with Cohen's columns, or the .jsonl of a run")
    parser.add_argument("--sigma", type=noise_level, metavar="S", help="the noise it states")
    parser.add_argument("--n", type=positive, metavar="N", help="the samples it states")
    parser.add_argument("--alpha", type=probability, metavar="A", help="the error probability it states")
    parser.add_argument(
        "--formula", choices=("pa", "dual"), default="pa", help="its radii: of one probability (pa), or of two halves"
    )
    parser.add_argument("--expect", choices=("ok",), help="exit code 1 on faults")
    return parser
