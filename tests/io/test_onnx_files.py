"""Reading ONNX files: every way they are kept, every way they are broken, and what a model may declare."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from certify.graph import GraphError
from certify.graph.evaluate import evaluate
from certify.io.load import load
from certify.io.onnx import load_onnx, read_onnx

WEIGHT = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)


def tiny(
    shape: tuple[Any, ...] = (1, 3),
    nodes: list[NodeProto] | None = None,
    constants: list[TensorProto] | None = None,
    opset: int = 13,
    elements: int = TensorProto.FLOAT,
) -> ModelProto:
    """relu(x @ WEIGHT), or other nodes that turn x into y."""
    product = [helper.make_node("MatMul", ["x", "w"], ["h"], name="product"), helper.make_node("Relu", ["h"], ["y"])]
    entry = helper.make_tensor_value_info("x", elements, shape)
    result = helper.make_tensor_value_info("y", elements, None)
    weight = [numpy_helper.from_array(WEIGHT.astype(helper.tensor_dtype_to_np_dtype(elements)), "w")]
    graph = helper.make_graph(nodes or product, "tiny", [entry], [result], weight if constants is None else constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def assert_is_tiny(model: Any) -> None:
    x = np.array([[1.0, -2.0, 0.5]])
    np.testing.assert_allclose(evaluate(model.graph, x), np.maximum(x @ WEIGHT, 0), rtol=1e-6)


@pytest.mark.parametrize("name", ["tiny.onnx", "tiny.onnx.gz", "TINY.ONNX"])
def test_a_file_loads_plain_and_gzipped(tmp_path: Path, name: str) -> None:
    data = tiny().SerializeToString()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    model = load(tmp_path / name)
    assert_is_tiny(model)
    assert model.name.lower() == "tiny"


def test_bytes_and_models_in_memory_load() -> None:
    assert_is_tiny(load_onnx(tiny()))
    assert_is_tiny(load_onnx(tiny().SerializeToString()))


def test_weights_kept_beside_the_file_load_and_are_missed_by_name(tmp_path: Path) -> None:
    onnx.save_model(tiny(), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    assert_is_tiny(load(tmp_path / "m.onnx"))
    (tmp_path / "w.bin").write_bytes(b"short")
    with pytest.raises(GraphError, match=r"w\.bin"):
        load(tmp_path / "m.onnx")
    (tmp_path / "w.bin").unlink()
    with pytest.raises(GraphError, match=r"m\.onnx.*w\.bin"):
        load(tmp_path / "m.onnx")


def test_the_reference_returns_what_onnxruntime_computes() -> None:
    model = load_onnx(tiny(("N", 3)))
    assert model.reference is not None
    x = np.array([[1, -2, 0.5]], np.float32)
    np.testing.assert_allclose(model.reference(x), np.maximum(x @ WEIGHT, 0), rtol=1e-6)


def test_nodes_are_called_by_the_tensors_of_the_file() -> None:
    graph = read_onnx(tiny())
    assert (graph.input, graph.output) == ("x", "y")
    assert graph.node("h").op == "linear"
    assert graph.node("product").name == "h"


# --- what is broken ------------------------------------------------------------------------------------------------------------


@given(cut=st.integers(0, len(tiny().SerializeToString()) - 1))
def test_a_truncated_model_is_an_error_of_one_line(cut: int) -> None:
    with pytest.raises(GraphError) as caught:
        read_onnx(tiny().SerializeToString()[:cut])
    assert "\n" not in str(caught.value)


@given(noise=st.binary(max_size=200))
def test_bytes_that_are_no_model_are_an_error_of_one_line(noise: bytes) -> None:
    with pytest.raises(GraphError) as caught:
        read_onnx(noise)
    assert "\n" not in str(caught.value)


def test_a_broken_gzip_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    packed = gzip.compress(tiny().SerializeToString())
    for data in (packed[:-20], packed[:50] + b"!!!!" + packed[54:], b"not gzip"):
        (tmp_path / "m.onnx.gz").write_bytes(data)
        with pytest.raises(GraphError, match=r"m\.onnx\.gz: not a complete gzip file"):
            load(tmp_path / "m.onnx.gz")


def test_a_missing_file_a_folder_and_another_ending_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.onnx: no such file"):
        load(tmp_path / "no.onnx")
    with pytest.raises(ValueError, match=r"read from files that end in \.onnx, \.onnx\.gz, \.pt2$"):
        load(tmp_path / "model.h5")
    with pytest.raises(ValueError, match=r"--arch package\.module:function --weights FILE"):
        load(tmp_path / "weights.safetensors")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(GraphError, match="cannot be read"):
        load(tmp_path / "folder.onnx")


# --- what a model declares -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", ["N", 0, -1, None, 1])
def test_a_symbolic_batch_is_one(batch: Any) -> None:
    graph = read_onnx(tiny((batch, 3)))
    assert graph.input_shape == (1, 3)
    assert graph.output_shape == (1, 2)


def test_another_symbolic_axis_is_refused_by_name() -> None:
    with pytest.raises(GraphError, match="axis 1 of the model's input 'x' has the symbolic size 'width'"):
        read_onnx(tiny(("N", "width")))


def test_an_input_without_shape_is_refused() -> None:
    model = tiny()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(GraphError, match="'x' declares no shape"):
        read_onnx(model)


def test_constants_listed_among_the_inputs_are_constants() -> None:
    model = tiny()
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, WEIGHT.shape))
    assert_is_tiny(load_onnx(model))


def test_a_second_input_or_output_is_refused_by_name() -> None:
    model = tiny()
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))
    with pytest.raises(GraphError, match=r"2 inputs \(x, mask\)"):
        read_onnx(model)
    model = tiny()
    model.graph.output.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, None))
    with pytest.raises(GraphError, match=r"2 outputs \(y, h\)"):
        read_onnx(model)


def test_an_integer_input_is_refused() -> None:
    with pytest.raises(GraphError, match="elements of type INT64"):
        read_onnx(tiny(elements=TensorProto.INT64))


@pytest.mark.parametrize("opset", [7, 24])
def test_other_versions_of_the_operators_are_refused(opset: int) -> None:
    with pytest.raises(GraphError, match=f"version {opset}, supported are 8 to 23"):
        read_onnx(tiny(opset=opset))


@pytest.mark.parametrize("opset", range(8, 24))
def test_all_supported_versions_load(opset: int) -> None:
    assert_is_tiny(load_onnx(tiny(opset=opset)))


@pytest.mark.parametrize("elements", [TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_models_in_other_precisions_load(elements: int) -> None:
    model = load_onnx(tiny(elements=elements))
    assert model.reference is not None
    assert model.reference(np.zeros((1, 3), np.float32)).dtype == helper.tensor_dtype_to_np_dtype(elements)


def test_operators_of_other_domains_are_refused_by_domain() -> None:
    model = tiny(nodes=[helper.make_node("FusedGemm", ["x", "w"], ["y"], name="f", domain="com.microsoft")])
    with pytest.raises(GraphError, match=r"node f \(com\.microsoft\.FusedGemm\)"):
        read_onnx(model)


def test_a_tensor_that_nothing_produces_is_named() -> None:
    with pytest.raises(GraphError, match="reads 'ghost', which nothing before it produces"):
        read_onnx(tiny(nodes=[helper.make_node("Relu", ["ghost"], ["y"])]))


def test_a_model_that_ignores_its_input_is_refused() -> None:
    with pytest.raises(GraphError, match="'y' is a constant"):
        read_onnx(tiny(nodes=[helper.make_node("Relu", ["w"], ["y"])]))


def test_shapes_that_the_model_computes_are_folded() -> None:
    """Flatten as exporters spell it: Shape, Gather, Unsqueeze, Concat, Reshape."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Unsqueeze", ["batch", "axes"], ["first"]),
        helper.make_node("Constant", [], ["rest"], value_ints=[-1]),
        helper.make_node("Concat", ["first", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    constants = [numpy_helper.from_array(np.array(v, np.int64), n) for n, v in (("zero", 0), ("axes", [0]))]
    graph = load_onnx(tiny(("N", 3, 4), nodes, constants)).graph
    assert [node.op for node in graph.nodes] == ["input", "reshape"]
    assert graph.output_shape == (1, 12)


def test_functions_that_a_model_defines_are_written_out() -> None:
    double = helper.make_function(
        "mine", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 13)]
    )
    model = tiny(nodes=[helper.make_node("Twice", ["x"], ["y"], domain="mine")])
    model.functions.append(double)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    assert evaluate(load_onnx(model).graph, np.ones((1, 3))).tolist() == [[2.0, 2.0, 2.0]]


