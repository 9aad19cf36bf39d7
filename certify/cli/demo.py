"""Certifies the models shipped with the project on real test images, and prints a table.

The folder's `demo.json` lists models, data sets, radii and methods. Digits come with scikit-learn; MNIST is looked for in
the folder `mnist` of the data folder, and left out where there is none.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from certify.cli.arguments import command_parser

EXAMPLES = """\
  certify demo                            the models in ./models
  certify demo models --data /data        with MNIST from /data/mnist"""


def main(argv: Sequence[str]) -> int:
    """Prints one line for every model and radius."""
    from certify.cli.accuracy import cells, header
    from certify.cli.table import table
    from certify.io.text import read_json

    arguments = _parser().parse_args(argv)
    plan = read_json(arguments.models / "demo.json")
    methods = plan["methods"]
    found = [(entry["model"], _rows(entry, methods, arguments.models, arguments.data)) for entry in plan["models"]]
    lines = [(model, *cells(row)) for model, rows in found for row in rows]
    print(table(("model", *header(methods)), lines))
    return 0


def _rows(entry: dict[str, Any], methods: Sequence[str], models: Path, data: Path) -> list[dict[str, Any]]:
    """The results for one model at every radius; none, with a note, where its data set is not there."""
    import certify
    from certify.cli.accuracy import evaluate
    from certify.io.datasets import load_data
    from certify.search.accuracy import Threat

    folder = data / entry["data"]
    if entry["data"] != "digits" and not folder.is_dir():
        print(f"{entry['model']}: left out, there is no {folder} (set CERTIFY_DATA, or --data)", file=sys.stderr)
        return []
    images = load_data("digits" if entry["data"] == "digits" else f"{entry['data']}:{folder}", entry["inputs"])
    model = certify.load(str(models / entry["model"]))
    return [evaluate(model, images, Threat(eps), methods) for eps in entry["eps"]]


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("demo", __doc__, EXAMPLES)
    parser.add_argument("models", type=Path, nargs="?", default=Path("models"), metavar="DIR", help="the folder with demo.json")
    data = Path(os.environ.get("CERTIFY_DATA") or Path("..", "shared", "data"))
    parser.add_argument("--data", type=Path, default=data, metavar="DIR", help="folder of data sets (default: %(default)s)")
    return parser
