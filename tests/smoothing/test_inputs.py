"""`certify smooth` on classifiers and data of every kind: what they mean is said, or asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import certify
from certify.cli.main import main
from certify.graph import GraphError
from certify.io.evaluator import open_evaluator
from certify.smoothing import Smooth

WEIGHT = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
IMAGES = np.random.default_rng(1).integers(0, 256, (6, 3, 2, 2), dtype=np.uint8)


def save(
    path: Path,
    *last: onnx.NodeProto,
    weight: np.ndarray = WEIGHT,
    shape: Sequence[int | str] = ("N", 3, 2, 2),
    kind: int = TensorProto.FLOAT,
    outputs: Sequence[str] = ("y",),
) -> str:
    """A linear classifier of images that ends in more nodes, from `s` to `y`."""
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["s"])]
    x = helper.make_tensor_value_info("x", kind, shape)
    ends = [helper.make_tensor_value_info(name, kind, None) if name != "y" else onnx.ValueInfoProto(name=name) for name in outputs]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    graph = helper.make_graph([*nodes, *last], "g", [x], ends, [numpy_helper.from_array(weight.astype(dtype), "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)


SAME = helper.make_node("Identity", ["s"], ["y"])
SOFTMAX = helper.make_node("Softmax", ["s"], ["y"], axis=1)


@pytest.fixture
def data(tmp_path: Path) -> str:
    np.savez(tmp_path / "d.npz", x=IMAGES, y=np.arange(6) % 2)
    return str(tmp_path / "d.npz")


def smooth(model: str, data: str, *words: str) -> int:
    out = str(Path(data).parent / "out")
    return main(["smooth", model, "--data", data, "--sigma", "0.25", "--n", "100", "--n0", "20", "--out", out, *words])


def counts(data: str) -> list[list[int]]:
    lines = (Path(data).parent / "out.jsonl").read_text().splitlines()
    return [json.loads(line)["counts"][0] for line in lines[1:]]


@pytest.mark.parametrize(
    "settings",
    [{"last": (SOFTMAX,)}, {"shape": (1, 3, 2, 2)}, {"shape": (4, 3, 2, 2)}, {"kind": TensorProto.DOUBLE}],
    ids=["softmax", "batches of one", "batches of four", "double"],
)
def test_one_classifier_in_many_forms_gets_the_same_counts(tmp_path: Path, data: str, settings: dict[str, object]) -> None:
    assert smooth(save(tmp_path / "m.onnx", SAME), data) == 0
    expected = counts(data)
    (tmp_path / "out.jsonl").unlink()
    (tmp_path / "out.tsv").unlink()
    last = settings.pop("last", (SAME,))
    assert smooth(save(tmp_path / "n.onnx", *last, **settings), data) == 0  # type: ignore[misc,arg-type]
    assert counts(data) == expected


def test_a_model_without_a_graph_is_smoothed_and_not_verified(tmp_path: Path) -> None:
    x = torch.tensor(IMAGES[0] / 255, dtype=torch.float32)
    scores, chances = (certify.load(save(tmp_path / f"{n}.onnx", last)) for n, last in enumerate((SAME, HARDMAX)))
    assert Smooth(scores, 3, 0.25).certify(x, 20, 200, 0.01, 64) == Smooth(chances, 3, 0.25).certify(x, 20, 200, 0.01, 64)
    question = certify.robust(x, 0, eps=0.1)
    for refused in (
        lambda: chances.graph,
        lambda: certify.bounds(chances, certify.LpBall(x[None], eps=0.1)),
        lambda: certify.verify(chances, question),
        lambda: chances.program(),
    ):
        with pytest.raises(GraphError, match="Hardmax"):
            refused()
    assert "Hardmax" in repr(chances)


HARDMAX = helper.make_node("Hardmax", ["s"], ["y"], axis=1)


def test_a_damaged_file_is_an_error_at_once(tmp_path: Path) -> None:
    path = Path(save(tmp_path / "m.onnx", SOFTMAX))
    content = path.read_bytes()
    for length in range(0, len(content) - 1, 29):
        path.write_bytes(content[:length])
        with pytest.raises(GraphError):
            _ = certify.load(path).graph


@pytest.mark.parametrize(
    ("model", "words", "said"),
    [
        ({"weight": WEIGHT[:, :1]}, (), "one score"),
        ({"weight": WEIGHT[:, :1]}, ("--threshold", "0", "--classes", "3"), "2 scores to every input, and 3 classes"),
        ({}, ("--threshold", "0"), "one score per input"),
        ({"weight": WEIGHT[:, :1]}, ("--classes", "1"), "at least two classes"),
        ({}, ("--classes", "4"), "3 scores to every input, and 4 classes"),
        ({"shape": ("N", 2, 2, 3)}, (), "takes inputs of shape"),
        ({}, ("--layout", "nhwc"), "takes inputs of shape"),
        ({"shape": ("N", 4, 3)}, (), "takes inputs of shape ['N', 4, 3]"),
        ({}, ("--device", "cuda:99"), "--device cuda:99 cannot be used"),
        ({"outputs": ("y", "s")}, (), "2 outputs (y, s)"),
        ({"kind": TensorProto.INT64}, (), "only floating-point inputs"),
    ],
)
def test_what_has_no_meaning_is_refused(
    tmp_path: Path, data: str, capsys: pytest.CaptureFixture[str], model: dict[str, object], words: tuple[str, ...], said: str
) -> None:
    assert smooth(save(tmp_path / "m.onnx", SAME, **model), data, *words) == 2  # type: ignore[arg-type]
    error = capsys.readouterr().err
    assert said in error
    assert not (tmp_path / "out.jsonl").exists()


def test_labels_beyond_the_classes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "d.npz", x=IMAGES, y=np.arange(6))
    assert smooth(save(tmp_path / "m.onnx", SAME), str(tmp_path / "d.npz")) == 2
    assert "has 3 classes, and the labels" in capsys.readouterr().err


def test_a_threshold_stands_in_the_record(tmp_path: Path, data: str) -> None:
    assert smooth(save(tmp_path / "m.onnx", SAME, weight=WEIGHT[:, :1]), data, "--threshold", "1/2") == 0
    header, *records = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert header["settings"]["threshold"] == "1/2"
    score = (IMAGES.reshape(6, -1) / 255) @ WEIGHT[:, :1] - 0.5
    sure = np.abs(score[:, 0]) > 0.25 * 3 * np.linalg.norm(WEIGHT[:, 0])
    answers = np.array([np.argmax(record["counts"][0]) for record in records])
    assert (answers == (score[:, 0] > 0))[sure].all()


def test_channels_that_come_last_are_moved_where_that_is_said(
    tmp_path: Path, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save(tmp_path / "m.onnx", SAME)
    assert smooth(model, data) == 0
    expected = counts(data)
    for name in ("out.jsonl", "out.tsv"):
        (tmp_path / name).unlink()
    np.savez(tmp_path / "d.npz", x=np.moveaxis(IMAGES, 1, -1), y=np.arange(6) % 2)
    assert smooth(model, data) == 2
    assert "--layout nhwc" in capsys.readouterr().err
    assert smooth(model, data, "--layout", "nhwc") == 0
    assert counts(data) == expected


def test_units_are_said_and_recorded(tmp_path: Path, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert smooth(save(tmp_path / "m.onnx", SAME), data, "--max", "1") == 0
    assert "bytes were divided by 255" in capsys.readouterr().err
    header = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert header["units"]["stored"] == "uint8"
    assert (header["units"]["divided_by"], header["units"]["domain"]) == ("255", [0.0, 1.0])


NETS = """
import torch
from torch import nn

