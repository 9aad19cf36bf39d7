"""Reports: of verification runs, of smoothing logs, of poisoning certificates. What a file is, is known by its content.

A verification run is checked on the way: every witness is run again, and what contradicts an expected verdict, a baseline or a
witness stands at the top.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from certify.cli.arguments import command_parser, count, number, output_file, radius
from certify.cli.files import write_whole

EXAMPLES = """\
  certify report runs.sqlite --format html --out report.html
  certify report runs.sqlite --baseline other.sqlite --format html --out report.html
  certify report runs.sqlite --run 2 --baseline-run 1                          two runs of one file
  certify report run.jsonl mine.tsv --sigma 0.25 --n 100000 --alpha 0.001      smoothing
  certify report dpa.json fa.json runoff.json --format html --out curves.html  poisoning"""
FORMATS = ("md", "html", "csv", "json")
OPTIONS = ("run", "baseline", "baseline_run", "sigma", "n", "alpha", "radii", "edits")


def main(argv: Sequence[str]) -> int:
    """Prints the report, or writes it."""
    from certify.cli.progress import progress_bar
    from certify.report.formats import FORMATS as RENDER
    from certify.report.kinds import report

    arguments = _parser().parse_args(argv)
    given = {name: value for name in OPTIONS if (value := getattr(arguments, name)) is not None}
    text = RENDER[arguments.format](report(arguments.files, given, progress_bar))
    if arguments.out is None:
        sys.stdout.write(text)
    else:
        write_whole(arguments.out, text)
        print(f"{arguments.out}: {len(text.encode()) / 1000:.0f} kB", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("report", __doc__, EXAMPLES)
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="files of one kind")
    parser.add_argument("--format", choices=FORMATS, default="md", help="md (default), html, csv or json")
    parser.add_argument("--out", type=output_file, metavar="FILE", help="write it there instead of printing it")
    runs = parser.add_argument_group("verification runs")
    runs.add_argument("--run", metavar="NAME|ID", help="which run of the file (default: the newest)")
    runs.add_argument("--baseline", type=Path, metavar="OTHER.sqlite", help="the file of a run to compare with")
    runs.add_argument("--baseline-run", metavar="NAME|ID", help="which run of that file, or of the same one if no other is named")
    smoothing = parser.add_argument_group("smoothing logs")
    smoothing.add_argument("--sigma", type=number, metavar="S", help="noise, where the logs do not say it")
    smoothing.add_argument("--n", type=number, metavar="N", help="samples, likewise")
    smoothing.add_argument("--alpha", type=number, metavar="A", help="error probability, likewise")
    smoothing.add_argument("--radii", type=radius, nargs="+", metavar="R", help="radii of the table")
    poisoning = parser.add_argument_group("poisoning certificates")
    poisoning.add_argument("--edits", type=count, nargs="+", metavar="N", help="numbers of edits in the table")
    return parser