def test_an_if_with_a_known_condition_is_the_branch_that_is_taken() -> None:
    def branch(op: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(f"out_{op}", TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(op, ["x"], [f"out_{op}"])], op, [], [out])

    nodes = [
        helper.make_node("Size", ["x"], ["size"]),
        helper.make_node("Equal", ["size", "three"], ["condition"]),
        helper.make_node("If", ["condition"], ["y"], then_branch=branch("Neg"), else_branch=branch("Relu")),
    ]
    model = load_onnx(tiny(nodes=nodes, constants=[numpy_helper.from_array(np.array(3, np.int64), "three")]))
    assert evaluate(model.graph, np.ones((1, 3))).tolist() == [[-1.0, -1.0, -1.0]]


# --- held against onnxruntime --------------------------------------------------------------------------------------------------


def test_a_graph_that_differs_from_onnxruntime_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from certify.io.onnx import importer

    wrong = {**importer.HANDLERS, "Relu": lambda call: call.emit("leaky_relu", call.variable(), slope=1e-3)}
    monkeypatch.setattr(importer, "HANDLERS", wrong)
    with pytest.raises(GraphError, match=r"in onnxruntime and .* in the graph .* misread"):
        load_onnx(tiny())


def test_what_onnxruntime_rejects_is_an_error_of_one_line() -> None:
    model = tiny()
    model.ir_version = 99
    with pytest.raises(GraphError, match="onnxruntime cannot run this model") as caught:
        load_onnx(model)
    assert "\n" not in str(caught.value)


def test_reading_a_graph_imports_no_torch(tmp_path: Path) -> None:
    onnx.save_model(tiny(), tmp_path / "m.onnx")
    read = f"from certify.io.onnx import read_onnx; read_onnx({str(tmp_path / 'm.onnx')!r})"
    script = f"import sys; {read}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).resolve().parents[2])


def test_a_name_of_the_model_finds_the_last_of_the_nodes_that_stand_for_it() -> None:
    nodes = [helper.make_node("ReduceL2", ["x"], ["h"], name="norm", axes=[1]), helper.make_node("Neg", ["h"], ["y"])]
    graph = read_onnx(tiny(nodes=nodes, constants=[]))
    assert graph.node("norm") is graph.node("h")
    assert graph.node("h").op == "sqrt"
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)