def random():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))

def fixed():
    torch.manual_seed(0)
    return random()
"""


def test_random_weights_are_refused(
    tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "threenets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ["--data", data, "--sigma", "0.25", "--n", "50", "--n0", "10", "--out", "o"]
    assert main(["smooth", "--arch", "threenets:random", *words]) == 2
    assert "they are random" in capsys.readouterr().err
    assert main(["smooth", "--arch", "threenets:fixed", *words]) == 0
    assert "no --weights: the weights are those that threenets:fixed makes" in capsys.readouterr().err
    np.save("x.npy", IMAGES[0])
    for command in ("verify", "bounds"):
        assert main([command, "--arch", "threenets:random", "--around", "x.npy", "--eps", "1/255"]) == 2
        assert "they are random" in capsys.readouterr().err
    assert main(["inspect", "--arch", "threenets:random", "--input-shape", "3", "2", "2"]) == 0


@pytest.mark.parametrize("size", [None, 1, 2, 5])
def test_an_evaluator_takes_any_batch(tmp_path: Path, size: int | None) -> None:
    path = save(tmp_path / "m.onnx", SAME, shape=(size or "N", 3, 2, 2))
    x = torch.tensor(IMAGES / 255, dtype=torch.float32)
    for count in range(1, 7):
        torch.testing.assert_close(open_evaluator(path)(x[:count]), x[:count].flatten(1) @ torch.tensor(WEIGHT))
