"""Lists the formats, versions and operators that are supported, one per line (VNN-LIB 2.0, chapter 5)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

from certify.cli.arguments import command_parser

EXAMPLES = """\
  certify supports                     everything, with headings
  certify supports --onnx-operators    one list, for other tools to read"""


def _onnx_operators() -> Sequence[str]:
    from certify.io.onnx.table import OPERATORS

    return OPERATORS


def _opset_versions() -> Sequence[str]:
    from certify.io.onnx.importer import OPSETS

    return str(OPSETS[0]), str(OPSETS[-1])


def _vnnlib_versions() -> Sequence[str]:
    from certify.io.vnnlib import VERSIONS

    return VERSIONS[0], VERSIONS[-1]


CAPABILITIES: Mapping[str, tuple[str, Callable[[], Sequence[str]]]] = {
    "vnnlib-versions": ("oldest and newest VNN-LIB version", _vnnlib_versions),
    "onnx-opset-versions": ("oldest and newest ONNX opset", _opset_versions),
    # Bounds hold in real arithmetic on the stored weights, not for one rounding of one runtime: the standard calls this "real".
    "onnx-element-types": ("element types for which an analysis is sound", lambda: ("real",)),
    "onnx-operators": ("ONNX operators", _onnx_operators),
    "hidden-node-theories": ("conditions on hidden nodes", lambda: ("NH",)),
    "multiple-input-output-theories": ("several inputs or outputs", lambda: ("SIO",)),
    "multiple-network-theories": ("several networks in one query", lambda: ("SNET",)),
    "multiple-node-comparison-theories": ("conditions that compare inputs with outputs", lambda: ("SNC", "MNC")),
    "arithmetic-complexity-theories": ("arithmetic in conditions", lambda: ("BND", "OUTC", "LIN")),
    "optimised-disjunctive-reasoning": ("disjunctions are more than one query after another", lambda: ("true",)),
    "serialise-assignments": ("witnesses as ONNX tensors", lambda: ("true",)),
    "unsat-proofs": ("proof files of unsat", lambda: ("false",)),
}


def main(argv: Sequence[str]) -> int:
    """Prints one list, or all of them with headings."""
    chosen = _parser().parse_args(argv).capability
    if chosen is not None:
        print("\n".join(CAPABILITIES[chosen][1]()))
        return 0
    for name, (meaning, values) in CAPABILITIES.items():
        print(f"{meaning} (--{name})")
        print("  " + " ".join(values()))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("supports", __doc__, EXAMPLES)
    group = parser.add_mutually_exclusive_group()
    for name, (meaning, _) in CAPABILITIES.items():
        group.add_argument(f"--{name}", dest="capability", action="store_const", const=name, help=meaning)
    return parser
