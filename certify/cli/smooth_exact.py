"""Certificates from exact votes, without sampling and without an error probability: in l_1, or against patches."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from certify.cli.arguments import command_parser, positive
from certify.cli.smooth_inputs import Inputs, add_run, classifiers, header, load_inputs, number_of_classes

if TYPE_CHECKING:
    from torch import Tensor

    from certify.smoothing.answers import Classify
    from certify.smoothing.deterministic import Scheme

EXAMPLES = """\
  certify smooth exact net.onnx --data mnist:data/mnist --passes 510 --skip 20 --out l1.tsv
  certify smooth exact bands.onnx --data mnist:data/mnist --columns 4 --out patches.tsv
  certify smooth audit l1.jsonl

Radii are l_1 distances, or with --columns and --blocks the side of a square patch, in pixels."""


def main(argv: Sequence[str]) -> int:
    """Certifies a data set and prints its table."""
    arguments = _parser().parse_args(argv)
    from pathlib import Path

    from certify.cli.progress import progress_bar
    from certify.report.smoothing import markdown, summary
    from certify.smoothing.logs import read_log
    from certify.smoothing.run import Journal
    from certify.smoothing.run_exact import run_exact

    inputs = load_inputs(arguments)
    (classify,) = classifiers(arguments)
    scheme = build(arguments, inputs.x)
    views = scheme.views(scheme.encode(inputs.x[:1])[0])
    settings = {"sigma": f"{scheme.unit}, no noise", "n": len(views), "alpha": "0"}
    classes = _classes(arguments, classify, views[:1], inputs)
    journal = Journal(Path(arguments.out), header(arguments, inputs.units, settings))
    with progress_bar("certify", len(inputs.rows)) as advance:
        work = inputs.x, inputs.labels, inputs.rows
        run_exact(classify, classes, scheme, arguments.batch, *work, journal, advance)
    print(markdown([summary(read_log(journal.jsonl), arguments.radii)]))
    return 0


def _classes(arguments: argparse.Namespace, classify: Classify, view: Tensor, inputs: Inputs) -> int:
    """How many classes a classifier of views tells apart."""
    try:
        return number_of_classes(arguments, classify, view, inputs.labels)
    except ValueError as error:
        if view.shape[1] == inputs.x.shape[1]:
            raise
        raise ValueError(f"{error}. Windows show x and 1 - x, both 0 where hidden: MODEL takes {view.shape[1]} channels") from error


def build(arguments: argparse.Namespace, x: Tensor) -> Scheme:
    """The one scheme that the arguments ask for, for inputs like `x`."""
    from certify.smoothing.deterministic import Splitting, Windows

    if x.ndim != 4 and arguments.passes is None:
        raise ValueError(f"windows are for images (count, channels, height, width), not for inputs of shape {list(x.shape)}")
    image = (x.shape[-2], x.shape[-1])
    schemes: Mapping[str, Callable[[int], Scheme]] = {
        "passes": lambda passes: Splitting(passes, arguments.levels),
        "columns": lambda width: Windows(image[0], width, image),
        "blocks": lambda side: Windows(side, side, image),
    }
    chosen = [name for name in schemes if getattr(arguments, name) is not None]
    if len(chosen) != 1:
        raise ValueError(f"ask for exactly one of {', '.join('--' + name for name in schemes)}")
    return schemes[chosen[0]](getattr(arguments, chosen[0]))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("smooth exact", __doc__, EXAMPLES)
    add_run(parser)
    parser.add_argument("--passes", type=positive, metavar="M", help="l_1: splitting noise over M levels, all of them")
    parser.add_argument("--levels", type=positive, default=255, metavar="N", help="levels of the data, 255 for bytes (default)")
    parser.add_argument("--columns", type=positive, metavar="S", help="patches: bands of S columns")
    parser.add_argument("--blocks", type=positive, metavar="S", help="patches: windows of S x S pixels")
    return parser
