"""Graph against original: planted mistakes are found, in small outputs beside large ones too, and rounding is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from certify.graph import Graph, GraphBuilder, GraphError
from certify.graph.evaluate import evaluate
from certify.graph.formats import FORMATS
from certify.io.agreement import require_agreement, require_agreement_somewhere, trial_points
from certify.io.load import load
from certify.io.onnx import importer, load_onnx
from tests.networks import ACTIVATIONS, random_graph, seeds

Function = Callable[[np.ndarray], np.ndarray]


def elementwise(op: str, **attrs: object) -> Graph:
    builder = GraphBuilder()
    return builder.build(builder.add(op, [builder.input("x", (1, 3))], attrs=dict(attrs)))


def compare(graph: Graph, original: Function, precision: str = "float32") -> None:
    require_agreement_somewhere(graph, original, trial_points(graph, precision), precision, "the model")


def beside_a_large_output(graph: Graph) -> Graph:
    """The outputs of a graph, and a billion times the first input."""
    builder = GraphBuilder()
    nodes = {graph.input: builder.input("x", graph.input_shape)}
    for node in graph.nodes[1:]:
        params = {role: builder.constant(role, graph.constants[name]) for role, name in node.params.items()}
        nodes[node.name] = builder.add(node.op, [nodes[name] for name in node.inputs], params, node.attrs)
    large = builder.add("take", [nodes[graph.input]], {"index": builder.constant("i", np.array([[0]]))})
    large = builder.add("scale", [large], {"factor": builder.constant("f", np.array(1e9))})
    return builder.build(builder.add("concat", [nodes[graph.output], large], attrs={"axis": 1}))


@given(seeds(), st.sampled_from(["float32", "float16"]))
def test_a_graph_evaluated_in_another_precision_is_no_misreading(seed: int, precision: str) -> None:
    graph = random_graph(seed, (*ACTIVATIONS, "floor", "sign", "log", "reciprocal", "tan"))
    dtype = np.dtype(precision)
    compare(graph, lambda x: evaluate(graph, x.astype(dtype)), precision)


MUTATIONS: dict[str, tuple[Graph, Function]] = {
    "a slope": (elementwise("relu"), lambda x: np.where(x > 0, x, 1e-4 * x)),
    "a limit": (elementwise("clip", min=0.0, max=6.0), lambda x: np.clip(x, 0, 6.001)),
    "a far limit": (elementwise("relu"), lambda x: np.clip(x, 0, 1000)),
    "truncation": (elementwise("floor"), np.trunc),
    "a jump at zero": (elementwise("sign"), lambda x: np.where(x >= 0, 1.0, -1.0)),
    "rounding of halves": (elementwise("round"), lambda x: np.trunc(x + np.copysign(0.5, x))),
    "an approximation": (elementwise("gelu"), lambda x: evaluate(elementwise("gelu_tanh"), x)),
    "a threshold": (elementwise("softplus"), lambda x: np.where(x > 2, x, np.logaddexp(0, x))),
    "a constant": (elementwise("leaky_relu", slope=0.01), lambda x: np.where(x >= 0, x, 0.0101 * x)),
    "an exponent": (elementwise("pow", exponent=3.0), lambda x: np.sign(x) * np.abs(x) ** 3.001),
    "a domain": (elementwise("sqrt"), lambda x: np.sqrt(np.abs(x))),
    "an offset": (elementwise("tanh"), lambda x: np.tanh(x) + 1e-5),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_planted_mistake_is_found_however_large_another_output_is(name: str) -> None:
    small, mistaken = MUTATIONS[name]
    graph = beside_a_large_output(small)

    def original(wrong: bool) -> Function:
        def run(x: np.ndarray) -> np.ndarray:
            with np.errstate(all="ignore"):
                outputs = (mistaken if wrong else lambda x: evaluate(small, x.astype(np.float64)))(x)
            return np.concatenate([outputs, x[:, :1] * np.float32(1e9)], axis=1).astype(np.float32)

        return run

    compare(graph, original(wrong=False))
    with pytest.raises(GraphError, match=r"output [012] is .* in the model and .* in the graph at the input \[.*misread"):
        compare(graph, original(wrong=True))


@given(seeds(), st.data())
def test_a_changed_constant_is_found(seed: int, data: st.DataObject) -> None:
    graph = random_graph(seed)
    last = next(node for node in reversed(graph.nodes) if node.op == "linear")  # the head, which nothing hides
    name = last.params["bias"]
    changed = np.array(graph.constants[name])
    changed[data.draw(st.integers(0, len(changed) - 1))] += 0.01
    other = replace(graph, constants={**graph.constants, name: changed})
    with pytest.raises(GraphError, match="misread"):
        compare(beside_a_large_output(graph), lambda x: evaluate(beside_a_large_output(other), x))


def test_what_both_sides_leave_undefined_agrees_and_what_one_does_differs() -> None:
    point = [np.array([[-1.0, 0.0, 4.0]], np.float32)]
    graph = elementwise("sqrt")
    compared = require_agreement(graph, lambda x: np.array([[np.nan, 0.0, 2.0]]), point, "float32", "the model")
    assert compared.tolist() == [[False, True, True]]
    for values in ([0.0, 0.0, 2.0], [np.nan, np.nan, 2.0], [np.nan, 0.0, np.inf]):
        with pytest.raises(GraphError, match="misread"):
            require_agreement(graph, lambda x, values=values: np.array([values]), point, "float32", "the model")  # type: ignore[misc]


def test_another_shape_is_an_error() -> None:
    with pytest.raises(GraphError, match=r"shape \[1, 3\] and the model's \[3\]"):
        compare(elementwise("relu"), lambda x: np.maximum(x[0], 0))


def test_examples_come_first_and_points_are_numbers_of_the_format() -> None:
    example = np.array([[0.1, 0.2, 0.3]])
    first, *others = trial_points(elementwise("relu"), "float16", [example])
    assert np.array_equal(first[0], np.float16(example))
    for batch in (first, *others):
        for x in batch:
            assert np.array_equal(x, FORMATS["float16"].round(x))
            assert np.isfinite(x).all()


# --- ONNX models ---------------------------------------------------------------------------------------------------------------


def onnx_model(nodes: list[tuple[str, str, str]], constants: dict[str, float], elements: int = TensorProto.FLOAT) -> ModelProto:
    """Nodes are (operator, inputs, output), from x to y, of two elements."""
    made = [helper.make_node(op, inputs.split(), [output]) for op, inputs, output in nodes]
    ends = [helper.make_tensor_value_info(name, elements, [1, 2]) for name in "xy"]
    dtype = helper.tensor_dtype_to_np_dtype(elements)
    graph = helper.make_graph(
        made, "g", ends[:1], ends[1:], [numpy_helper.from_array(np.array(v, dtype), k) for k, v in constants.items()]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_model_that_is_defined_far_away_only_loads() -> None:
    model = load_onnx(onnx_model([("Sub", "x base", "h"), ("Log", "h", "y")], {"base": 1e7}))
    assert model.precision == "float32"


def test_a_misread_model_that_is_defined_in_part_is_found_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "HANDLERS", {**importer.HANDLERS, "Log": importer.HANDLERS["Sqrt"]})
    with pytest.raises(GraphError, match="in onnxruntime"):
        load_onnx(onnx_model([("Sub", "x base", "h"), ("Log", "h", "y")], {"base": 50.0}))


@pytest.mark.parametrize("elements", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_models_are_compared_in_their_own_precision(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = onnx_model([("Mul", "x factor", "h"), ("Tanh", "h", "y")], {"factor": 0.7}, elements)
    name = {TensorProto.FLOAT16: "float16", TensorProto.DOUBLE: "float64"}[elements]
    assert load_onnx(sound).precision == name
    change = 4 * FORMATS[name].epsilon * 16
    handler = importer.HANDLERS["Tanh"]

    def shifted(call):  # type: ignore[no-untyped-def]
        return call.emit("shift", handler(call), params={"offset": np.array(change)})

    monkeypatch.setattr(importer, "HANDLERS", {**importer.HANDLERS, "Tanh": shifted})
    with pytest.raises(GraphError, match="misread"):
        load_onnx(sound)


def cancelling(second: float = -1.0) -> ModelProto:
    """x (10001.1, 10000.5) (1, second): of what the runtime rounds, the merged layer shows nothing."""
    arrays = {"a": np.array([[10001.123, 10000.456]], np.float32), "b": np.array([[1.0], [second]], np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("MatMul", ["h", "b"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(v, k) for k, v in arrays.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_layers_that_cancel_when_they_are_merged_are_no_misreading() -> None:
    model = load_onnx(cancelling())
    assert [node.op for node in model.graph.nodes] == ["input", "linear"]
    assert model.graph.plain is not None
    again = require_agreement(model.graph, model.reference or abs, [np.array([[1.7]], np.float32)], "float32", "the model")
    assert again.all()


def test_what_layers_cancelled_hides_no_other_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    right = importer.HANDLERS["MatMul"]

    def doubled(call):  # type: ignore[no-untyped-def]
        return call.emit("scale", right(call), params={"factor": np.array(1.1)})

    monkeypatch.setattr(importer, "HANDLERS", {**importer.HANDLERS, "MatMul": doubled})
    with pytest.raises(GraphError, match="misread"):
        load_onnx(cancelling())


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN])
def test_a_file_that_casts_to_a_coarser_format_on_its_way_is_refused(kind: int, tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["h"], to=kind), helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy"]
    made = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 19)])
    onnx.save(made, tmp_path / "m.onnx")
    with pytest.raises(GraphError, match=rf"Cast.*{TensorProto.DataType.Name(kind).lower()}"):
        load(tmp_path / "m.onnx")
