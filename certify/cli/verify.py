"""Proves that no point of a set has a property's (unsafe) behaviour, or finds one that has.

The first line of standard output is the verdict: `unsat` (proved: there is no such point), `sat` (a point follows, replayed in the
original model), `unknown` or `timed-out`. Everything else goes to standard error.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from certify.cli.arguments import (
    METHODS,
    add_architecture,
    add_device,
    add_region,
    add_threshold,
    command_parser,
    count,
    number,
    output_file,
    seconds,
    seed,
)
from certify.cli.files import RESULT, forget, refuse_overwriting, write_whole
from certify.cli.watchdog import Watchdog, reserve

if TYPE_CHECKING:
    import numpy as np

    from certify.io.units import Units
    from certify.io.witness import Question, Witness
    from certify.model import Model
    from certify.search.result import Result
    from certify.specification import Robustness, Specification

EXAMPLES = """\
  certify verify model.onnx property.vnnlib --timeout 60
  certify verify query.vnnlib --network f=model.onnx --timeout 60             the form of VNN-LIB 2.0
  certify verify model.pt2 --around x.npy --eps 2/255 --domain 0 1 --label 3  no property file needed
  certify verify score.onnx --around x.npy --eps 0.1 --threshold 0            one score of two classes: which side of 0 it is on
  certify verify model.onnx --around x.npy --eps 0.1 --within -1 1            a network that answers with numbers
  certify verify model.onnx property.vnnlib --expect unsat                    exit code 1 on any other verdict"""

NOT_MET = 1


def main(argv: Sequence[str]) -> int:
    """Prints the verdict and returns 0, or 1 where `--expect` names another verdict.

    The file of `--witness` says "unknown" from the first moment on, then the verdict, whatever it is, or "error" and the reason.
    """
    forget(argv, "--witness", RESULT, "unknown\n")
    arguments = _parser().parse_intermixed_args(argv)
    try:
        return _decide(_sort_files(arguments))
    except Exception as error:
        forget(argv, "--witness", RESULT, f"error\n{' '.join(str(error).split())}\n")
        raise


def _decide(arguments: argparse.Namespace) -> int:
    started = time.perf_counter()
    kept = reserve(arguments.timeout)
    watchdog = Watchdog(arguments.timeout - kept, lambda: _conclude(arguments, started, None)).start()
    try:
        answer = _verify(arguments, started, arguments.timeout - 2 * kept)
    finally:
        watchdog.finish()
    return _conclude(arguments, started, answer)


@dataclass(frozen=True)
class Answer:
    """What was asked, what came out, and the units of the point that it was asked around."""

    question: Question
    result: Result
    units: Units | None


def _verify(arguments: argparse.Namespace, started: float, timeout: float) -> Answer:
    """Loads what the arguments name, and decides it; `timeout` counts from `started`."""
    # Not `certify.verify`, which takes modules too and so loads torch: many questions are settled without it.
    from certify.cli.inputs import check_device, load_model, load_point, notes_around
    from certify.search.verify import verify

    check_device(arguments.device)
    around = None if arguments.around is None else load_point(arguments)
    model = load_model(arguments, None if around is None else around[0].shape)
    specification: Specification | Robustness = _property(arguments) if around is None else _robustness(arguments, model, *around)
    if arguments.serialise_assignments:
        _discard(Path(arguments.serialise_assignments), specification)
    result = verify(
        model,
        specification,
        timeout=max(timeout - (time.perf_counter() - started), 0.0),
        method=arguments.method,
        device=arguments.device,
        seed=arguments.seed,
    )
    if around is None:
        return Answer(specification, result, None)
    return Answer(specification, replace(result, notes=(*notes_around(arguments, *around), *result.notes)), around[1])


def _conclude(arguments: argparse.Namespace, started: float, answer: Answer | None) -> int:
    """Says what came out, None for that the time was up, and returns the exit code."""
    from certify.cli.inputs import said
    from certify.search.result import Result

    late = Result("timed-out", plan="the time was up before the search could end by itself")
    result = late if answer is None else answer.result
    said(result.notes)
    if arguments.explain:
        print(result.plan, file=sys.stderr)
    _write(arguments, started, answer, result)
    return NOT_MET if arguments.expect not in (None, result.verdict) else 0


def _sort_files(arguments: argparse.Namespace) -> argparse.Namespace:
    """Tells models from properties by their suffix, whatever their order; a ValueError where that is not one question."""
    from certify.cli.inputs import is_property

    if len(arguments.network) > 1:
        raise ValueError("--network was given more than once: queries about several networks are not supported")
    networks = [_network_file(entry) for entry in arguments.network]
    properties = [name for name in arguments.files if is_property(name)]
    models = [name for name in arguments.files if not is_property(name)] + networks
    refuse_overwriting("--witness", arguments.witness, [*models, *properties, arguments.around])
    if len(models) > 1:
        raise ValueError(f"more than one model: {', '.join(models)}; a property file ends in .vnnlib or .vnnlib.gz")
    if len(properties) + (arguments.around is not None) != 1:
        raise ValueError("name exactly one property: a file ending in .vnnlib or .vnnlib.gz, or --around X.npy --eps E")
    if arguments.around is None and any(value is not None for value in (arguments.label, arguments.threshold, arguments.within)):
        raise ValueError(
            "--label, --threshold and --within go with --around X.npy --eps E; a property file says by itself what is asked"
        )
    named = {"model": next(iter(models), None), "property": next(iter(properties), None)}
    return argparse.Namespace(**{name: value for name, value in vars(arguments).items() if name != "files"} | named)


def _network_file(entry: str) -> str:
    name, separator, path = entry.partition("=")
    if not (name and separator and path):
        raise ValueError(f"--network takes NAME=FILE, such as f=model.onnx; got {entry!r}")
    return path


def _property(arguments: argparse.Namespace) -> Specification:
    """The property in the file, if it speaks of the network that `--network` names."""
    import certify

    specification = certify.read_vnnlib(arguments.property)
    declared = specification.declaration.network
    named = [entry.partition("=")[0] for entry in arguments.network]
    if named and declared not in ("", *named):
        raise ValueError(f"{arguments.property} declares the network {declared!r}, and --network names {named[0]!r}")
    return specification


def _robustness(arguments: argparse.Namespace, model: Model, point: np.ndarray, units: Units) -> Robustness:
    """That the answer stays right in the whole ball around the point: the label, or numbers in their interval."""
    import certify
    from certify.cli.inputs import domain

    if arguments.eps is None:
        raise ValueError("--around needs --eps, the radius, such as --eps 2/255")
    asked = {"eps": arguments.eps, "p": arguments.norm, "domain": domain(arguments, units), "threshold": arguments.threshold}
    if arguments.within is not None:
        return certify.robust(point, arguments.label, within=tuple(arguments.within), **asked)
    label = _answer(model, point, arguments.threshold) if arguments.label is None else arguments.label
    question = certify.robust(point, label, **asked)
    if arguments.label is None:
        print(f"label {label}: the model's own answer; --label sets another", file=sys.stderr)
    return question


def _answer(model: Model, point: np.ndarray, threshold: Fraction | None) -> int:
    """The class that the model says; a ValueError where it has one output and no threshold."""
    import torch

    from certify.specification.robustness import ONE_OUTPUT

    scores = model(torch.as_tensor(point)[None]).flatten()
    if threshold is not None:
        return int(Fraction(float(scores[0])) > threshold)
    if len(scores) < 2:
        raise ValueError(ONE_OUTPUT)
    return int(scores.argmax())


def _write(arguments: argparse.Namespace, started: float, answer: Answer | None, result: Result) -> None:
    """Verdict and witness to standard output, or a record with `--json`; to files as well, where options ask for it."""
    from certify.cli.inputs import model_files
    from certify.cli.record import run_record
    from certify.io.witness import format_witness

    witness = result.witness
    assignment = [] if witness is None or answer is None else [format_witness(answer.question, witness)]
    if arguments.witness:
        write_whole(arguments.witness, "\n".join([result.verdict, *assignment]) + "\n")
    if arguments.serialise_assignments and witness is not None and answer is not None:
        _serialise(arguments.serialise_assignments, answer.question, witness)
        assignment = []
    if not arguments.json:
        print(result.verdict, *assignment, sep="\n")
        return
    exact = {} if witness is None or witness.exact is None else {"exact": witness.written}
    found = None if witness is None else {"input": witness.x, "output": witness.y, **exact}
    files = [*model_files(arguments), *([arguments.property] if arguments.property else [])]
    results = {"verdict": result.verdict, "bound": result.bound, "witness": found, "plan": result.plan, "notes": result.notes}
    units = {} if answer is None or answer.units is None else {"units": answer.units.record()}
    print(run_record(arguments, files, started, **results, **units, stats=result.stats))


def _serialise(folder: str, specification: Question, witness: Witness) -> None:
    """One file NAME.pb for every declared tensor, an ONNX TensorProto of the declared shape (VNN-LIB 2.0, 5.3.2)."""
    from onnx import numpy_helper

    declaration = specification.bind(witness.x.shape, witness.y.shape).declaration
    Path(folder).mkdir(parents=True, exist_ok=True)
    for tensor, values in ((declaration.input, witness.x), (declaration.output, witness.y)):
        proto = numpy_helper.from_array(values.reshape(tensor.shape), tensor.name)
        (Path(folder) / f"{tensor.name}.pb").write_bytes(proto.SerializeToString())


def _discard(folder: Path, question: Question) -> None:
    """Removes the assignment of an earlier witness."""
    declared = getattr(question, "declaration", None)
    for name in ("X", "Y") if declared is None else (declared.input.name, declared.output.name):
        (folder / f"{name}.pb").unlink(missing_ok=True)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("verify", __doc__, EXAMPLES)
    parser.add_argument(
        "files", metavar="FILE", nargs="*", help="a model (.onnx, .onnx.gz, .pt2) and a property (.vnnlib, .vnnlib.gz)"
    )
    parser.add_argument(
        "--network", metavar="NAME=FILE", action="append", default=[], help="the model of a network that a query declares"
    )
    add_architecture(parser)
    group = add_region(parser)
    group.add_argument("--label", type=count, metavar="CLASS", help="the right answer (default: what the model says at X)")
    add_threshold(group)
    group.add_argument(
        "--within",
        type=number,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="of a network that answers with numbers: all outputs stay in [LOW, HIGH]",
    )
    parser.add_argument("--timeout", type=seconds, default=60.0, metavar="S", help="seconds, loading included (default: 60)")
    parser.add_argument("--method", choices=("auto", *METHODS), default="auto", help="strongest bounds to try (default: auto)")
    parser.add_argument("--seed", type=seed, default=0, help="of the attack (default: 0)")
    parser.add_argument("--expect", choices=("unsat", "sat"), help="exit with 1 unless this is the verdict")
    parser.add_argument("--witness", type=output_file, metavar="FILE", help="also write the verdict and the witness to a file")
    parser.add_argument("--serialise-assignments", metavar="DIR", help="write the witness as ONNX tensors in place of printing it")
    parser.add_argument("--explain", action="store_true", help="say on standard error what was tried, and why")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of verdict and witness")
    add_device(parser)
    return parser
