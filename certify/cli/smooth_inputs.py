"""What `certify smooth` and `certify smooth exact` share: which classifier, which data, which log."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from certify.cli.arguments import add_device, add_units, number, positive, radius
from certify.cli.inputs import named_module

if TYPE_CHECKING:
    from torch import Tensor

    from certify.io.units import Units
    from certify.smoothing.answers import Classify

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
    parser.add_argument(
        "--threshold", type=number, metavar="T", help="for a MODEL with one score: class 1 where it lies above T, else class 0"
    )
    parser.add_argument("--classes", type=positive, metavar="C", help="number of classes (default: the number of MODEL's scores)")
    parser.add_argument("--data", required=True, metavar="DATA", help="digits, mnist:DIR, cifar10:DIR or FILE.npz")
    add_units(parser)
    parser.add_argument("--skip", type=positive, default=1, metavar="K", help="every K-th input only")
    parser.add_argument("--max", type=positive, metavar="N", help="at most N inputs")
    parser.add_argument("--batch", type=positive, default=256, metavar="N", help="rows that the network sees at a time (256)")
    parser.add_argument("--radii", type=radius, nargs="+", default=None, metavar="R", help="radii of the table")
    parser.add_argument("--out", required=True, metavar="FILE", help="the log: FILE.tsv and FILE.jsonl")
    add_device(parser)


@dataclass(frozen=True)
class Inputs:
    """All inputs on the device, their labels, the rows to look at, and the units."""

    x: Tensor
    labels: list[int]
    rows: Sequence[int]
    units: Units


def load_inputs(arguments: argparse.Namespace) -> Inputs:
    """The data that the arguments name; what looks wrong about their units is said."""
    import torch

    from certify.cli.inputs import check_device, load_dataset, said
    from certify.io.units import notes

    check_device(arguments.device)
    data = load_dataset(arguments, arguments.data, None, "test")
    sigma = max(getattr(arguments, "sigma", [0]))
    said(notes(data.units, sigma, what="sigma"))
    rows = range(0, len(data.y), arguments.skip)[: arguments.max]
    return Inputs(torch.as_tensor(data.x, device=arguments.device), data.y.tolist(), rows, data.units)


def classifiers(arguments: argparse.Namespace) -> list[Classify]:
    """The one classifier, or those of the two halves, for inputs in the units of the data."""
    from certify.smoothing.answers import by_threshold
    from certify.smoothing.classifiers import as_classifier, load_classifier, rescaled

    found = [load_classifier(file, arguments.device) for file in _named(arguments)]
    if arguments.arch:
        found = [as_classifier(named_module(arguments).to(arguments.device))]
    if arguments.input_range is not None:
        low, high = map(float, arguments.input_range)
        found = [rescaled(classify, low, high) for classify in found]
    if arguments.threshold is not None:
        found = [by_threshold(classify, float(arguments.threshold)) for classify in found]
    return found


def number_of_classes(arguments: argparse.Namespace, classify: Classify, example: Tensor, labels: Sequence[int]) -> int:
    """How many classes the classifier tells apart; a ValueError where the labels of the data are not among them."""
    import torch

    from certify.smoothing.answers import BaseClassifier, classes_of

    classes = arguments.classes or classes_of(classify, example)
    with torch.no_grad():
        BaseClassifier(classify, classes).labels(example)  # refuses what does not tell so many apart, before a log is made
    if max(labels) >= classes:
        raise ValueError(f"the classifier has {classes} classes, and the labels of {arguments.data} go up to {max(labels)}")
    return classes


def header(arguments: argparse.Namespace, units: Units, settings: Mapping[str, Any]) -> dict[str, Any]:
    """First line of the JSON lines: what was asked, of which files, with which versions."""
    from certify.cli.record import file_entry, versions

    said = {name: str(value) for name, value in vars(arguments).items() if name not in NOT_SETTINGS}
    files = [file for file in (*_named(arguments), arguments.weights) if file is not None]
    return {
        "schema": "certify.smooth/1",
        "settings": {**said, **settings},
        "units": units.record(),
        "files": [file_entry(file) for file in files],
        "versions": versions(),
    }


def _named(arguments: argparse.Namespace) -> list[str]:
    """The model's file, or the two halves', or none with `--arch`; a ValueError where not exactly one of these is asked for."""
    halves = getattr(arguments, "dual", None)
    if [arguments.model, halves, arguments.arch].count(None) != 2:
        raise ValueError("name exactly one classifier: MODEL, --arch PACKAGE.MODULE:FUNCTION, or --dual LEFT RIGHT")
    return halves or ([] if arguments.model is None else [arguments.model])
