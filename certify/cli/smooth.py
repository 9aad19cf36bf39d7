"""Randomized smoothing: certificates for any classifier, each wrong with probability at most alpha."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certify.cli.arguments import command_parser, noise_level, number, positive, probability, radius, seed
from certify.cli.smooth_inputs import Inputs, add_run, classifiers, header, load_inputs, number_of_classes

if TYPE_CHECKING:
    from torch import Tensor

    from certify.smoothing.smoothed import Smoothed

EXAMPLES = """\
  certify smooth net.onnx --data mnist:data/mnist --sigma 0.25 --n 100000 --alpha 0.001 --skip 20 --out run.tsv
  certify smooth net.pt2 --data digits --sigma 1/4 --radius 0.5 --sequential --out decided.tsv
  certify smooth --dual left.onnx right.onnx --data digits --sigma 0.18 --n 10000 --out dual.tsv
  certify smooth --arch mynet:small --weights small.pt --input-range -1 1 --data digits --sigma 0.25 --out own.tsv
  certify smooth exact net.onnx --data mnist:data/mnist --passes 510 --out l1.tsv
  certify smooth plan --sigma 0.5 --radius 1.5
  certify smooth audit run.tsv --sigma 0.25 --n 100000 --alpha 0.001

A run that is started again with the same settings goes on where it stopped. OUT.tsv has the usual columns; OUT.jsonl
holds the counts and all that is needed to check every radius."""

VARIANTS = ("pa", "pa-pb", "one-sample", "dual", "dual-pa-pb", "probit", "probit-pa-pb", "uniform-l1", "uniform-l1-pa-pb")
RULES = ("betting", "union", "curtailed")
NOISES = ("auto", "integer", "real", "uniform")
DEFAULT_VARIANT = {"uniform": "uniform-l1"}


def main(argv: Sequence[str]) -> int:
    """Runs `plan`, `audit` or `exact`, or certifies a data set."""
    if argv and argv[0] in SUBCOMMANDS:
        return SUBCOMMANDS[argv[0]](argv[1:])
    return _certify(_parser().parse_args(argv))


def _plan(argv: Sequence[str]) -> int:
    from certify.cli import smooth_plan

    return smooth_plan.main(argv)


def _audit(argv: Sequence[str]) -> int:
    from certify.cli import smooth_audit

    return smooth_audit.main(argv)


def _exact(argv: Sequence[str]) -> int:
    from certify.cli import smooth_exact

    return smooth_exact.main(argv)


SUBCOMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {"plan": _plan, "audit": _audit, "exact": _exact}


def _certify(arguments: argparse.Namespace) -> int:
    from certify.report.smoothing import markdown, summary
    from certify.smoothing.logs import read_log
    from certify.smoothing.run import Journal

    _check(arguments)
    inputs = load_inputs(arguments)
    smoothed = build(arguments, inputs)
    journal = Journal(Path(arguments.out), header(arguments, inputs.units, settings(arguments, smoothed)))
    work = _decide_rows if arguments.sequential else _certify_rows
    ledger = work(arguments, smoothed, inputs, journal)
    print(markdown([summary(read_log(journal.jsonl), arguments.radii)]))
    print("\n" + "\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in ledger.summary().items()))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """A ValueError for numbers that mean nothing, before anything is loaded."""
    if arguments.sequential and arguments.radius is None:
        raise ValueError("--sequential decides at one radius: add --radius R")


def _certify_rows(arguments: argparse.Namespace, smoothed: Smoothed, inputs: Inputs, journal: Any) -> Any:
    from certify.cli.progress import progress_bar
    from certify.smoothing.run import run

    with progress_bar("certify", len(inputs.rows)) as advance:
        work = inputs.x, inputs.labels, inputs.rows
        return run(smoothed, *work, arguments.n0, arguments.n, arguments.alpha, journal, advance)


def _decide_rows(arguments: argparse.Namespace, smoothed: Smoothed, inputs: Inputs, journal: Any) -> Any:
    from certify.cli.progress import progress_bar
    from certify.smoothing.run import Inquiry, run_sequential

    inquiry = Inquiry(float(arguments.radius), arguments.rule, arguments.n0, arguments.n)
    with progress_bar("decide", len(inputs.rows)) as advance:
        work = inputs.x, inputs.labels, inputs.rows
        return run_sequential(smoothed, *work, inquiry, arguments.alpha, journal, advance)


def build(arguments: argparse.Namespace, inputs: Inputs) -> Smoothed:
    """The smoothed classifier that the arguments describe."""
    from certify.smoothing.dual import checkerboard, dual_smoothed
    from certify.smoothing.sampling import Sampler
    from certify.smoothing.smoothed import Smoothed

    networks, x = classifiers(arguments), inputs.x
    classes = number_of_classes(arguments, networks[0], x[:1], inputs.labels)
    scales = [float(s) for s in arguments.sigma] * (len(networks) // len(arguments.sigma))
    if len(scales) != len(networks):
        raise ValueError(f"--sigma takes one number, or with --dual two; got {len(arguments.sigma)}")
    noises = [noise(arguments.noise, scale, x) for scale in scales]
    variant = arguments.variant or ("dual" if arguments.dual else DEFAULT_VARIANT.get(arguments.noise, "pa"))
    if arguments.dual:
        if x.ndim != 4:
            raise ValueError(f"--dual halves images (count, channels, height, width), not inputs of shape {list(x.shape)}")
        mask, batch = checkerboard(*x.shape[-2:]), arguments.batch
        left, right = networks
        return dual_smoothed(
            left, right, classes, noises, mask, variant=variant, bound=arguments.bound, seed=arguments.seed, batch=batch
        )
    sampler = Sampler(networks[0], classes, noises[0], arguments.seed, arguments.batch)
    return Smoothed((sampler,), variant, arguments.bound)


def noise(kind: str, scale: float, x: Tensor) -> Any:
    """The smoothing distribution of a kind at a scale."""
    from certify.smoothing.noise import Gaussian, GridGaussian, Uniform, gaussian_for

    fixed: Mapping[str, Callable[[float], Any]] = {"integer": GridGaussian, "real": Gaussian, "uniform": Uniform}
    return gaussian_for(x, scale) if kind == "auto" else fixed[kind](scale)


def settings(arguments: argparse.Namespace, smoothed: Smoothed) -> dict[str, Any]:
    """What the header says as numbers, and what the arguments left to be found out."""
    numbers = {"n0": arguments.n0, "n": arguments.n, "seed": arguments.seed, "sigma": [float(s) for s in arguments.sigma]}
    return numbers | {"variant": smoothed.variant, "arithmetic": smoothed.parts[0].noise.arithmetic}


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("smooth", __doc__, EXAMPLES)
    add_run(parser)
    parser.add_argument("--dual", nargs=2, metavar=("LEFT", "RIGHT"), help="two classifiers, for the halves of a checkerboard")
    parser.add_argument(
        "--sigma", type=noise_level, nargs="+", required=True, metavar="S", help="noise; half the width for --noise uniform"
    )
    parser.add_argument("--noise", choices=NOISES, default="auto", help="auto: integers where inputs are 8-bit levels, else real")
    parser.add_argument("--n0", type=positive, default=100, metavar="N", help="samples that choose the class (100)")
    parser.add_argument("--n", type=positive, default=100_000, metavar="N", help="samples that bound its probability (100000)")
    parser.add_argument(
        "--alpha", type=probability, default=number("0.001"), metavar="A", help="error probability per input (0.001)"
    )
    parser.add_argument("--variant", choices=VARIANTS, help="which bounds go into which formula (pa; dual with --dual)")
    parser.add_argument("--bound", choices=("cp", "betting"), default="cp", help="confidence bound: exact, or valid at all times")
    parser.add_argument("--radius", type=radius, metavar="R", help="with --sequential: the radius in question")
    parser.add_argument("--sequential", action="store_true", help="decide at --radius only, with as few samples as that takes")
    parser.add_argument("--rule", choices=RULES, default="betting", help="how --sequential stops")
    parser.add_argument("--seed", type=seed, default=0, help="of the noise (0)")
    return parser
