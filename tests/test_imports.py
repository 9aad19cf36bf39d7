"""Imports point one way, so that each layer can be read, tested and replaced without the ones above it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "certify"

# The layers, lowest first: a module may import from its own layer's packages and those named here.
ENGINE = {"graph", "sets", "operators", "kernels", "model", "environment"}
FRONT = {"specification", "io"}
MAY_IMPORT: dict[str, set[str]] = {
    "environment": set(),
    "graph": set(),
    "sets": {"graph", "environment"},
    "kernels": set(),
    "operators": {"graph", "sets", "kernels"},
    "model": {"graph", "operators", "environment"},
    "specification": {"graph", "sets", "environment"},
    "io": {"graph", "sets", "operators", "model", "specification", "environment"},
    "bounds": ENGINE,
    "search": ENGINE | FRONT | {"bounds"},
    "smoothing": {"kernels", "io"},
    "api": ENGINE | FRONT | {"bounds", "search"},
    "training": ENGINE | FRONT | {"bounds", "api"},
    "poisoning": ENGINE | FRONT | {"bounds", "search"},
    "bench": {"report"},
    "report": {"io", "specification", "smoothing", "poisoning"},
}
FORBIDDEN_LIBRARIES: dict[str, set[str]] = {"graph": {"torch", "onnx", "onnxruntime"}}
KERNEL_LIBRARIES = {"numpy", "numba", "torch", "llvmlite", "certify", *sys.stdlib_module_names}


def modules(package: str) -> list[Path]:
    folder = PACKAGE / package
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def imports(path: Path) -> Iterator[str]:
    """Absolute names of what a module imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_parts(path: Path) -> set[str]:
    """Second components of the project's own modules that a module imports: `certify.graph.passes` is `graph`."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("certify.")}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_layer_imports_only_the_layers_below_it(package: str) -> None:
    for path in modules(package):
        upward = own_parts(path) - MAY_IMPORT[package] - {package, "__version__"}
        assert not upward, f"{path.relative_to(ROOT)} imports {sorted(upward)}"


@pytest.mark.parametrize("package", FORBIDDEN_LIBRARIES)
def test_the_graph_imports_neither_torch_nor_onnx(package: str) -> None:
    for path in modules(package):
        found = {name.split(".")[0] for name in imports(path)} & FORBIDDEN_LIBRARIES[package]
        assert not found, f"{path.relative_to(ROOT)} imports {sorted(found)}"


def test_every_package_has_its_place_among_the_layers() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert packages - {"cli"} <= MAY_IMPORT.keys()


def test_kernels_import_only_numpy_numba_and_torch() -> None:
    for path in modules("kernels"):
        names = set(imports(path))
        assert {name.split(".")[0] for name in names} <= KERNEL_LIBRARIES, path
        assert own_parts(path) <= {"kernels"}, path


def test_only_the_command_line_imports_the_command_line() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.parent != PACKAGE / "cli" and path != PACKAGE / "__main__.py":
            assert "cli" not in own_parts(path), path


@pytest.mark.parametrize(
    ("call", "unwanted"),
    [
        ("import certify", {"torch", "numpy", "onnx", "onnxruntime", "numba"}),
        ("from certify.cli.main import main; main(['--help'])", {"torch", "numpy", "onnx", "numba", "rich"}),
        ("from certify.cli.main import main; main(['verify', '--help'])", {"torch", "numpy", "onnx", "numba", "rich"}),
        ("from certify.cli.main import main; main(['supports'])", {"torch", "onnxruntime", "numba"}),
        ("import certify.graph", {"torch", "onnx", "onnxruntime", "numba"}),
    ],
)
def test_light_commands_import_nothing_heavy(call: str, unwanted: set[str]) -> None:
    script = f"import sys\ntry:\n    {call}\nexcept SystemExit:\n    pass\nprint('MODULES', *sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stderr.split("MODULES", 1)[1].split()}
    assert not loaded & unwanted
