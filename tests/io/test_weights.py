"""Modules from a function and a file of weights."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from certify.io.weights import load_arch, read_weights

SOURCE = """
from torch import nn

def make(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))

def number():
    return 3

value = 5
"""


@pytest.fixture
def arch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the current directory, importable from there alone."""
    (tmp_path / "some_nets.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "some_nets", raising=False)
    return "some_nets:make"


def network(width: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_weights_are_those_of_the_file_and_the_module_is_in_eval_mode(arch: str, tmp_path: Path, suffix: str) -> None:
    saved, path = network(5), tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(saved.state_dict(), path)
    search_path = list(sys.path)
    loaded = load_arch(arch, path, width=5)
    assert not loaded.training
    assert all(torch.equal(value, saved.state_dict()[name]) for name, value in loaded.state_dict().items())
    assert sys.path == search_path


def test_a_state_dict_inside_a_checkpoint_is_found(arch: str, tmp_path: Path) -> None:
    torch.save({"state_dict": network().state_dict(), "epoch": 3}, tmp_path / "checkpoint.pt")
    load_arch(arch, tmp_path / "checkpoint.pt")


def test_without_a_file_the_functions_own_weights_are_kept(arch: str) -> None:
    assert isinstance(load_arch(arch, None), nn.Sequential)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("some_nets", "expected PACKAGE.MODULE:FUNCTION"),
        ("some_nets:", "expected PACKAGE.MODULE:FUNCTION"),
        ("no_such_module:make", "cannot import no_such_module"),
        ("some_nets:nothing", "has no function nothing"),
        ("some_nets:value", "has no function value"),
        ("some_nets:number", "returned int, not a torch.nn.Module"),
    ],
)
def test_what_is_no_function_that_makes_a_module_is_refused(arch: str, name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        load_arch(name, None)


def test_weights_that_do_not_fit_are_listed(arch: str, tmp_path: Path) -> None:
    state = network(5).state_dict()
    del state["2.bias"]
    state["extra"] = torch.zeros(1)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w\.pt does not fit Sequential") as caught:
        load_arch(arch, tmp_path / "w.pt")
    message = str(caught.value)
    assert "missing in the file: 2.bias" in message
    assert "unknown to the module: extra" in message
    assert "0.weight is [5, 3] in the file and [4, 3] in the module" in message
    assert "\n" not in message


class Dangerous:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("executed"),))


def test_code_in_a_file_is_never_run(arch: str, tmp_path: Path) -> None:
    torch.save({"weights": Dangerous()}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"would run code.*state_dict"):
        read_weights(tmp_path / "w.pt")
    assert not (tmp_path / "executed").exists()


def test_a_whole_module_is_no_state_dict(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"torch\.save\(module\.state_dict\(\), FILE\)"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("w.bin", b"", r"read from \.safetensors, \.pt, \.pth files"),
        ("w.pt", b"", "not a readable torch file|damaged"),
        ("w.pt", b"hello", "not a readable torch file|damaged"),
        ("w.safetensors", b"hello", r"not a readable \.safetensors file"),
        ("w.safetensors", b"", r"not a readable \.safetensors file"),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=reason) as caught:
        read_weights(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_list_of_tensors_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "w.pt")
    with pytest.raises(ValueError, match="expected a state dict"):
        read_weights(tmp_path / "w.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.pt: no such file"):
        read_weights(tmp_path / "absent.pt")
