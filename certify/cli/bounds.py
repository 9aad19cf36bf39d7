"""Bounds of a model's outputs, of linear objectives of them, or of any node, over a box or an l_p ball."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from certify.cli.arguments import METHODS, add_device, add_model, add_region, command_parser

if TYPE_CHECKING:
    import numpy as np

    from certify.sets import Box, LpBall

EXAMPLES = """\
  certify bounds model.onnx --around x.npy --eps 2/255 --domain 0 1
  certify bounds model.pt2 --box box.npz --method alpha-crown --json
  certify bounds model.onnx --box box.npz --node /conv2/Conv       bounds of a hidden node
  certify bounds model.onnx --box box.npz --objective rows.npy     rows of shape (objectives, outputs)"""


def main(argv: Sequence[str]) -> int:
    """Prints lower and upper bound of every output, node element or objective row."""
    from certify.cli.inputs import (
        check_device,
        load_array,
        load_model,
        load_point,
        model_files,
        notes_around,
        read_ball,
        read_box,
        said,
    )
    from certify.cli.record import run_record

    arguments = _parser().parse_args(argv)
    started = time.perf_counter()
    check_device(arguments.device)
    if (arguments.box is None) == (arguments.around is None):
        raise ValueError("name exactly one region: --box FILE.npz, or --around X.npy --eps E")
    around = None if arguments.around is None else load_point(arguments)
    model = load_model(arguments, None if around is None else around[0].shape)
    region: Box | LpBall = read_box(arguments.box, model) if around is None else read_ball(arguments, model, *around)
    objective = None if arguments.objective is None else load_array(arguments.objective)
    said([] if around is None else notes_around(arguments, *around))

    import certify
    from certify.bounds.rounding import OUTWARD

    region = region.map(lambda tensor: tensor.to(arguments.device))
    ends = certify.bounds(model, region, arguments.method, objective, node=arguments.node, rounding=OUTWARD)
    lower, upper = (end.detach().cpu().numpy() for end in ends)
    if arguments.json:
        units = {} if around is None else {"units": around[1].record()}
        print(run_record(arguments, model_files(arguments), started, lower=lower, upper=upper, **units))
    else:
        _print_table(lower, upper)
    return 0


def _print_table(lower: np.ndarray, upper: np.ndarray) -> None:
    import numpy as np

    from certify.cli.table import table

    rows = [(str(list(index)), repr(float(lower[index])), repr(float(upper[index]))) for index in np.ndindex(*lower.shape)]
    print(table(("element", "lower", "upper"), rows))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("bounds", __doc__, EXAMPLES)
    add_model(parser)
    add_region(parser)
    parser.add_argument("--box", metavar="FILE.npz", help="a box: arrays `lower` and `upper`, of one input or of a batch")
    parser.add_argument("--method", choices=METHODS, default="crown", help="how (default: crown)")
    parser.add_argument("--node", metavar="NAME", help="bounds of this node in place of the output; `certify inspect` lists names")
    parser.add_argument("--objective", metavar="FILE.npy", help="rows of linear functions of the outputs")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_device(parser)
    return parser
