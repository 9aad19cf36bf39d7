"""Arguments of `certify poison` and its actions. Imports nothing heavy."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from certify.cli.arguments import (
    METHODS,
    add_norm_and_domain,
    add_units,
    command_parser,
    count,
    output_file,
    positive,
    radius,
    seed,
)
from certify.poisoning.threats import THREATS

PARTITIONS = ("content", "rank", "pixel_sum")
RULES = ("plurality", "runoff")
LEARNERS = "logistic, tree, forest, ridge, mlp or PACKAGE.MODULE:FUNCTION"
DATA = "digits, mnist:DIR, cifar10:DIR or FILE.npz"


def poison_parser(description: str | None, examples: str, commands: Mapping[str, Callable[..., int]]) -> argparse.ArgumentParser:
    """A parser with one action for each of `commands`, explained by the function's docstring."""
    parser = command_parser("poison", description, examples)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, command in commands.items():
        said = (command.__doc__ or "").strip()
        action = actions.add_parser(name, help=said.split("\n")[0], description=said)
        action.add_argument("--debug", action="store_true", help="show the traceback of an error")
        _ARGUMENTS[name](action)
    return parser


def share_at(text: str) -> tuple[float, int]:
    """`0.80@5`: a share and a number of edits."""
    share, _, edits = text.partition("@")
    try:
        found = float(share), int(edits)
    except ValueError:
        found = (-1.0, -1)
    if not 0 <= found[0] <= 1 or found[1] < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share and a number of edits, such as 0.80@5")
    return found


def worker(text: str) -> tuple[int, int]:
    """`i/n`: part i of n, from 0."""
    part, _, parts = text.partition("/")
    if not re.fullmatch("[0-9]{1,9}/[0-9]{1,9}", text) or int(part) >= int(parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a part such as 0/4 (of 4, counted from 0)")
    return int(part), int(parts)


def _run(action: argparse.ArgumentParser) -> None:
    action.add_argument("run", type=Path, metavar="RUN", help="folder of the run")


def _data(action: argparse.ArgumentParser, which: str) -> None:
    action.add_argument("--data", required=True, metavar="DATA", help=f"{which} data: {DATA}")
    action.add_argument("--max", type=positive, metavar="N", help="only the first N samples")
    add_units(action)


def _jobs(action: argparse.ArgumentParser) -> None:
    action.add_argument("--jobs", type=positive, metavar="N", help="processes for scikit-learn learners")


def _rule(action: argparse.ArgumentParser) -> None:
    action.add_argument("--rule", choices=RULES, default="plurality", help="how votes elect (default: plurality)")


def _partition(action: argparse.ArgumentParser) -> None:
    _run(action)
    _data(action, "training")
    action.add_argument("--k", type=positive, default=50, metavar="N", help="a classifier sees about 1/N of the data (default: 50)")
    action.add_argument("--d", type=positive, default=1, metavar="N", help="each bucket reaches N classifiers (default: 1, DPA)")
    action.add_argument("--learner", default="logistic", metavar="NAME", help=f"{LEARNERS} (default: logistic)")
    action.add_argument(
        "--partition", choices=PARTITIONS, default="content", help="how samples get into buckets (default: content)"
    )
    action.add_argument("--groups", type=Path, metavar="FILE", help="the source of each sample, a line each: buckets of sources")
    action.add_argument("--boost", type=positive, default=1, metavar="N", help="models per classifier, averaged (default: 1)")
    action.add_argument("--classes", type=count, nargs="+", metavar="C", help="all class labels (default: 0 to 9)")
    action.add_argument("--seed", type=seed, default=0, help="of all training (default: 0)")


def _train(action: argparse.ArgumentParser) -> None:
    _run(action)
    action.add_argument("--workers", type=worker, default=(0, 1), metavar="i/n", help="train part i of n only, counted from 0")
    _jobs(action)


def _votes(action: argparse.ArgumentParser) -> None:
    _run(action)
    _data(action, "test")


def _certify(action: argparse.ArgumentParser) -> None:
    _run(action)
    edits = [0, 1, 2, 5, 10, 20]
    _rule(action)
    action.add_argument("--threat", choices=THREATS, default="insert_delete", help="what one edit is (default: insert_delete)")
    action.add_argument("--edits", type=count, nargs="+", default=edits, metavar="N", help="numbers of edits to report")
    action.add_argument("--tighten", action="store_true", help="larger radii by linear programming (d > 1; slow)")
    action.add_argument("--collective", type=positive, nargs="+", default=[], metavar="N", help="also one attack on all inputs")
    action.add_argument("--attack", type=count, metavar="I", help="also a concrete attack on input I")
    action.add_argument("--json", type=output_file, metavar="FILE", help="write the certificate")
    group = action.add_argument_group("both threats at once (learner mlp or another torch learner)")
    group.add_argument(
        "--evasion-eps", type=radius, metavar="E", help="inputs may also move so far: votes count where this is proved"
    )
    group.add_argument("--method", choices=METHODS, default="crown", help="how votes are proved (default: crown)")
    add_norm_and_domain(group)


def _check(action: argparse.ArgumentParser) -> None:
    action.add_argument("record", type=Path, metavar="OUT.json", help="what `certify poison certify --json` wrote")
    limits = action.add_argument("--min-certified-accuracy", type=share_at, nargs="+", required=True, metavar="SHARE@EDITS")
    limits.help = "such as 0.80@5: at least 80 % right and certified for 5 edits"


def _audit(action: argparse.ArgumentParser) -> None:
    _run(action)
    _rule(action)
    action.add_argument("--top", type=positive, default=20, metavar="N", help="how many buckets (default: 20)")


def _update(action: argparse.ArgumentParser) -> None:
    _run(action)
    action.add_argument("--add", metavar="DATA", help=f"samples to add: {DATA}")
    add_units(action)
    action.add_argument("--groups", type=Path, metavar="FILE", help="the sources of added samples, a line each")
    action.add_argument("--remove", type=Path, metavar="FILE", help="indices of samples to remove, a line each")
    _jobs(action)


def _verify(action: argparse.ArgumentParser) -> None:
    _run(action)
    action.add_argument("--retrain", type=positive, default=3, metavar="N", help="how many classifiers (default: 3)")
    action.add_argument("--bucket", type=count, default=0, metavar="U", help="the bucket that is changed (default: 0)")


_ARGUMENTS: Mapping[str, Callable[[argparse.ArgumentParser], None]] = {
    "partition": _partition,
    "train": _train,
    "votes": _votes,
    "certify": _certify,
    "check": _check,
    "audit": _audit,
    "update": _update,
    "verify": _verify,
    "demo": lambda action: None,
}
