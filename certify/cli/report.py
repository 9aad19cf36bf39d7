"""Scores of smoothing logs side by side: certified accuracy against radius, average certified radius, abstentions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from certify.cli.arguments import command_parser, number, radius

EXAMPLES = """\
  certify report run.jsonl
  certify report mine.tsv theirs.tsv --sigma 0.25 --n 100000 --alpha 0.001 --format html > report.html"""
FORMATS = ("md", "csv", "json", "html")


def main(argv: Sequence[str]) -> int:
    """Prints the table, or the page."""
    from certify.report.smoothing import FORMATS as RENDER
    from certify.report.smoothing import summary
    from certify.smoothing.logs import read_log

    arguments = _parser().parse_args(argv)
    stated = {name: _plain(getattr(arguments, name)) for name in ("sigma", "n", "alpha") if getattr(arguments, name) is not None}
    radii = None if arguments.radii is None else [float(r) for r in arguments.radii]
    print(RENDER[arguments.format]([summary(read_log(log), radii, stated) for log in arguments.logs]))
    if len({log.rsplit(".", 1)[-1] for log in arguments.logs}) > 1:
        print("note: radii of .tsv files are rounded to three digits, those of .jsonl files are not", file=sys.stderr)
    return 0


def _plain(value: object) -> str:
    return f"{float(value):g}"  # type: ignore[arg-type]


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("report", __doc__, EXAMPLES)
    parser.add_argument("logs", metavar="LOG", nargs="+", help=".tsv files with Cohen's columns, or .jsonl files of runs")
    parser.add_argument("--sigma", type=number, metavar="S", help="noise, where the logs do not say it")
    parser.add_argument("--n", type=number, metavar="N", help="samples, likewise")
    parser.add_argument("--alpha", type=number, metavar="A", help="error probability, likewise")
    parser.add_argument("--radii", type=radius, nargs="+", metavar="R", help="radii of the table")
    parser.add_argument("--format", choices=FORMATS, default="md", help="how to print it (md)")
    return parser
