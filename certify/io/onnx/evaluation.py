"""Evaluates single ONNX nodes on arrays, by the standard's reference implementation: folds constants, says where elements move."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, helper

from certify.graph import GraphError


def evaluate_node(node: NodeProto, opset: int, inputs: Sequence[np.ndarray | None]) -> tuple[np.ndarray, ...]:
    """The node's outputs for these inputs, in the precision of the inputs: `constants` says which nodes lose nothing by that."""
    from onnx.reference import ReferenceEvaluator  # slow to import, and many models do without

    fed = {f"i{index}": array for index, array in enumerate(inputs) if array is not None}
    renamed = NodeProto()
    renamed.CopyFrom(node)
    del renamed.input[:], renamed.output[:]
    renamed.input.extend(f"i{index}" if array is not None else "" for index, array in enumerate(inputs))
    renamed.output.extend(f"o{index}" if name else "" for index, name in enumerate(node.output))
    results = [name for name in renamed.output if name]
    declare = helper.make_empty_tensor_value_info
    graph = helper.make_graph([renamed], "node", [declare(name) for name in fed], [declare(name) for name in results])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        return tuple(np.asarray(value) for value in ReferenceEvaluator(model).run(None, fed))
    except Exception as error:  # the reference implementation raises whatever numpy or its own checks raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GraphError(
            f"node {node.name or node.output[0]} ({node.op_type}): cannot be evaluated on its constants: {reason}"
        ) from error
