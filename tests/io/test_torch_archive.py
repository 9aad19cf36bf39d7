"""Saved programs: `.pt2` files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from certify.graph import GraphError
from certify.io.torch import load_pt2

MODULE = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).eval()


def saved(folder: Path, batch: int, dynamic: dict[int, str] | None = None, module: nn.Module = MODULE) -> Path:
    """A file with the module, exported with an input of a fixed batch or with some symbolic axes."""
    shapes = None if dynamic is None else ({axis: torch.export.Dim(name) for axis, name in dynamic.items()},)
    program = torch.export.export(module, (torch.rand(batch, 1, 4, 4),), dynamic_shapes=shapes, strict=False)
    torch.export.save(program, folder / "net.pt2")
    return folder / "net.pt2"


@pytest.mark.parametrize(("batch", "dynamic"), [(1, None), (4, {0: "batch"})])
def test_a_batch_axis_of_one_or_a_symbolic_one_becomes_one(tmp_path: Path, batch: int, dynamic: dict[int, str] | None) -> None:
    model = load_pt2(saved(tmp_path, batch, dynamic))
    assert model.graph.input_shape == (1, 1, 4, 4)
    assert not model.live
    x = torch.rand(5, 1, 4, 4)
    torch.testing.assert_close(model(x), MODULE(x))
    assert model.reference is not None
    np.testing.assert_allclose(model.reference(x[:1].numpy()), MODULE(x[:1]).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_fixed_batch_belongs_to_one_input(tmp_path: Path) -> None:
    model = load_pt2(saved(tmp_path, 2))
    assert model.graph.input_shape == (2, 1, 4, 4)
    assert model.graph.output_shape == (2, 3)


def test_arithmetic_on_a_symbolic_batch_is_evaluated(tmp_path: Path) -> None:
    class Reshaping(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            flat = x.view(x.shape[0] * x.shape[1], -1)
            return flat.reshape(x.shape[0], flat.numel() // x.shape[0]) / x.shape[0]

    model = load_pt2(saved(tmp_path, 3, {0: "batch"}, Reshaping()))
    x = torch.rand(2, 1, 4, 4)
    torch.testing.assert_close(model(x), x.flatten(1))


def test_decomposed_programs_are_read(tmp_path: Path) -> None:
    program = torch.export.export(MODULE, (torch.rand(1, 1, 4, 4),), strict=False).run_decompositions()
    torch.export.save(program, tmp_path / "net.pt2")
    x = torch.rand(2, 1, 4, 4)
    torch.testing.assert_close(load_pt2(tmp_path / "net.pt2")(x), MODULE(x))


def test_other_symbolic_axes_are_refused(tmp_path: Path) -> None:
    module = nn.ReLU()
    with pytest.raises(GraphError, match="only the first axis may be symbolic"):
        load_pt2(saved(tmp_path, 2, {2: "height"}, module))


def test_weights_are_copies_of_those_in_the_file(tmp_path: Path) -> None:
    model = load_pt2(saved(tmp_path, 1))
    assert all(isinstance(value, np.ndarray) for value in model.graph.constants.values())


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = saved(tmp_path, 1).read_bytes()
    for name, content in {"empty": b"", "text": b"hello", "half": whole[: len(whole) // 2]}.items():
        path = tmp_path / f"{name}.pt2"
        path.write_bytes(content)
        with pytest.raises(GraphError, match=f"{name}.pt2.*(truncated|cannot load)") as caught:
            load_pt2(path)
        assert "\n" not in str(caught.value)


def test_a_zip_file_that_is_no_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(GraphError, match=r"other\.pt2"):
        load_pt2(path)


def test_pickled_objects_are_refused_unread(tmp_path: Path) -> None:
    path = saved(tmp_path, 1)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("net/data/constants/custom_obj_0", b"code")
    with pytest.raises(GraphError, match="pickled objects"):
        load_pt2(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"absent\.pt2: no such file"):
        load_pt2(tmp_path / "absent.pt2")
