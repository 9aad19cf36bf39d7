"""Shows what a model consists of: its nodes with shapes and parameters, and which operators lack a rule, and why."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certify.cli.arguments import add_model, command_parser

if TYPE_CHECKING:
    from certify.graph import Graph, Node

EXAMPLES = """\
  certify inspect model.onnx
  certify inspect model.pt2 --json
  certify inspect --arch nets:resnet --weights resnet.safetensors --input-shape 3 32 32"""


def main(argv: Sequence[str]) -> int:
    """Prints the graph; of a model that cannot be represented, the reason and the operators in its file."""
    from certify.cli.inputs import model_files
    from certify.cli.record import run_record
    from certify.graph import GraphError

    arguments = _parser().parse_args(argv)
    started = time.perf_counter()
    try:
        found = _describe(_graph(arguments))
    except GraphError as error:
        found = {"problem": str(error), "operators": _operators(arguments.model)}
    if arguments.json:
        print(run_record(arguments, model_files(arguments), started, **found))
    else:
        print(_text(found))
    return 0


def _graph(arguments: argparse.Namespace) -> Graph:
    """The normalised graph; that of an ONNX file is not compared with onnxruntime, so that its nodes can be seen in any case."""
    from certify.cli.inputs import any_module, load_model

    if arguments.model is not None and ".onnx" in Path(arguments.model).suffixes:
        from certify.io.onnx import read_onnx

        return read_onnx(arguments.model)
    return load_model(arguments, module=any_module).graph


def _describe(graph: Graph) -> dict[str, Any]:
    nodes = [_describe_node(graph, node) for node in graph.nodes]
    return {
        "input": list(graph.input_shape),
        "output": list(graph.output_shape),
        "parameters": sum(node["parameters"] for node in nodes),
        "nodes": nodes,
        "without_rule": [node["name"] for node in nodes if node["rule"] == NO_RULE],
    }


NO_RULE = "none"


def _describe_node(graph: Graph, node: Node) -> dict[str, Any]:
    from certify.graph import INPUT
    from certify.operators.table import OPS

    values = (graph.constants[name] for name in node.params.values() if name in graph.constants)
    rule = "" if node.op == INPUT else type(OPS[node.op]).__name__.lower() if node.op in OPS else NO_RULE
    return {
        "name": node.name,
        "operator": node.op,
        "shape": list(node.shape),
        "parameters": sum(prod(value.shape) for value in values if "float" in str(value.dtype)),
        "rule": rule,
    }


def _text(found: Mapping[str, Any]) -> str:
    from certify.cli.table import table

    if "problem" in found:
        rows: list[tuple[str, ...]] = [(name, str(count), note) for name, count, note in found["operators"]]
        return f"cannot be verified: {found['problem']}\n\n" + table(("operator in the file", "nodes", "support"), rows)
    rows = [tuple(str(node[key]) for key in ("name", "operator", "shape", "parameters", "rule")) for node in found["nodes"]]
    lines = [
        table(("node", "operator", "shape", "parameters", "rule"), rows),
        "",
        f"{len(rows)} nodes, {found['parameters']} parameters, input {found['input']}, output {found['output']}",
    ]
    if found["without_rule"]:
        lines.append(f"cannot be verified: no rule for {', '.join(found['without_rule'])}")
    return "\n".join(lines)


def _operators(path: str | None) -> list[tuple[str, int, str]]:
    """The operators in a model file, how many nodes each has, and whether the importer takes it."""
    readers = (READERS[suffix] for suffix in Path(path or "").suffixes if suffix in READERS)
    names, status = next(readers, _no_operators)(path or "")
    return [(name, count, status(name)) for name, count in sorted(Counter(names).items())]


def _onnx_operators(path: str) -> tuple[list[str], Callable[[str], str]]:
    from certify.io.onnx.read import read_model
    from certify.io.onnx.table import HANDLERS, REFUSED

    names = [node.op_type for node in read_model(path).graph.node]
    return names, lambda name: "supported" if name in HANDLERS else REFUSED.get(name, "not supported")


def _torch_operators(path: str) -> tuple[list[str], Callable[[str], str]]:
    from certify.io.torch.archive import read_archive
    from certify.io.torch.program import HANDLERS, METADATA

    calls = [node for node in read_archive(Path(path)).graph.nodes if node.op == "call_function"]
    names = [str(node.target).removeprefix("aten.") for node in calls]
    return names, lambda name: "supported" if name in HANDLERS or name in METADATA else "not supported"


def _no_operators(path: str) -> tuple[list[str], Callable[[str], str]]:
    return [], str


READERS: Mapping[str, Callable[[str], tuple[list[str], Callable[[str], str]]]] = {
    ".onnx": _onnx_operators,
    ".pt2": _torch_operators,
}


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("inspect", __doc__, EXAMPLES)
    add_model(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser
