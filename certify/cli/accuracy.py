"""Clean, attacked and certified accuracy of a classifier on a data set, for one or several radii and methods."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from certify.cli.arguments import (
    METHODS,
    add_device,
    add_model,
    add_norm_and_domain,
    add_threshold,
    add_units,
    command_parser,
    output_file,
    positive,
    radius,
    seed,
)
from certify.cli.files import RECORD, forget, refuse_overwriting, write_whole

if TYPE_CHECKING:
    from certify.io.datasets import Data
    from certify.model import Model
    from certify.search.accuracy import Threat

EXAMPLES = """\
  certify accuracy models/digits_mlp.onnx --data digits --eps 0.02 0.05 --method ibp crown
  certify accuracy net.onnx --data mnist:data/mnist --eps 0.1 --max 200 --json result.json
  certify accuracy net.pt2 --data images.npz --eps 1/2 --norm 2 --method alpha-crown"""


def main(argv: Sequence[str]) -> int:
    """Prints a table with a row for every radius, and writes a record if asked to."""
    from certify.cli.inputs import check_device, load_dataset, load_model, model_files, said, units_of
    from certify.cli.record import run_record
    from certify.cli.table import table
    from certify.io.units import domain_notes, notes
    from certify.search.accuracy import Threat

    forget(argv, "--json", RECORD)
    arguments = _parser().parse_args(argv)
    started = time.perf_counter()
    refuse_overwriting("--json", arguments.json, [arguments.model, arguments.data])
    check_device(arguments.device)
    data = load_dataset(arguments, arguments.data, arguments.max, "test")
    model = load_model(arguments, tuple(data.x.shape[1:]))
    domain = arguments.domain or data.domain
    units = units_of(arguments, data.units)
    said([*notes(units, max(arguments.eps), arguments.norm, data.x.shape[1:]), *domain_notes(units)])
    options = {name: getattr(arguments, name) for name in ("threshold", "batch", "seed", "device")}
    rows = [evaluate(model, data, Threat(eps, arguments.norm, domain), arguments.method, **options) for eps in arguments.eps]
    print(table(header(arguments.method), [cells(row) for row in rows]))
    if arguments.json:
        write_whole(
            arguments.json, run_record(arguments, model_files(arguments), started, results=rows, units=units.record()) + "\n"
        )
    return 0


def evaluate(
    model: Model,
    data: Data,
    threat: Threat,
    methods: Sequence[str],
    *,
    threshold: Fraction | None = None,
    batch: int = 64,
    seed: int = 0,
    device: str = "cpu",
) -> dict[str, Any]:
    """One row of the table, with a progress bar: masks over the inputs, and seconds by step."""
    import torch

    from certify.cli.progress import progress_bar
    from certify.search import accuracy

    x = model.to_input(torch.as_tensor(data.x, dtype=torch.float64, device=device))
    labels = torch.as_tensor(data.y, device=device)
    parts = []
    with progress_bar(f"{model.name}, eps {threat.eps}", len(x)) as advance:
        for outcome in accuracy.evaluate(model, x, labels, threat, methods, threshold=threshold, batch=batch, seed=seed):
            parts.append(outcome)
            advance(len(outcome.clean))
    return {
        "eps": threat.eps,
        "label": labels,
        "predicted": torch.cat([part.predicted for part in parts]),
        "clean": torch.cat([part.clean for part in parts]),
        "attacked": torch.cat([part.attacked for part in parts]),
        "certified": {method: torch.cat([part.certified[method] for part in parts]) for method in methods},
        "seconds": {step: sum(part.seconds[step] for part in parts) for step in ("attack", *methods)},
    }


def header(methods: Sequence[str]) -> tuple[str, ...]:
    """Column titles of the table."""
    return ("eps", "inputs", "clean", "attacked", *(f"certified ({method})" for method in methods), "seconds")


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """One row of the table."""
    masks = (row["clean"], row["attacked"], *row["certified"].values())
    shares = (f"{100 * float(mask.double().mean()):.1f} %" for mask in masks)
    return (str(row["eps"]), str(len(row["clean"])), *shares, f"{sum(row['seconds'].values()):.1f}")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("accuracy", __doc__, EXAMPLES)
    add_model(parser)
    parser.add_argument("--data", required=True, metavar="DATA", help="digits, mnist:DIR, cifar10:DIR or FILE.npz")
    parser.add_argument("--max", type=positive, metavar="N", help="only the first N inputs")
    parser.add_argument("--eps", type=radius, nargs="+", required=True, metavar="E", help="radii, such as 2/255 or 0.1")
    parser.add_argument("--method", choices=METHODS, nargs="+", default=["crown"], help="how to certify (default: crown)")
    add_norm_and_domain(parser)
    add_threshold(parser)
    add_units(parser)
    parser.add_argument("--batch", type=positive, default=64, metavar="N", help="inputs at a time (default: 64)")
    parser.add_argument("--seed", type=seed, default=0, help="of the attack (default: 0)")
    parser.add_argument("--json", type=output_file, metavar="FILE", help="also write a record, with what was found for every input")
    add_device(parser)
    return parser
