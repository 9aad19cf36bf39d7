"""What `certify smooth` and `certify smooth exact` share: which classifier, which data, which log."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from certify.cli.arguments import add_device, number, positive, radius

if TYPE_CHECKING:
    from torch import Tensor

    from certify.smoothing.sampling import Classify

NOT_SETTINGS = ("command", "debug", "out", "radii", "max", "device", "model", "dual", "weights")
"""Arguments that a run may be continued without repeating, and files, which headers name by their hashes."""


def add_run(parser: argparse.ArgumentParser) -> None:
    """The model, the data and the log."""
    parser.add_argument("model", metavar="MODEL", nargs="?", help="an .onnx, .onnx.gz or .pt2 classifier")
    parser.add_argument("--arch", metavar="PACKAGE.MODULE:FUNCTION", help="in place of MODEL: a function that returns a module")
    parser.add_argument("--weights", metavar="FILE", help="its state dict: .safetensors, or .pt without pickled code")
    parser.add_argument(
        "--input-range",
        type=number,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="what MODEL takes for the data's 0 and 1, as in --input-range -1 1; noise and radii stay in units of the data",
    )
    parser.add_argument("--data", required=True, metavar="DATA", help="digits, mnist:DIR, cifar10:DIR or FILE.npz")
    parser.add_argument("--skip", type=positive, default=1, metavar="K", help="every K-th input only")
    parser.add_argument("--max", type=positive, metavar="N", help="at most N inputs")
    parser.add_argument("--batch", type=positive, default=256, metavar="N", help="rows that the network sees at a time (256)")
    parser.add_argument("--radii", type=radius, nargs="+", default=None, metavar="R", help="radii of the table")
    parser.add_argument("--out", required=True, metavar="FILE", help="the log: FILE.tsv and FILE.jsonl")
    add_device(parser)


def load_inputs(arguments: argparse.Namespace) -> tuple[Tensor, list[int], Sequence[int]]:
    """All inputs, their labels, and the rows to look at."""
    import torch

    from certify.io.datasets import load_data

    data = load_data(arguments.data)
    rows = range(0, len(data.y), arguments.skip)[: arguments.max]
    return torch.as_tensor(data.x, device=arguments.device), data.y.tolist(), rows


def classifiers(arguments: argparse.Namespace) -> list[Classify]:
    """The one classifier, or those of the two halves, for inputs in the units of the data."""
    from certify.smoothing.classifiers import load_classifier, rescaled

    named = _named(arguments)
    found = [_module(arguments)] if arguments.arch else [load_classifier(file, arguments.device) for file in named]
    if arguments.input_range is None:
        return found
    low, high = map(float, arguments.input_range)
    return [rescaled(classify, low, high) for classify in found]


def header(arguments: argparse.Namespace, settings: Mapping[str, Any]) -> dict[str, Any]:
    """First line of the JSON lines: what was asked, of which files, with which versions."""
    from certify.cli.record import file_entry, versions

    said = {name: str(value) for name, value in vars(arguments).items() if name not in NOT_SETTINGS}
    files = [file for file in (*_named(arguments), arguments.weights) if file is not None]
    return {
        "schema": "certify.smooth/1",
        "settings": {**said, **settings},
        "files": [file_entry(file) for file in files],
        "versions": versions(),
    }


def _named(arguments: argparse.Namespace) -> list[str]:
    """The model's file, or the two halves', or none with `--arch`; a ValueError where not exactly one of these is asked for."""
    halves = getattr(arguments, "dual", None)
    if [arguments.model, halves, arguments.arch].count(None) != 2:
        raise ValueError("name exactly one classifier: MODEL, --arch PACKAGE.MODULE:FUNCTION, or --dual LEFT RIGHT")
    return halves or [file for file in (arguments.model,) if file]


def _module(arguments: argparse.Namespace) -> Callable[[Tensor], Tensor]:
    from certify.io.weights import load_arch

    return load_arch(arguments.arch, arguments.weights).to(arguments.device)
