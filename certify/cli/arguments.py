"""Arguments that several commands share, and how their values are read. Imports nothing heavy."""

from __future__ import annotations

import argparse
import os
import re
from fractions import Fraction
from math import inf
from pathlib import Path

# Exponents have at most three digits: an exact 1e999999999 would fill the memory.
NUMBER = re.compile(r"[+-]?(\d+(/\d+)?|(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?)", re.IGNORECASE)
MOST_CHARACTERS = 1000
TINY, HUGE = Fraction(1, 10**300), Fraction(10**300)
LARGEST_COUNT = 10**12
MOST_SECONDS = 1e8
LAYOUTS = ("nchw", "nhwc")
METHODS = ("ibp", "crown-ibp", "crown", "forward", "alpha-crown")


def command_parser(name: str, description: str | None, examples: str) -> argparse.ArgumentParser:
    """A parser for `certify NAME` that shows `examples` under its options."""
    parser = argparse.ArgumentParser(
        prog=f"certify {name}",
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=name)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def number(text: str) -> Fraction:
    """An exact rational from `2/255`, `0.1` or `1e-3`, within the range of floating-point numbers."""
    if len(text) > MOST_CHARACTERS or not NUMBER.fullmatch(text) or re.search(r"/0+$", text):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number such as 2/255, 0.1 or 1e-3")
    value = Fraction(text)
    if value and not TINY <= abs(value) <= HUGE:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is beyond the range of floating-point numbers")
    return value


def probability(text: str) -> Fraction:
    """A number strictly between 0 and 1."""
    value = number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"an error probability lies strictly between 0 and 1, got {text}")
    return value


def noise_level(text: str) -> Fraction:
    """A positive number."""
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"the size of the noise must be positive, got {text}")
    return value


def radius(text: str) -> Fraction:
    """A number that is not negative."""
    value = number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"a radius cannot be negative, got {text}")
    return value


def positive(text: str) -> int:
    """A positive integer."""
    return _whole(text, 1, LARGEST_COUNT, f"a positive whole number up to {LARGEST_COUNT:.0e}")


def count(text: str) -> int:
    """A whole number, 0 included."""
    return _whole(text, 0, LARGEST_COUNT, f"a whole number up to {LARGEST_COUNT:.0e}")


def seed(text: str) -> int:
    """A whole number of at most 63 bits: what every generator of random numbers takes."""
    return _whole(text, 0, 2**63 - 1, "a seed, a whole number from 0 to 2^63 - 1")


def _whole(text: str, least: int, most: int, what: str) -> int:
    value = int(text) if re.fullmatch("[0-9]{1,19}", text) else -1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {what}")
    return value


def seconds(text: str) -> float:
    """A positive number of seconds."""
    value = float(number(text))
    if not 0 < value <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"a time limit must be positive and at most {MOST_SECONDS:g} seconds, got {text[:40]}")
    return value


def output_file(text: str) -> Path:
    """A file that can be made: refused before the work starts, not after it."""
    path = Path(text)
    try:
        if path.is_dir() or not path.parent.is_dir():
            raise argparse.ArgumentTypeError(f"cannot write {text!r}: it has to be a file in a folder that exists")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise argparse.ArgumentTypeError(f"cannot write {text!r}: permission denied")
    except (OSError, ValueError) as error:  # names that no file can have
        raise argparse.ArgumentTypeError(f"cannot write {text[:80]!r}: {getattr(error, 'strerror', None) or error}") from None
    return path


def norm(text: str) -> float:
    """The p of an l_p norm: 1, 2 or inf."""
    norms = {"1": 1.0, "2": 2.0, "inf": inf, "linf": inf, "l1": 1.0, "l2": 2.0}
    if text.lower() not in norms:
        raise argparse.ArgumentTypeError(f"{text!r} is not a supported norm: 1, 2 or inf")
    return norms[text.lower()]


def add_model(parser: argparse.ArgumentParser) -> None:
    """`MODEL`, or a module made by a function together with its weights."""
    parser.add_argument("model", metavar="MODEL", nargs="?", help="an .onnx, .onnx.gz or .pt2 file")
    add_architecture(parser)


def add_architecture(parser: argparse.ArgumentParser) -> None:
    """`--arch` and `--weights`: a torch module in place of a model file."""
    group = parser.add_argument_group("instead of a model file")
    group.add_argument("--arch", metavar="PACKAGE.MODULE:FUNCTION", help="a function that returns a torch.nn.Module")
    group.add_argument("--weights", metavar="FILE", help="its state dict: .safetensors, or .pt without pickled code")
    group.add_argument(
        "--input-shape", type=positive, nargs="+", metavar="N", help="shape of one input, without the batch axis, such as 3 32 32"
    )


def add_region(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """An l_p ball around a point, inside a data domain."""
    group = parser.add_argument_group("around a point")
    group.add_argument("--around", metavar="X.npy", help="the centre, one input")
    group.add_argument("--eps", type=radius, metavar="E", help="radius, exact: 2/255 and 0.1 are taken as written")
    add_norm_and_domain(group)
    add_units(group)
    return group


def add_units(group: argparse._ActionsContainer) -> None:
    """`--scale` and `--layout`: how arrays in files are to be understood."""
    group.add_argument(
        "--scale", type=number, metavar="S", help="divide inputs by S (default: bytes by 255, other numbers by nothing)"
    )
    group.add_argument("--layout", choices=LAYOUTS, help="nchw: channels come first in the file (default); nhwc: they come last")


def add_norm_and_domain(group: argparse._ActionsContainer) -> None:
    """`--norm` and `--domain`."""
    group.add_argument("--norm", type=norm, default=inf, metavar="P", help="1, 2 or inf (default)")
    group.add_argument(
        "--domain",
        type=number,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="values that data can take: the ball is cut off there, as in --domain 0 1",
    )


def add_threshold(group: argparse._ActionsContainer) -> None:
    """`--threshold`."""
    group.add_argument(
        "--threshold",
        type=number,
        metavar="T",
        help="of a network with one score: class 1 above it, class 0 below; 0 for a logit, 1/2 for a probability",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """`--device`."""
    parser.add_argument("--device", default="cpu", help="where to compute: cpu (default), cuda, cuda:1")
